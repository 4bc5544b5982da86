"""What one look at a server returns for the live screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from filban.pg.locks import LockWait


@dataclass(frozen=True, slots=True)
class Running:
    """One session or server process that is not idle.

    wait_event_type None while it is active: it is on a CPU, or waits for one. hidden: another
    role's session, whose state, wait and query this role may not see.
    """

    pid: int
    backend_start: datetime | None
    backend_type: str | None
    database: str | None
    role: str | None
    application: str | None
    client: str | None
    state: str | None
    wait_event_type: str | None
    wait_event: str | None
    query: str | None
    query_seconds: float | None
    state_seconds: float | None
    transaction_seconds: float | None
    hidden: bool

    @property
    def waits(self) -> bool:
        """Active, and waiting for something."""
        return self.state == "active" and self.wait_event_type is not None

    @property
    def seconds(self) -> float | None:
        """How long its statement runs, or how long it idles in its transaction."""
        idle = (self.state or "").startswith("idle")
        return self.state_seconds if idle else self.query_seconds


@dataclass(frozen=True, slots=True)
class Counters:
    """at: the server's clock, in Unix seconds. Levels: connections, connections_allowed,
    replay_behind_bytes; the rest counts up."""

    at: float
    commits: float
    rollbacks: float
    blocks_read: float
    blocks_hit: float
    temp_bytes: float
    connections: int
    connections_allowed: int
    wal_bytes: float | None
    replay_behind_bytes: float | None


@dataclass(frozen=True, slots=True)
class Io:
    """Bytes of pg_stat_io so far; None before 16."""

    read_bytes: float | None
    written_bytes: float | None


@dataclass(frozen=True, slots=True)
class Replica:
    """A standby that this server sends WAL to."""

    name: str
    state: str | None
    sync_state: str | None
    behind_bytes: float | None
    behind_seconds: float | None


@dataclass(frozen=True, slots=True)
class Sent:
    """Whether a signal reached its session."""

    sent: bool


@dataclass(frozen=True, slots=True)
class Look:
    """Everything at one moment. waits: the lock queues, empty when nobody is in one."""

    at: datetime
    sessions: tuple[Running, ...]
    waits: tuple[LockWait, ...]
    counters: Counters
    io: Io
    replicas: tuple[Replica, ...]


QUERIES: Mapping[str, type] = {
    "sessions": Running,
    "counters": Counters,
    "io": Io,
    "replicas": Replica,
    "cancel": Sent,
    "terminate": Sent,
}
