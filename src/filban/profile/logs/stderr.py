"""stderr: lines that begin with log_line_prefix; an event is its line, what follows it after a tab,
and the DETAIL, HINT, CONTEXT and STATEMENT lines of the same process."""

from __future__ import annotations

import polars as pl

from filban.profile.logs.frame import Batch, Unread, as_text, conform, known, times
from filban.profile.logs.prefix import Prefix
from filban.profile.logs.words import EVENTS, PARTS, WORDS

_ENGLISH = (*EVENTS, *PARTS)
_TAIL = 256 * 1024
_PARTS = {"DETAIL": "detail", "CONTEXT": "context", "STATEMENT": "statement"}


class StderrLog:
    """Reads stderr. `tabs`: continuation lines begin with a tab, so that others are foreign
    (PostgreSQL writes them so; some collectors of logs take the tab away)."""

    format = "stderr"

    def __init__(self, prefix: Prefix, *, tabs: bool = True) -> None:
        self.prefix = prefix
        self._tabs = tabs

    def cut(self, data: bytes, before: bytes = b"") -> int:  # noqa: ARG002
        """Up to the last event's beginning: its details may follow."""
        for start in dict.fromkeys((max(0, len(data) - _TAIL), 0)):
            begin = data.rfind(b"\n", 0, start) + 1 if start else 0
            starts = [match.start() for match in self.prefix.event.finditer(data, begin)]
            if starts and starts[-1] > 0:
                return starts[-1]
        return 0

    def read(self, data: bytes) -> Batch:
        lines = _lines(data)
        fields = lines["line"].str.extract_groups(self.prefix.line).struct.unnest()
        lines = pl.concat([lines, fields], how="horizontal")
        unread = Unread()
        heads = self._join(lines, unread)
        if not heads["level"].is_in(_ENGLISH).all():
            heads = heads.with_columns(pl.col("level").replace(WORDS))
        events = _attach(heads.drop("line"))
        return Batch(_events(events), unread)

    def _join(self, lines: pl.DataFrame, unread: Unread) -> pl.DataFrame:
        """Lines with a prefix, their continuations joined to their messages."""
        is_head = pl.col("level").is_not_null()
        lines = lines.with_columns(is_head.cum_sum().alias("event"))
        rest = lines.filter(~is_head)
        heads = lines.filter(is_head)
        if rest.is_empty():
            return heads
        follows = pl.col("event") > 0
        if self._tabs:
            follows = follows & pl.col("line").str.contains(r"^(?:\s|$)")
        for line in rest.filter(~follows & (pl.col("line") != "")).get_column("line"):
            unread.add(line)
        more = (
            rest.filter(follows)
            .group_by("event")
            .agg(pl.col("line").str.strip_prefix("\t").str.join("\n").alias("more"))
        )
        joined = heads.join(more, on="event", how="left", maintain_order="left")
        return joined.with_columns(
            pl.concat_str("message", "more", separator="\n", ignore_nulls=True).alias("message")
        )


def _lines(data: bytes) -> pl.DataFrame:
    try:
        return pl.read_lines(data if b"\0" not in data else as_text(data))
    except pl.exceptions.PolarsError:  # not UTF-8
        return pl.read_lines(as_text(data))


def _attach(heads: pl.DataFrame) -> pl.DataFrame:
    """DETAIL, CONTEXT and STATEMENT lines as columns of the event of the same process before."""
    is_event = pl.col("level").is_in(EVENTS)
    if "pid" not in heads.columns:
        heads = heads.with_columns(pl.lit(None, pl.String).alias("pid"))
    heads = heads.with_row_index("row")
    parts = heads.filter(~is_event)
    events = heads.filter(is_event)
    if parts.is_empty():
        return events
    owner = pl.when(is_event).then(pl.col("row")).forward_fill()
    parts = heads.select("row", "pid", "level", "message", owner.alias("owner")).filter(~is_event)
    if _torn_apart(heads, parts):
        owner = owner.over("pid")
        parts = heads.select("level", "message", owner.alias("owner")).filter(~is_event)
    parts = parts.drop_nulls("owner")
    for level, column in _PARTS.items():
        texts = (
            parts.filter(pl.col("level") == level)
            .unique("owner", keep="first", maintain_order=True)
            .select("owner", pl.col("message").alias(column))
        )
        if texts.height:
            events = events.join(
                texts, left_on="row", right_on="owner", how="left", maintain_order="left"
            )
    return events


def _torn_apart(heads: pl.DataFrame, parts: pl.DataFrame) -> bool:
    """Without the logging collector, processes write between each other's lines."""
    known = parts.drop_nulls("owner")
    owners = heads["pid"].gather(known["owner"])
    return known.height < parts.height or not known["pid"].eq_missing(owners).all()


def _events(events: pl.DataFrame) -> pl.DataFrame:
    columns = events.columns
    texts = (
        events["log_time"]
        if "log_time" in columns
        else pl.Series([None] * events.height, dtype=pl.String)
    )
    events = events.with_columns(times(texts).alias("time"))
    if "code" in columns:
        sqlstate = pl.coalesce("sqlstate", "code") if "sqlstate" in columns else pl.col("code")
        events = events.with_columns(sqlstate.alias("sqlstate"))
    named = [name for name in ("user", "db", "app", "host") if name in columns]
    return conform(events.with_columns(known(name) for name in named))
