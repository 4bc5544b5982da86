"""What the queries about indexes return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Index:
    """One index. Vectors are pg_index's own, as text; size as of the last VACUUM or ANALYZE.

    entries_written: rows since the last reset that needed a new entry (inserts, updates not HOT).
    parent_oid: the partitioned index that it is attached to. is_readable: see indexes.sql.
    """

    oid: int
    table_oid: int
    name: str
    quoted: str
    table_name: str
    access_method: str
    keys: str
    key_count: int
    opclasses: str
    collations: str
    options: str
    expressions: tuple[str | None, ...] | None
    predicate: str | None
    is_readable: bool
    opclass_options: str | None
    storage_options: str | None
    is_unique: bool
    is_immediate: bool
    nulls_not_distinct: bool
    is_primary: bool
    is_exclusion: bool
    is_replica_identity: bool
    is_clustered: bool
    has_constraint: bool
    is_referenced: bool
    is_valid: bool
    is_maintained: bool
    is_live: bool
    busy: bool
    is_partitioned: bool
    parent_oid: int | None
    size_bytes: int
    scans: int
    entries_written: int
    is_toast: bool

    @property
    def columns(self) -> tuple[int, ...]:
        """Attribute numbers of the table, key columns first; 0 is an expression."""
        return tuple(map(int, self.keys.split()))

    @property
    def usable(self) -> bool:
        """The planner may use it, and every write keeps it up."""
        return self.is_valid and self.is_maintained

    @property
    def pinned(self) -> bool:
        """Something other than queries needs it: DROP INDEX would fail or break a promise."""
        return (
            self.has_constraint
            or self.is_primary
            or self.is_exclusion
            or self.is_replica_identity
            or self.is_referenced
            or self.parent_oid is not None
        )


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement about the object `oid`, its identifiers quoted by the server."""

    oid: int
    statement: str


@dataclass(frozen=True, slots=True)
class Observation:
    """Since when scans are counted; None where the server does not say."""

    window_seconds: float | None
    since: str | None


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """One foreign key, seen from the table that refers. parent_oid: inherited from this one."""

    oid: int
    parent_oid: int | None
    name: str
    table_oid: int
    table_name: str
    is_partitioned: bool
    columns: tuple[int, ...]
    column_names: tuple[str, ...]
    collations: tuple[int, ...]
    columns_not_null: tuple[str, ...]
    referenced_name: str
    rows: int
    size_bytes: int
    referenced_deletes: int


@dataclass(frozen=True, slots=True)
class IndexSpace:
    """What a btree has, and what an estimate of its need starts from; None without statistics.

    key_bytes: average width of one entry's values; distinct_keys: at most `rows`.
    """

    name: str
    quoted: str
    table_name: str
    size_bytes: int
    page_bytes: int
    rows: float
    fillfactor: int
    key_bytes: float | None
    distinct_keys: float | None
    is_nullable: bool
    is_visible: bool
    is_unique: bool
    deduplicates: bool


QUERIES: Mapping[str, type] = {
    "indexes": Index,
    "definitions": Statement,
    "observation": Observation,
    "foreign_keys": ForeignKey,
    "builds": Statement,
    "spaces": IndexSpace,
}
