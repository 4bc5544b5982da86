"""What the queries about replication return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sender:
    """A client that streams from this server. Bytes are behind this server's own position.

    visible: False where this role may not see it, and everything but the pid is None.
    """

    pid: int
    application_name: str | None
    client: str | None
    state: str | None
    sync_state: str | None
    sent_behind_bytes: float | None
    flush_behind_bytes: float | None
    replay_behind_bytes: float | None
    silent_seconds: float | None
    connected_seconds: float | None
    visible: bool

    @property
    def name(self) -> str:
        place = f" at {self.client}" if self.client else ""
        return f"{self.application_name or f'pid {self.pid}'}{place}"


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot and the WAL it holds back."""

    name: str
    kind: str
    database: str | None
    active: bool
    temporary: bool
    wal_status: str | None
    safe_wal_bytes: float | None
    retained_bytes: float | None
    drop_sql: str

    def restart_is_unset(self) -> bool:
        """Never used: it reserves nothing yet."""
        return self.retained_bytes is None and self.wal_status is None


@dataclass(frozen=True, slots=True)
class StandbyState:
    """A standby as it sees itself. status, silent_seconds: None without a visible receiver."""

    paused: bool
    pause_state: str
    receivers: int
    status: str | None
    silent_seconds: float | None
    replay_behind_bytes: float | None
    last_replayed_seconds: float | None


QUERIES: Mapping[str, type] = {
    "senders": Sender,
    "slots": Slot,
    "standby": StandbyState,
}
PRIMARY_ONLY: frozenset[str] = frozenset()
