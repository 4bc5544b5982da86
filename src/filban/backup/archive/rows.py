"""What the queries about the archiver return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Archiver:
    """is_failing: the last failure is younger than the last success; None without any failure."""

    mode: str
    is_configured: bool
    archived_count: int
    failed_count: int
    last_failed_file: str | None
    is_failing: bool | None
    failed_seconds_ago: float | None
    archived_seconds_ago: float | None
    counted_seconds: float | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """WAL that is ready and not archived; oldest_seconds is None when nothing waits."""

    files: int
    size_bytes: int
    oldest_seconds: float | None


QUERIES: Mapping[str, type] = {"archiver": Archiver, "waiting": Waiting}
# pg_ls_archive_statusdir() is granted to pg_monitor only.
SUPERUSER = frozenset({"waiting"})
