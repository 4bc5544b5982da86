"""csvlog: CSV of 23 columns, 24 since PostgreSQL 13 (backend_type), 26 since 14 (leader_pid,
query_id). A record may span lines; one torn by a crash may not take its neighbours with it."""

from __future__ import annotations

import csv
import re
from itertools import pairwise

import polars as pl

from filban.profile.logs.frame import Batch, Unread, as_text, conform, looks_packed, times

COLUMNS = [
    "log_time",
    "user",
    "db",
    "pid",
    "connection_from",
    "session_id",
    "session_line_num",
    "command_tag",
    "session_start_time",
    "virtual_transaction_id",
    "transaction_id",
    "level",
    "sqlstate",
    "message",
    "detail",
    "hint",
    "internal_query",
    "internal_query_pos",
    "context",
    "statement",
    "query_pos",
    "location",
    "app",
    "backend_type",
    "leader_pid",
    "query_id",
]
WIDTHS = (23, 24, 25, 26)  # 25: what some exports leave

# The start of a record. Inside a quoted field a quote is doubled, so that a statement which holds
# lines of a csvlog does not look like one.
HEAD = re.compile(
    rb'^"?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^,"\n]{1,40}"?,'
    rb'(?:"(?:[^"]|"")*")?,(?:"(?:[^"]|"")*")?,'
    rb'\d+,(?:"[^"]*")?,[0-9a-f]+\.[0-9a-f]+,\d+,',
    re.MULTILINE,
)
_TORN_LINES = 20  # of a torn record, before it is given up with the whole one in front of it
_TAILS = (16 * 1024, 256 * 1024)  # where the last record's start is looked for first

_SCHEMA: dict[str, pl.DataType] = {name: pl.String() for name in COLUMNS}
_TYPED = _SCHEMA | {"pid": pl.Int64(), "query_id": pl.Int64()}
_READ = [COLUMNS.index(name) for name in (
    "log_time", "user", "db", "pid", "connection_from", "level", "sqlstate", "message", "detail",
    "context", "statement", "app", "query_id",
)]  # fmt: skip


class CsvLog:
    """Reads csvlog."""

    format = "csvlog"

    def __init__(self) -> None:
        self._even = -1  # the length of a piece whose quotes `cut` has counted

    def cut(self, data: bytes, before: bytes = b"") -> int:
        """Up to the last record's beginning that no quoted field contains, `before` counted in."""
        for start in dict.fromkeys((*(max(0, len(data) - tail) for tail in _TAILS), 0)):
            heads = [m.start() for m in HEAD.finditer(data, start) if m.start() > 0]
            if heads:
                end = _outside_quotes(data, heads, before)
                self._even = len(before) + end if end else -1
                return end or heads[-1]
        return 0

    def read(self, data: bytes) -> Batch:
        """Whole records. With polars, or one by one where polars finds something odd."""
        even, self._even = len(data) == self._even, -1
        if even or data.count(b'"') % 2 == 0:
            events = _fast(data if b"\0" not in data else as_text(data))
            if events is not None:
                return Batch(events)
        return _slow(as_text(data))


def _outside_quotes(data: bytes, heads: list[int], before: bytes) -> int:
    """The last head that no quoted field contains; 0 with a torn record in between."""
    quotes = before.count(b'"')
    for head in reversed(heads[-8:]):
        if (quotes + data.count(b'"', 0, head)) % 2 == 0:
            return head
    return 0


def _fast(data: bytes) -> pl.DataFrame | None:
    if looks_packed(data):
        return None
    try:
        raw = pl.read_csv(data, has_header=False, columns=_READ, schema=_TYPED)
    except pl.exceptions.PolarsError:
        return None
    events = _events(raw)
    whole = (events[name].null_count() == 0 for name in ("time", "pid", "level", "sqlstate"))
    return events if all(whole) else None


def _slow(data: bytes) -> Batch:
    """Record by record, each from head to head."""
    unread, rows = Unread(), []
    starts = [m.start() for m in HEAD.finditer(data)]
    if not starts or starts[0] > 0:
        _torn(unread, data[: starts[0] if starts else len(data)])
    for start, end in pairwise([*starts, len(data)]):
        record = data[start:end].decode("utf-8", "replace")
        fields, rest = _whole(record)
        if fields is not None:
            rows.append(fields)
        _torn(unread, rest)
    raw = pl.DataFrame(rows, schema=_SCHEMA, orient="row").select(COLUMNS[i] for i in _READ)
    events = _events(raw)
    good = events.filter(pl.col("time").is_not_null() & pl.col("pid").is_not_null())
    if good.height < events.height:
        unread.add("a record without a time or pid", events.height - good.height)
    return Batch(good, unread)


def _whole(record: str) -> tuple[list[str | None] | None, str]:
    """(columns, what else there is): behind a record may stand the beginning of a torn one, which
    had no time to become a head."""
    fields, end = _fields(record), len(record)
    for _ in range(_TORN_LINES):
        if fields is not None or end <= 0:
            break
        end = record.rfind("\n", 0, end - 1) + 1
        fields = _fields(record[:end]) if end else None
    return fields, record[end:] if fields is not None else record


def _torn(unread: Unread, text: str | bytes) -> None:
    if text.strip():
        unread.add(text)


def _fields(record: str) -> list[str | None] | None:
    """The columns of one record, filled up to all of them; None when it is not exactly one."""
    if record.count('"') % 2:
        return None
    try:
        lines = [line for line in csv.reader(record.splitlines(keepends=True), strict=True) if line]
    except csv.Error:
        return None
    if len(lines) != 1 or len(lines[0]) not in WIDTHS:
        return None
    return [text or None for text in lines[0]] + [None] * (len(COLUMNS) - len(lines[0]))


def _events(raw: pl.DataFrame) -> pl.DataFrame:
    time = times(raw["log_time"]).alias("time")
    return conform(raw.with_columns(time, pl.col("connection_from").alias("host")))
