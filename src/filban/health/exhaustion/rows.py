"""What the queries about counters that run out return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatabaseAge:
    """Ages in transactions and multixacts. here: the database that we are connected to."""

    name: str
    quoted: str
    here: bool
    connectable: bool
    xid_age: int
    multixact_age: int


@dataclass(frozen=True, slots=True)
class UnfrozenTable:
    """name is for people, quoted for SQL; ages as above."""

    name: str
    quoted: str
    xid_age: int
    multixact_age: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SequenceUse:
    """A sequence and a column that it feeds. last_value is None before the first call."""

    name: str
    quoted: str
    readable: bool
    last_value: int | None
    increment: int
    minimum: int
    maximum: int
    cycles: bool
    sequence_type: str
    identity: bool
    column_name: str | None
    column_type: str | None
    widen_sql: str | None


@dataclass(frozen=True, slots=True)
class IntegerKey:
    """A smallint or integer key column; lowest and highest as the last ANALYZE saw them."""

    name: str
    column_type: str
    visible: bool
    lowest: int | None
    highest: int | None
    widen_sql: str | None


QUERIES: Mapping[str, type] = {
    "databases": DatabaseAge,
    "unfrozen_tables": UnfrozenTable,
    "sequences": SequenceUse,
    "integer_keys": IntegerKey,
}
# pg_sequence_last_value refuses unlogged sequences in recovery on the older minor releases.
PRIMARY_ONLY = frozenset({"sequences"})
