"""What the catalogue and its statistics say of the tables of a workload."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A relation. kind: pg_class.relkind. rows: -1 when it was never analysed; see tables.sql."""

    oid: int
    schema: str
    name: str
    schema_quoted: str
    name_quoted: str
    kind: str
    parent_oid: int | None
    rows: float
    pages: int
    visible_pages: int
    inserts: int
    updates: int
    hot_updates: int
    deletes: int

    @property
    def quoted(self) -> str:
        return f"{self.schema_quoted}.{self.name_quoted}"

    @property
    def visible_share(self) -> float:
        """Of its pages, those that an index-only scan need not read."""
        return self.visible_pages / self.pages if self.pages else 0.0


@dataclass(frozen=True, slots=True)
class Column:
    """A column; statistics are None where there are none. See columns.sql."""

    table_oid: int
    number: int
    name: str
    quoted: str
    type: str
    category: str
    is_not_null: bool
    by_bytes: bool
    distincts: float | None
    null_share: float | None
    correlation: float | None
    width_bytes: int | None
    top_share: float

    def distinct_values(self, rows: float) -> float | None:
        """How many different values a table of so many rows has in it."""
        if self.distincts is None or self.distincts == 0:
            return None
        return self.distincts if self.distincts > 0 else -self.distincts * rows


@dataclass(frozen=True, slots=True)
class Values:
    """Values of a column, most common first, bounds in order; see sample_values.sql."""

    table_oid: int
    name: str
    common: tuple[str, ...]
    bounds: tuple[str, ...]
    elements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """Whether a function of this name gives the same for the same argument, always."""

    name: str
    arguments: int
    type: str | None
    is_immutable: bool


@dataclass(frozen=True, slots=True)
class Path:
    """The search_path that is configured for the database, or None."""

    configured: str | None


@dataclass(frozen=True, slots=True)
class Behind:
    """A relation that a view reads."""

    view_oid: int
    table_oid: int


@dataclass(frozen=True, slots=True)
class Counted:
    """An entry of pg_stat_statements."""

    query_id: int | None
    sql: str | None
    calls: float
    total_ms: float
    rows: float


QUERIES = {
    "tables": Table,
    "columns": Column,
    "sample_values": Values,
    "functions": Function,
    "search_path": Path,
    "statements": Counted,
    "view_tables": Behind,
}
