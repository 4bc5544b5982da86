"""What pg_stat_statements returns, a snapshot of it, and what happened between two of them.

Times are milliseconds, sizes blocks or bytes as the names say; None is what this version does not
count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Key(NamedTuple):
    """One entry of pg_stat_statements."""

    user_id: int
    database_id: int
    query_id: int
    toplevel: bool


class Counts(NamedTuple):
    """The counters of one entry, as they stand or as they grew.

    exec_sq_ms2: sum of squared deviations of execution times from their mean. min_ms, max_ms: over
    the entry's whole life, so of an interval only a bound. *_blocks: shared and local together.
    read_ms and write_ms are 0 unless the server has track_io_timing. since: when the entry began
    to count (17+).
    """

    calls: int
    rows: int
    exec_ms: float
    min_ms: float
    max_ms: float
    exec_sq_ms2: float
    plans: int
    plan_ms: float
    hit_blocks: int
    read_blocks: int
    dirtied_blocks: int
    written_blocks: int
    temp_read_blocks: int
    temp_written_blocks: int
    read_ms: float
    write_ms: float
    temp_ms: float | None
    wal_records: int
    wal_fpi: int
    wal_bytes: int
    jit_ms: float | None
    wal_buffers_full: int | None
    workers_to_launch: int | None
    workers_launched: int | None
    since: datetime | None

    @property
    def mean_ms(self) -> float:
        return self.exec_ms / self.calls if self.calls else 0.0

    @property
    def stddev_ms(self) -> float:
        """Of the population of calls, as pg_stat_statements has it."""
        return float((self.exec_sq_ms2 / self.calls) ** 0.5) if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Info:
    """epoch: since when this run of counters counts; evictions: passes that dropped entries."""

    epoch: datetime
    evictions: int
    max_entries: int
    taken_at: datetime
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Text:
    """query: None where the server has lost it."""

    database_id: int
    query_id: int
    query: str | None


@dataclass(frozen=True, slots=True)
class Name:
    """kind: database or role."""

    kind: str
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Active:
    """One session at work. wait: "Type:event", or CPU; query: None where hidden."""

    query_id: int | None
    database: str | None
    role: str | None
    application: str | None
    wait: str
    query: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every counter of one server at one moment.

    cluster: the system identifier; where a managed service hides it, the address. Its servers
    (primary, standbys) share it, and each has counters of its own: (cluster, info.epoch) names one
    run of counters, to the microsecond. hidden: entries of other users that this role may not see.
    """

    cluster: str
    info: Info
    entries: Mapping[Key, Counts]
    hidden: int

    @property
    def taken_at(self) -> datetime:
        return self.info.taken_at


@dataclass(frozen=True, slots=True)
class Delta:
    """What was counted from `start` to `end`: entries that were called, each with its growth.

    from_zero: the counters began at `start` (a first sight, a reset, a crash, another server).
    restarted: entries that were reset or evicted one by one and began again in between: what they
    had counted since the snapshot before that is lost. gone: entries that are no longer there,
    because they were evicted or removed. evicted: how many entries the server dropped for room in
    between (exact, see `deltas.evicted`); what they had counted since the last snapshot is lost.
    """

    cluster: str
    epoch: datetime
    start: datetime
    end: datetime
    from_zero: bool
    entries: Mapping[Key, Counts]
    restarted: int
    gone: int
    evicted: int
    hidden: int

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()


# Their columns are Key's and Counts' fields; kept as tuples, since 5,000 rows come at a time.
Entry = dataclasses.make_dataclass("Entry", [*Key._fields, *Counts._fields])

QUERIES: Mapping[str, type] = {
    "activity": Active,
    "entries": Entry,
    "info": Info,
    "texts": Text,
    "names": Name,
}
