"""What the queries of `filban diagnose` return. Counters are floats that grow until a reset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Database:
    """All databases together. Blocks of the server's block size; times in milliseconds."""

    transactions: float
    rollbacks: float
    blocks_read: float
    blocks_hit: float
    block_read_ms: float
    temp_files: float
    temp_bytes: float
    deadlocks: float
    conflicts: float
    sessions: float
    session_ms: float
    active_ms: float
    idle_in_transaction_ms: float
    rows_returned: float
    rows_written: float


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """timed, requested: how many began for which reason; buffers: written by them."""

    timed: float
    requested: float
    write_ms: float
    sync_ms: float
    buffers: float


@dataclass(frozen=True, slots=True)
class Wal:
    """page_images: full pages logged at their first change after a checkpoint."""

    records: float
    page_images: float
    bytes: float
    buffers_full: float
    syncs: float
    sync_ms: float


@dataclass(frozen=True, slots=True)
class Io:
    """Operations on relations, None before 16."""

    client_reads: float | None
    client_writes: float | None
    client_extends: float | None
    vacuum_reads: float | None
    vacuum_writes: float | None


@dataclass(frozen=True, slots=True)
class Table:
    """One table. live_rows, dead_rows, vacuum_at and pages are levels; the rest are counters.

    vacuum_at: dead rows from which on autovacuum works on it.
    """

    id: int
    name: str
    quoted: str
    seq_scans: float
    rows_in_scans: float
    index_scans: float
    rows_written: float
    blocks: float
    blocks_read: float
    live_rows: float
    dead_rows: float
    vacuum_at: float
    vacuums: float
    pages: float


@dataclass(frozen=True, slots=True)
class Connections:
    """Client connections now; hidden: of other roles, whose state this role may not see."""

    used: int
    idle: int
    hidden: int
    allowed: int

    @property
    def words(self) -> str:
        """The beginning of a sentence. Superusers also take the slots that are kept for them."""
        if self.used >= self.allowed:
            return f"All {self.allowed:,}"
        return f"{self.used:,} of {self.allowed:,}"


@dataclass(frozen=True, slots=True)
class Sender:
    """A standby that this server sends WAL to."""

    name: str
    state: str | None
    sync_state: str | None
    replay_behind_bytes: float | None


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Statements of a standby that replay has cancelled."""

    on_snapshot: float
    on_lock: float
    on_buffer_pin: float
    on_deadlock: float
    on_tablespace: float


@dataclass(frozen=True, slots=True)
class Whoami:
    """Our own server process. started: Unix seconds."""

    pid: int
    started: float
    loopback: bool


QUERIES: Mapping[str, type] = {
    "database": Database,
    "checkpoints": Checkpoints,
    "wal": Wal,
    "io": Io,
    "tables": Table,
    "connections": Connections,
    "senders": Sender,
    "conflicts": Conflicts,
    "whoami": Whoami,
}
