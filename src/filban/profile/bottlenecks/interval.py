"""An interval of a server: what was sampled in it, and what its counters grew by. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from filban.profile.bottlenecks.load import Load
from filban.profile.bottlenecks.machine import Machine
from filban.profile.bottlenecks.rows import (
    Checkpoints,
    Conflicts,
    Connections,
    Database,
    Io,
    Sender,
    Table,
    Wal,
)
from filban.profile.statements.deltas import delta, together
from filban.profile.statements.rows import Counts, Snapshot

Counters = TypeVar("Counters", Database, Checkpoints, Wal, Io, Conflicts)


@dataclass(frozen=True, slots=True)
class Statement:
    """What pg_stat_statements counted for one statement, all users and databases together.

    plan_ms: 0 unless track_planning; jit_ms: None before 15. blocks: found in shared buffers or
    read; temp_blocks: written.
    """

    query_id: int
    calls: float
    rows: float
    exec_ms: float
    plan_ms: float
    jit_ms: float | None
    temp_blocks: float
    blocks: float


@dataclass(frozen=True, slots=True)
class Reading:
    """All counters at one moment."""

    database: Database
    checkpoints: Checkpoints
    wal: Wal
    io: Io
    conflicts: Conflicts
    tables: tuple[Table, ...]
    connections: Connections
    senders: tuple[Sender, ...]
    statements: Snapshot | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings that the rules compare with. Sizes in bytes, times in seconds."""

    block_bytes: int
    deadlock_timeout_seconds: float
    checkpoint_warning_seconds: float
    checkpoint_trigger_bytes: float
    max_wal_size_bytes: int
    work_mem_bytes: int
    shared_buffers_bytes: int
    synchronous_standbys: str
    jit_above_cost: float


@dataclass(frozen=True, slots=True)
class Interval:
    """Everything that the rules look at.

    statements: None without pg_stat_statements. machine: None when the server runs elsewhere.
    connect_seconds: how long our own second connection took; None: every slot was taken.
    tables: changes of counters; levels as at the end.
    """

    seconds: float
    load: Load
    database: Database
    checkpoints: Checkpoints
    wal: Wal
    io: Io
    conflicts: Conflicts
    tables: tuple[Table, ...]
    connections: Connections
    senders: tuple[Sender, ...]
    statements: tuple[Statement, ...] | None
    machine: Machine | None
    connect_seconds: float | None
    limits: Limits
    in_recovery: bool
    managed_by: str | None = None

    def statement(self, query_id: int | None) -> Statement | None:
        """What pg_stat_statements has of a statement that was seen."""
        if self.statements is None or query_id is None:
            return None
        return next((s for s in self.statements if s.query_id == query_id), None)


def change(before: Counters, after: Counters) -> Counters:
    """How much each counter has grown. A counter that has fallen was reset: it counts from 0."""
    grown = {}
    for field in dataclasses.fields(after):
        old, new = getattr(before, field.name), getattr(after, field.name)
        grown[field.name] = new if old is None or new is None else _grown(old, new)
    return type(after)(**grown)


def _grown(old: float, new: float) -> float:
    return new - old if new >= old else new


_LEVELS = frozenset({"id", "name", "quoted", "live_rows", "dead_rows", "vacuum_at", "pages"})


def table_changes(before: Iterable[Table], after: Iterable[Table]) -> tuple[Table, ...]:
    """The tables that were used in between; levels as after."""
    known: Mapping[int, Table] = {table.id: table for table in before}
    changed = []
    for table in after:
        old = known.get(table.id)
        grown: dict[str, Any] = {
            f.name: _grown(0.0 if old is None else getattr(old, f.name), getattr(table, f.name))
            for f in dataclasses.fields(Table)
            if f.name not in _LEVELS
        }
        if any(grown.values()):
            changed.append(dataclasses.replace(table, **grown))
    return tuple(changed)


def statement_changes(
    before: Snapshot | None, after: Snapshot | None
) -> tuple[Statement, ...] | None:
    """The statements that ended in between; None without pg_stat_statements."""
    if before is None or after is None:
        return None
    sums: dict[int, Counts] = {}
    for key, counts in delta(before, after).entries.items():
        known = sums.get(key.query_id)
        sums[key.query_id] = counts if known is None else together(known, counts)
    return tuple(_statement(query_id, counts) for query_id, counts in sums.items() if counts.calls)


def _statement(query_id: int, counts: Counts) -> Statement:
    return Statement(
        query_id=query_id,
        calls=counts.calls,
        rows=counts.rows,
        exec_ms=counts.exec_ms,
        plan_ms=counts.plan_ms,
        jit_ms=counts.jit_ms,
        temp_blocks=counts.temp_written_blocks,
        blocks=counts.hit_blocks + counts.read_blocks,
    )
