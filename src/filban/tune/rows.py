"""What the queries about settings and checkpoints return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Checkpoints by cause and WAL in bytes, each over its own window; None: never reset."""

    timed: int
    requested: int
    window_seconds: float | None
    wal_bytes: float
    wal_window_seconds: float | None


@dataclass(frozen=True, slots=True)
class TableWithoutAutovacuum:
    """name is for people, quoted for SQL."""

    name: str
    quoted: str
    size_bytes: int
    rows_estimated: int


@dataclass(frozen=True, slots=True)
class SettingScope:
    """This session's database and role, quoted by the server."""

    database_quoted: str
    role_quoted: str


QUERIES: Mapping[str, type] = {
    "checkpoints": Checkpoints,
    "tables_without_autovacuum": TableWithoutAutovacuum,
    "quote_setting_scope": SettingScope,
}
