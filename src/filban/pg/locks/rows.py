"""What the lock queries return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LockWait:
    """A session in a lock queue: a waiter, or one that only blocks (then the waiting is None)."""

    pid: int
    blocked_by: tuple[int, ...]
    prepared_gids: tuple[str, ...]
    waited_seconds: float | None
    lock_mode: str | None
    lock_on: str | None
    backend_type: str | None
    database: str | None
    role: str | None
    application: str | None
    state: str | None
    transaction_seconds: float | None
    query: str | None
    end_sql: str


QUERIES: Mapping[str, type] = {"lock_waits": LockWait}
