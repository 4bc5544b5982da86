"""What the queries of maintenance return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from filban.index.apply.rows import Building


@dataclass(frozen=True, slots=True)
class Table:
    """One table and what its counters ask for. may_maintain: whether this role may do it.

    *_due: autovacuum's own rule with the table's own settings; dead and changed rows as counted.
    """

    oid: int
    name: str
    quoted: str
    is_partitioned: bool
    may_maintain: bool
    heap_bytes: int
    dead_rows: int
    changed_rows: int
    is_vacuum_due: bool
    is_analyze_due: bool


@dataclass(frozen=True, slots=True)
class ColumnGroup:
    """Columns that a btree has together and that no extended statistics cover; quoted texts."""

    table_oid: int
    table_name: str
    table_quoted: str
    columns_quoted: tuple[str, ...]
    statistics_quoted: str
    sample_percent: float


QUERIES: Mapping[str, type] = {
    "tables": Table,
    "column_groups": ColumnGroup,
    "progress": Building,
}
