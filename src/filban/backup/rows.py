"""What the queries about WAL archiving return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Archiver:
    """The archiver's counters. mode: off, on, always. failing: no success since a failure."""

    mode: str
    archived: int
    last_archived: str | None
    last_archived_seconds: float | None
    failed: int
    last_failed: str | None
    last_failed_seconds: float | None
    failing: bool


QUERIES: Mapping[str, type] = {"archiver": Archiver}
