"""One execution, several lines: which of them count.

* auto_explain writes a plan when the executor ends. In the simple protocol that is before the
  duration that log_min_duration_statement writes of the same execution; in the extended protocol
  after it, when the portal goes, which may be several lines later. The plan does not count again.
* log_statement writes the text first; its duration then comes without a text.
* A prepared statement has a line for parse, bind and execute: the execution counts.

All goes by the order of lines within a process, so a batch's open ends are held for the next one.
"""

from __future__ import annotations

import polars as pl

HELD = 20_000  # rows that wait for the rest of their execution, over all processes
# A plan's timestamp and its statement's are taken by different calls, and cut to milliseconds.
_SLACK_MS = 2.0
_LONG_BEFORE = 1 << 40  # in `order`: before all of a batch

_KEPT = ("order", "time", "pid", "user", "db", "app", "query_id", "kind", "ms", "text",
         "detail", "key", "nested")  # fmt: skip
_SLIM = ("order", "pid", "kind", "key")
_PROCESS = pl.col("pid").fill_null(-1)
# Texts of log_statement: of a simple query, of a prepared statement.
_TEXTS = ("logged", "executing")


class Pairing:
    """Marks rows; `take` returns them with `calls` (0 or 1)."""

    def __init__(self) -> None:
        self._held: pl.DataFrame | None = None
        self._executed: pl.DataFrame | None = None  # each process' last execution without its plan

    def take(self, lines: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
        """What `lines.split` gives, with `order`, and the lines with `key` and `nested`. Returns
        rows with `ms` (null: not known) and `calls`."""
        lines = lines.select(_KEPT)
        if self._held is not None:
            lines = pl.concat([self._held, lines], how="vertical")
            self._held = None
        kinds = set(lines["kind"].unique())
        if kinds & {*_TEXTS, "bare"}:
            lines = self._join_durations(lines, others)
        own_plans = (pl.col("kind") == "plan") & ~pl.col("nested")
        if kinds & {"execute", "executing", "plan"}:
            self._executed, lines = _drop_plans_of_executions(lines, self._executed, own_plans)
        if "plan" in kinds:
            lines = self._drop_plans_of_statements(lines, own_plans)
        return _counted(lines)

    def rest(self) -> pl.DataFrame | None:
        """What was still waiting at the end: it counts as it is."""
        held, self._held = self._held, None
        return None if held is None else _counted(held)

    def _hold(self, rows: pl.DataFrame) -> bool:
        """Keep rows (with an `order` before all of the next batch) unless there are too many."""
        waiting = rows if self._held is None else pl.concat([self._held, rows])
        if waiting.height > HELD:
            return False
        self._held = waiting.with_columns(
            (pl.int_range(pl.len(), dtype=pl.Int64) - waiting.height).alias("order")
        )
        return True

    def _join_durations(self, lines: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """A text of log_statement takes the next duration without a text of its process; a text
        followed by an error has failed, and is no call, as in pg_stat_statements."""
        ours = pl.col("kind").is_in([*_TEXTS, "bare"])
        others = lines.filter(~ours)
        marks = events.filter(pl.col("level").is_in(("ERROR", "FATAL", "PANIC"))).select(
            "order", "pid", pl.lit("error").alias("kind"), pl.lit(None, pl.Float64).alias("ms")
        )
        rows = pl.concat([lines.filter(ours), marks], how="diagonal").sort("order")
        rows = rows.with_columns(
            pl.col("kind").shift(-1).over(_PROCESS).alias("next"),
            pl.col("ms").shift(-1).over(_PROCESS).alias("next_ms"),
            pl.col("order").shift(-1).over(_PROCESS).alias("next_order"),
            pl.col("kind").shift(1).over(_PROCESS).alias("before"),
        )
        logged = rows.filter(pl.col("kind").is_in(_TEXTS))
        waiting = logged.filter(pl.col("next").is_null()).select(_KEPT)
        timed = logged.filter(pl.col("next") == "bare").with_columns(
            pl.col("kind").replace({"logged": "statement", "executing": "execute"}),
            pl.col("next_ms").alias("ms"),
            pl.col("next_order").alias("order"),
        )
        untimed = logged.filter(pl.col("next").is_in(_TEXTS))
        alone = rows.filter(
            (pl.col("kind") == "bare") & ~pl.col("before").is_in(_TEXTS).fill_null(value=False)
        )
        parts = [others, *(part.select(_KEPT) for part in (timed, untimed, alone))]
        if not self._hold(waiting):
            parts.append(waiting)
        return pl.concat(parts).sort("order")

    def _drop_plans_of_statements(self, lines: pl.DataFrame, plan: pl.Expr) -> pl.DataFrame:
        """A plan with the same statement's line after it, in its process, within its time; with
        only a text before it (log_statement without durations), it is that execution's time."""
        timed = pl.col("kind").is_in(["statement", "execute", "fetch"])
        ends = pl.col("time").cast(pl.Int64)

        def after(value: pl.Expr) -> pl.Expr:
            return pl.when(timed).then(value).backward_fill().over(_PROCESS)

        text_only = pl.col("kind").is_in(_TEXTS)
        before = pl.when(timed | text_only).then(pl.when(text_only).then("key").otherwise(0))
        rows = _beside_plans(lines.select(*_SLIM, "time", "ms", plan.alias("plan")))
        rows = rows.with_columns(
            after(pl.col("key")).alias("after"),
            after(ends - pl.col("ms")).alias("began"),
            before.forward_fill().over(_PROCESS).alias("before"),
        ).filter("plan")
        within = (ends >= pl.col("began") - _SLACK_MS).fill_null(value=True)
        again = pl.col("key").eq_missing(pl.col("after")) & within
        goes_on = pl.col("key").eq_missing(pl.col("before")) & ~again
        open_end = pl.col("after").is_null() & ~goes_on
        fetches, waiting, out = (
            _rows(rows.filter(which)["order"]) for which in (goes_on, open_end, again | open_end)
        )
        held = lines.filter(waiting)
        lines = lines.filter(~out).with_columns(
            pl.when(fetches).then(pl.lit("fetch")).otherwise("kind").alias("kind")
        )
        return lines if self._hold(held) else pl.concat([lines, held])


def _drop_plans_of_executions(
    lines: pl.DataFrame, executed: pl.DataFrame | None, plan: pl.Expr
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Each execution takes one later plan of its statement in its process.

    Opening and closing brackets, and those that close nothing are plans without an execution: where
    the running sum falls to a new low. Returns each process' last open execution, and the lines.
    """
    rows = lines.filter((pl.col("kind") == "execute") | plan).select(_SLIM)
    rows = rows if executed is None else pl.concat([executed, rows])
    of = (_PROCESS, pl.col("key"))
    step = pl.when(pl.col("kind") == "plan").then(-1).otherwise(1)
    open_ = _beside_plans(rows.with_columns((pl.col("kind") == "plan").alias("plan"))).with_columns(
        step.cum_sum().over(of).alias("open")
    )
    lowest = pl.col("open").cum_min().shift(1, fill_value=0).over(of)
    alone = open_.filter(pl.col("open") < pl.min_horizontal(lowest, 0))["order"]
    rows = rows.filter(~_rows(alone))
    last = rows.unique("pid", keep="last", maintain_order=True).tail(HELD)
    last = (
        last.filter(pl.col("kind") != "plan")
        .select(_SLIM)
        .with_columns(pl.lit("ghost").alias("kind"), pl.col("order") - _LONG_BEFORE)
    )
    taken = rows.filter(pl.col("kind") == "plan")["order"]
    return last, lines.filter(~_rows(taken))


def _beside_plans(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of processes that have plans (`plan`): the others need not be looked at."""
    processes = rows.filter("plan").select(_PROCESS).unique()["pid"]
    return rows.filter(_PROCESS.is_in(processes.implode()))


def _rows(orders: pl.Series) -> pl.Expr:
    return pl.col("order").is_in(orders.implode())


def _counted(lines: pl.DataFrame) -> pl.DataFrame:
    """`calls`: a fetch goes on with an execution, parse and bind only prepare one, a plan inside a
    function belongs to the statement that called it."""
    counts = pl.col("kind").is_in(["statement", "execute", "fastpath", *_TEXTS]) | (
        (pl.col("kind") == "plan") & ~pl.col("nested")
    )
    return lines.with_columns(counts.cast(pl.UInt32).alias("calls"))
