"""What the queries about replication return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sender:
    """One walsender. Bytes are counted from this server's own position; None where not visible."""

    pid: int
    is_visible: bool
    name: str
    address: str | None
    state: str | None
    sync_state: str | None
    not_sent_bytes: float | None
    not_flushed_bytes: float | None
    behind_bytes: float | None


@dataclass(frozen=True, slots=True)
class Synchronous:
    """synchronous_standby_names, and the server's default for synchronous_commit."""

    names: str
    synchronous_commit: str
    waiting: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One replication slot. retained_bytes is None before its first use and once it is lost."""

    name: str
    kind: str
    plugin: str | None
    database: str | None
    is_active: bool
    wal_status: str | None
    retained_bytes: float | None
    safe_bytes: int | None
    xmin_age: int | None
    catalog_xmin_age: int | None
    inactive_seconds: float | None
    is_synced: bool
    drop_statement: str


@dataclass(frozen=True, slots=True)
class Standby:
    """One standby's receiving and replaying; None is "not visible" (see standby.sql)."""

    has_upstream: bool | None
    has_archive: bool | None
    receiver: int | None
    receiver_status: str | None
    slot: str | None
    silent_seconds: float | None
    is_paused: bool | None
    delay_seconds: float
    behind_bytes: float | None


QUERIES: Mapping[str, type] = {
    "senders": Sender,
    "synchronous": Synchronous,
    "slots": Slot,
    "standby": Standby,
}
