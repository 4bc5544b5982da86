"""Statements of a log: calls, times, hours, who, and the slowest examples with their parameters."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from filban.profile.logs.keys import Registry, keys
from filban.profile.logs.lines import plan_parts
from filban.profile.logs.pairing import Pairing
from filban.profile.logs.plans import Plans
from filban.profile.logs.routes import Routes
from filban.profile.logs.rows import Example, Hour, Statement

MOST = 5000  # statements that are kept apart, as many as pg_stat_statements.max by default
FORGET = 0.05  # of them make room at once for new ones, again as pg_stat_statements does
EXAMPLES = 3
EXAMPLE_CHARACTERS = 2_000
# Percentiles come from classes of durations, each 5 % wide; a class knows its mean.
CLASS_WIDTH = math.log(1.05)
_FASTEST_MS = 0.001  # what the log resolves
# Rows of one table of sums before the small ones are added up.
_COMPACT = 200_000
_HOURS = 1_000_000  # statement x hour before hours become days
_WHO = 500_000  # statement x user x database x application before applications are left out

_SUMS = ("calls", "timed", "ms")
_FEW = 64  # users, databases … that a statement names at most


_TYPES: dict[str, pl.DataType] = {
    "number": pl.UInt32(), "class": pl.Int16(), "hour": pl.Datetime("ms"), "user": pl.String(),
    "db": pl.String(), "app": pl.String(), "calls": pl.UInt64(), "timed": pl.UInt64(),
    "ms": pl.Float64(), "most": pl.Float64(), "least": pl.Float64(), "prepare": pl.Float64(),
}  # fmt: skip


class Sums:
    """A table that grows by partial sums and is added up now and then."""

    def __init__(self, by: tuple[str, ...]) -> None:
        self._by = by
        names = (*by, *_SUMS, "most", "least", "prepare")
        self._parts = [pl.DataFrame(schema={name: _TYPES[name] for name in names})]
        self._fresh = 0

    def add(self, part: pl.DataFrame) -> None:
        self._parts.append(_summed(part, self._by))
        self._fresh += self._parts[-1].height
        # In proportion to the table, so that a large one is not added up at each batch.
        if self._fresh > max(_COMPACT, self._parts[0].height // 2):
            self.total()

    def total(self) -> pl.DataFrame:
        """One row for each group."""
        if len(self._parts) > 1:
            self.replace(pl.concat(self._parts))
        return self._parts[0]

    def replace(self, table: pl.DataFrame) -> None:
        self._parts = [_summed(table, self._by)]
        self._fresh = 0

    @property
    def rows(self) -> int:
        return sum(part.height for part in self._parts)


def _summed(table: pl.DataFrame, by: tuple[str, ...]) -> pl.DataFrame:
    return table.group_by(by).agg(
        pl.col(*_SUMS).sum(), pl.col("most").max(), pl.col("least").min(), pl.col("prepare").sum()
    )


@dataclass(slots=True)
class _Kept:
    """Slowest examples of one statement, and its query_id where the log has it."""

    query_id: int | None = None
    heap: list[tuple[float, int, Example]] = field(default_factory=list)


class Statements:
    """Adds batches up. Memory does not grow with the log: at most MOST statements are apart."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.plans = Plans()
        self.routes = Routes()
        self.unattributed_ms = 0.0  # durations without a text that no text was found for
        self.unattributed = 0
        self.per = "hour"
        self._pairing = Pairing()
        self._classes = Sums(("number", "class"))
        self._hours = Sums(("number", "hour"))
        self._who = Sums(("number", "user", "db", "app"))
        self._kept: dict[int, _Kept] = {}
        self._serial = 0

    def take(self, lines: pl.DataFrame, others: pl.DataFrame) -> None:
        """What `lines.split` gives, with `order`."""
        if lines.is_empty():
            return
        lines = self._explained(lines)
        lines = lines.with_columns(
            keys(lines["text"]),
            (pl.col("kind").eq("plan") & pl.col("context").is_not_null()).alias("nested"),
        )
        self.plans.take(lines, self.registry)
        self._add(self._pairing.take(lines, others))

    def finish(self) -> None:
        rest = self._pairing.rest()
        if rest is not None:
            self._add(rest)

    def _explained(self, lines: pl.DataFrame) -> pl.DataFrame:
        """For plans, the text is the statement and `plan` the plan."""
        plans = lines.filter(pl.col("kind") == "plan")
        if plans.is_empty():
            return lines.with_columns(pl.lit(None, pl.String).alias("plan"))
        parts = [plan_parts(text) for text in plans["text"]]
        plans = plans.with_columns(
            pl.Series("text", [text for text, _ in parts], pl.String),
            pl.Series("plan", [plan for _, plan in parts], pl.String),
        )
        rest = lines.filter(pl.col("kind") != "plan")
        return pl.concat([rest, plans], how="diagonal").sort("order")

    def _add(self, lines: pl.DataFrame) -> None:
        bare = lines.filter(pl.col("kind") == "bare")
        self.unattributed += bare.height
        self.unattributed_ms += float(bare["ms"].sum() or 0)
        lines = lines.filter(pl.col("text").is_not_null() & ~pl.col("nested"))
        if lines.is_empty():
            return
        lines = lines.with_columns(self.registry.numbers(lines))
        self._sum(lines)
        self.routes.take(lines)
        self._examples(lines.filter(pl.col("calls") > 0))
        if len(self.registry.identities) > MOST * (1 + FORGET):
            self._forget()

    def _sum(self, lines: pl.DataFrame) -> None:
        prepares = pl.col("kind").is_in(["parse", "bind"])
        called = pl.col("calls") > 0
        slot = pl.max_horizontal("ms", pl.lit(_FASTEST_MS)).log() / CLASS_WIDTH
        finest = (
            lines.select(
                "number", "user", "db", "app", "calls",
                slot.floor().cast(pl.Int16).alias("class"),
                pl.col("time").dt.truncate("1h" if self.per == "hour" else "1d").alias("hour"),
                pl.when(~prepares).then("ms").alias("ms"),
                pl.when(called).then("ms").alias("called_ms"),
                pl.when(prepares).then("ms").alias("prepare"),
            )
            .group_by("number", "class", "hour", "user", "db", "app")
            .agg(
                pl.col("calls").cast(pl.UInt64).sum(),
                pl.col("called_ms").count().cast(pl.UInt64).alias("timed"),
                pl.col("ms").sum(),
                pl.col("called_ms").max().alias("most"),
                pl.col("called_ms").min().alias("least"),
                pl.col("prepare").sum(),
            )
        )  # fmt: skip
        for sums in (self._classes, self._hours, self._who):
            sums.add(finest)
        self._coarser()

    def _coarser(self) -> None:
        """Keep the tables within their limits."""
        if self._hours.rows > _HOURS and self.per == "hour":
            self._hours.replace(self._hours.total().with_columns(pl.col("hour").dt.truncate("1d")))
            self.per = "day"
        if self._who.rows > _WHO and self._who.total().height > _WHO:
            nobody = pl.lit(None, pl.String).alias("app")
            self._who.replace(self._who.total().with_columns(nobody))

    def _examples(self, lines: pl.DataFrame) -> None:
        """The slowest of each statement in this batch, where they belong to the slowest of all."""
        rows = lines.with_row_index("row")
        best = rows.group_by("number").agg(
            pl.col("row").sort_by("ms", descending=True, nulls_last=True).head(EXAMPLES),
            pl.col("query_id").filter(pl.col("query_id") != 0).first(),
        )
        for number, indices, query_id in best.iter_rows():
            kept = self._kept.setdefault(number, _Kept())
            kept.query_id = kept.query_id or query_id
            for index in indices:
                if len(kept.heap) == EXAMPLES and (rows["ms"][index] or 0) <= kept.heap[0][0]:
                    break
                self._keep(kept, rows.row(index, named=True))

    def _keep(self, kept: _Kept, row: dict[str, Any]) -> None:
        example = _example(row)
        self._serial += 1
        entry = (example.ms or 0.0, -self._serial, example)
        if len(kept.heap) < EXAMPLES:
            heapq.heappush(kept.heap, entry)
        else:
            heapq.heappushpop(kept.heap, entry)

    def _forget(self) -> None:
        """The statements of least time become "the others", where their sums stay."""
        table = self._classes.total()
        too_many = int(MOST * FORGET) + len(self.registry.identities) - MOST
        times = _summed(table, ("number",)).select("number", "ms")
        known = dict(times.iter_rows())
        candidates = sorted(
            set(self.registry.identities) - {0}, key=lambda n: (known.get(n, 0.0), n)
        )
        numbers = set(candidates[:too_many])
        self.registry.forget(numbers)
        self.plans.forget(numbers)
        self.routes.forget(numbers)
        for number in numbers:
            self._kept.pop(number, None)
        for sums in (self._classes, self._hours, self._who):
            table = sums.total()
            sums.replace(
                table.with_columns(
                    pl.when(pl.col("number").is_in(list(numbers))).then(0).otherwise("number")
                    .cast(pl.UInt32).alias("number")
                )
            )  # fmt: skip

    def rows(self) -> list[Statement]:
        """Statements by total time, then calls."""
        table = _summed(self._classes.total(), ("number",)).filter(
            (pl.col("calls") > 0) | (pl.col("ms") > 0)
        )
        for share, name in ((0.50, "p50"), (0.95, "p95")):
            found = percentiles(self._classes.total(), share).rename({"value": name})
            table = table.join(found, on="number", how="left", maintain_order="left")
        for column in ("user", "db", "app"):
            names = _names(self._who.total(), column)
            table = table.join(names, on="number", how="left", maintain_order="left")
        hours = self._hours.total().sort("hour").group_by("number").agg("hour", "calls", "ms")
        by_number = {number: columns for number, *columns in hours.iter_rows()}
        rows = [
            self._statement(row, _in_order(*by_number[row["number"]]))
            for row in table.iter_rows(named=True)
        ]
        return sorted(rows, key=lambda s: (-s.total_ms, -s.calls, s.fingerprint))

    def per_hour(self) -> list[Hour]:
        """Hours of everything."""
        table = _summed(self._hours.total(), ("hour",)).sort("hour")
        return _in_order(*(table[name].to_list() for name in ("hour", "calls", "ms")))

    def totals(self) -> tuple[int, float]:
        """(calls, ms) of everything."""
        table = self._classes.total()
        return int(table["calls"].sum()), float(table["ms"].sum())

    def _statement(self, row: dict[str, Any], hours: list[Hour]) -> Statement:
        identity = self.registry.identities[row["number"]]
        kept = self._kept.get(row["number"], _Kept())
        slowest = sorted(kept.heap, key=lambda entry: (-entry[0], -entry[1]))
        # To the log's microseconds first: in which order they were added up does not show then.
        total_ms = round(row["ms"], 3)
        return Statement(
            fingerprint=identity.fingerprint,
            query_id=kept.query_id,
            query=identity.query,
            calls=row["calls"],
            timed_calls=row["timed"],
            total_ms=total_ms,
            mean_ms=round(total_ms / row["timed"], 3) if row["timed"] else None,
            min_ms=row["least"],
            max_ms=row["most"],
            p50_ms=row["p50"],
            p95_ms=row["p95"],
            prepare_ms=round(row["prepare"], 3),
            users=tuple(row["user"] or ()),
            databases=tuple(row["db"] or ()),
            applications=tuple(row["app"] or ()),
            routes=self.routes.of(row["number"]),
            hours=tuple(hours),
            examples=tuple(example for _, _, example in slowest),
        )


