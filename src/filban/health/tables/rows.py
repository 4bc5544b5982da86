"""What the queries about tables and the cache return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TableActivity:
    """A table's counters. The triggers are the counts from which on autovacuum should come.

    analysed: whether the planner has statistics; None where this role may not see it.
    """

    name: str
    quoted: str
    system: bool
    partitioned: bool
    rows: int
    dead: int
    modified: int
    size_bytes: int
    analysed: bool | None
    analysed_seconds_ago: float | None
    vacuumed_seconds_ago: float | None
    vacuum_trigger: float
    analyze_trigger: float


@dataclass(frozen=True, slots=True)
class TableSpace:
    """What a table has and what its live rows need, an estimate; None without statistics."""

    name: str
    quoted: str
    size_bytes: int
    needed_bytes: int | None
    visible: bool


@dataclass(frozen=True, slots=True)
class CacheUse:
    """Pages found in shared_buffers and not, over the window (None: never reset)."""

    hit: int
    read: int
    window_seconds: float | None


QUERIES: Mapping[str, type] = {
    "tables": TableActivity,
    "bloat": TableSpace,
    "cache": CacheUse,
}
