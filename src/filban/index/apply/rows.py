"""What the queries of applying return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """An index of a name, see named.sql. kind: pg_class.relkind. definition: None where it cannot
    be read without waiting."""

    oid: int
    quoted: str
    kind: str
    is_valid: bool
    is_live: bool
    size_bytes: int
    definition: str | None
    has_constraint: bool
    builder_pid: int | None


@dataclass(frozen=True, slots=True)
class Table:
    """The table to index. kind: pg_class.relkind; bytes of its heap."""

    kind: str
    quoted: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Building:
    """pg_stat_progress_create_index of one backend; waits_for: whose transaction it waits out."""

    phase: str
    blocks_total: int
    blocks_done: int
    tuples_total: int
    tuples_done: int
    waits_for: int | None


@dataclass(frozen=True, slots=True)
class Follower:
    """A standby or a slot that needs our WAL. lag_bytes: NULL where this role may not see it.
    in_danger: the server will remove WAL that the slot still needs."""

    name: str
    lag_bytes: int | None
    in_danger: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server writes an index, and its WAL; NULL where this role may not know."""

    data_directory: str | None
    tablespace: str | None
    started_at_epoch: float


@dataclass(frozen=True, slots=True)
class Backend:
    """Whether a backend of this pid and start still works for filban."""

    pid: int


QUERIES: Mapping[str, type] = {
    "named": Found,
    "table": Table,
    "progress": Building,
    "followers": Follower,
    "place": Place,
    "backend": Backend,
}
# What they say is a primary's.
PRIMARY_ONLY = ("followers",)
