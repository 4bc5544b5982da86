"""What the queries about indexes return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Index:
    """One index: what tells it from another, what it is needed for, how it was used.

    keys: attribute numbers as text, or the text of an expression; opclasses, collations and options
    (DESC, NULLS FIRST) go with them. included: attribute numbers. window_seconds: for how long, at
    the least, scans have been counted.
    """

    oid: int
    name: str
    quoted: str
    table_oid: int
    table_name: str
    table_quoted: str
    method: str
    keys: tuple[str, ...]
    included: tuple[str, ...]
    opclasses: tuple[str, ...]
    collations: tuple[str, ...]
    options: tuple[str, ...]
    predicate: str | None
    is_unique: bool
    nulls_not_distinct: bool
    is_valid: bool
    is_replica_identity: bool
    is_partitioned: bool
    is_partition: bool
    has_constraint: bool
    size_bytes: int
    table_rows: int
    scans: int
    last_scan_seconds: float | None
    window_seconds: float
    is_building: bool

    @property
    def columns(self) -> tuple[tuple[str, str, str, str], ...]:
        """(what, operator class, collation, ordering) of each key column."""
        return tuple(zip(self.keys, self.opclasses, self.collations, self.options, strict=True))

    @property
    def is_needed(self) -> bool:
        """It enforces or identifies something, whether it is scanned or not."""
        return self.is_unique or self.has_constraint or self.is_replica_identity


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key whose referencing columns no index begins with. columns: quoted, as a list."""

    table_name: str
    name: str
    columns: str
    referenced: str
    table_rows: int
    parent_changes: int
    is_partitioned: bool
    create_sql: str


@dataclass(frozen=True, slots=True)
class IndexSpace:
    """What an index has and would need if built anew, an estimate; None without statistics."""

    name: str
    quoted: str
    table_name: str
    size_bytes: int
    needed_bytes: int | None
    visible: bool


QUERIES: Mapping[str, type] = {
    "indexes": Index,
    "foreign_keys": ForeignKey,
    "bloat": IndexSpace,
}
