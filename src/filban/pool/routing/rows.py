"""What the routing queries return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Position:
    """Where a server stands. LSNs are byte positions; see position.sql.

    system_identifier and timeline are None where this role may not know them.
    """

    in_recovery: bool
    system_identifier: int | None
    timeline: int | None
    lsn: int | None
    insert_lsn: int | None
    wal_block_bytes: int
    wal_segment_bytes: int
    replay_paused: bool
    started_at: datetime
    next_xid: int

    @property
    def system(self) -> int:
        """The system identifier; 0 where this role may not know it."""
        return self.system_identifier or 0


@dataclass(frozen=True, slots=True)
class HistoryFile:
    content: str | None


@dataclass(frozen=True, slots=True)
class Fate:
    status: str | None


QUERIES: Mapping[str, type] = {
    "position": Position,
    "position_uncontrolled": Position,
    "history": HistoryFile,
    "fate": Fate,
}
SUPERUSER = frozenset({"history"})
# pg_xact_status needs the primary's transaction counter
PRIMARY_ONLY = frozenset({"fate"})
