"""Counters -> statements as a person ranks and reads them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from filban.profile.statements.deltas import together
from filban.profile.statements.rows import Counts, Key

NO_TEXT = "(the server has lost its text)"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of one database over a window; its fields are the keys of `--json`.

    source: pg_stat_statements, logs or activity (sampled: total_ms is an estimate then, and nothing
    is counted). share: of the window's execution and planning time, 0..1. min_ms and max_ms: since
    the server began to count it. nested_calls: of these, from within functions. io_ms: reading and
    writing, 0 unless track_io_timing is on. before_mean_ms: in the window that it is compared with;
    change: mean_ms / before_mean_ms. slower_since, slower_ratio: where a test found a regression.
    waits: of the samples that saw it running, how many waited for what. Blocks are of 8 kB.
    """

    query_id: int | None
    fingerprint: str
    database_id: int | None
    database: str | None
    query: str
    source: str
    users: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    calls: int | None = None
    nested_calls: int | None = None
    rows: int | None = None
    total_ms: float = 0.0
    share: float = 0.0
    mean_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    stddev_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    plans: int | None = None
    plan_ms: float | None = None
    jit_ms: float | None = None
    io_ms: float | None = None
    hit_blocks: int | None = None
    read_blocks: int | None = None
    dirtied_blocks: int | None = None
    written_blocks: int | None = None
    temp_read_blocks: int | None = None
    temp_written_blocks: int | None = None
    wal_bytes: int | None = None
    workers_launched: int | None = None
    before_mean_ms: float | None = None
    change: float | None = None
    slower_since: datetime | None = None
    slower_ratio: float | None = None
    waits: Mapping[str, int] = field(default_factory=dict)


def _by(name: str) -> Callable[[Statement], float]:
    return lambda statement: getattr(statement, name) or 0.0


# --by -> what it ranks by, the largest first.
ORDERS: Mapping[str, Callable[[Statement], float]] = {
    "total": _by("total_ms"),
    "mean": _by("mean_ms"),
    "calls": _by("calls"),
    "rows": _by("rows"),
    "io": lambda s: (s.io_ms or 0.0) * 1e6 + (s.read_blocks or 0) + (s.written_blocks or 0),
    "temp": lambda s: (s.temp_read_blocks or 0) + (s.temp_written_blocks or 0),
    "wal": _by("wal_bytes"),
    "jit": _by("jit_ms"),
    "planning": _by("plan_ms"),
}


def ranked(statements: Iterable[Statement], by: str) -> list[Statement]:
    """The first is the worst."""
    return sorted(statements, key=lambda s: (ORDERS[by](s), s.total_ms), reverse=True)


def with_shares(statements: Iterable[Statement]) -> list[Statement]:
    """Each with its part of the time of all."""
    given = list(statements)
    whole = sum(s.total_ms + (s.plan_ms or 0.0) for s in given) or 1.0
    return [replace(s, share=(s.total_ms + (s.plan_ms or 0.0)) / whole) for s in given]


@dataclass(frozen=True, slots=True)
class Summed:
    """One statement of one database: over users, top level and nested together."""

    counts: Counts
    nested_calls: int
    user_ids: tuple[int, ...]


def summed(entries: Mapping[Key, Counts]) -> dict[tuple[int, int], Summed]:
    """(database, query id) -> its sum."""
    found: dict[tuple[int, int], Summed] = {}
    for key, counts in entries.items():
        nested = 0 if key.toplevel else counts.calls
        name = (key.database_id, key.query_id)
        known = found.get(name)
        if known is None:
            found[name] = Summed(counts, nested, (key.user_id,))
        else:
            found[name] = Summed(
                together(known.counts, counts),
                known.nested_calls + nested,
                tuple(sorted({*known.user_ids, key.user_id})),
            )
    return found


def counted(
    one: Summed,
    *,
    name: tuple[int, int],
    fingerprint: str,
    database: str,
    query: str,
    users: tuple[str, ...],
    labels: Mapping[str, str],
) -> Statement:
    """A statement of pg_stat_statements. name: its database and query id."""
    c = one.counts
    return Statement(
        query_id=name[1], fingerprint=fingerprint, database_id=name[0], database=database,
        query=query or NO_TEXT,
        source="pg_stat_statements", users=users, labels=labels, calls=c.calls,
        nested_calls=one.nested_calls, rows=c.rows, total_ms=c.exec_ms,
        mean_ms=c.mean_ms if c.calls else None,
        min_ms=c.min_ms if c.calls else None, max_ms=c.max_ms if c.calls else None,
        stddev_ms=c.stddev_ms if c.calls else None, plans=c.plans, plan_ms=c.plan_ms,
        jit_ms=c.jit_ms, io_ms=c.read_ms + c.write_ms + (c.temp_ms or 0.0),
        hit_blocks=c.hit_blocks, read_blocks=c.read_blocks, dirtied_blocks=c.dirtied_blocks,
        written_blocks=c.written_blocks, temp_read_blocks=c.temp_read_blocks,
        temp_written_blocks=c.temp_written_blocks, wal_bytes=c.wal_bytes,
        workers_launched=c.workers_launched,
    )  # fmt: skip


def compared(statement: Statement, before: Counts | None) -> Statement:
    """With the mean of another window beside it."""
    if before is None or not before.calls or statement.mean_ms is None:
        return statement
    mean = before.mean_ms
    return replace(
        statement, before_mean_ms=mean, change=statement.mean_ms / mean if mean else None
    )