def percentiles(classes: pl.DataFrame, share: float) -> pl.DataFrame:
    """(number, value): the mean of the class in which `share` of a statement's timed calls is
    reached, so within the width of a class."""
    timed = classes.filter(pl.col("timed") > 0).sort("number", "class")
    reached = pl.col("timed").cum_sum().over("number")
    wanted = pl.col("timed").sum().over("number") * share
    return (
        timed.filter(reached >= wanted)
        .group_by("number", maintain_order=True)
        .agg((pl.col("ms").round(3) / pl.col("timed")).first().round(3).alias("value"))
    )


def _in_order(starts: list[Any], calls: list[int], ms: list[float]) -> list[Hour]:
    return [
        Hour(start, count, round(took, 3))
        for start, count, took in zip(starts, calls, ms, strict=True)
    ]


def _names(who: pl.DataFrame, column: str) -> pl.DataFrame:
    """(number, the names by time)."""
    return (
        who.drop_nulls(column).group_by("number", column).agg(pl.col("ms").sum())
        .sort("ms", column, descending=[True, False])
        .group_by("number").agg(pl.col(column).head(_FEW))
    )  # fmt: skip


def _example(row: dict[str, Any]) -> Example:
    _, _, values = (row["detail"] or "").partition(": ")
    return Example(
        time=row["time"],
        ms=row["ms"],
        text=row["text"][:EXAMPLE_CHARACTERS],
        parameters=values[:EXAMPLE_CHARACTERS] if values.startswith("$1") else None,
        user=row["user"],
        database=row["db"],
        application=row["app"],
        pid=row["pid"],
    )
