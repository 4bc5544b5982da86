"""What the queries about sessions, locks and prepared transactions return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ConnectionUse:
    """Connections against one limit. name and quoted are None for the server's own limit.

    reserved: slots of max_connections kept for superusers and pg_use_reserved_connections.
    """

    scope: Literal["server", "database", "role"]
    name: str | None
    quoted: str | None
    allowed: int
    reserved: int
    used: int
    active: int
    idle: int
    idle_long: int
    idle_in_transaction: int
    hidden: int
    terminate_idle_sql: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction. Times in seconds; xmin_age in transactions, None without a snapshot."""

    pid: int
    database: str | None
    role: str | None
    application: str
    client: str | None
    state: str | None
    transaction_seconds: float
    state_seconds: float | None
    xmin_age: int | None
    query: str
    end_sql: str


@dataclass(frozen=True, slots=True)
class HorizonHolder:
    """A slot or walsender that makes vacuum keep dead rows; xmin_age in transactions.

    catalog_only: only rows of the system catalogs are kept (a logical slot).
    """

    kind: Literal["slot", "walsender"]
    name: str
    xmin_age: int
    active: bool
    catalog_only: bool
    release_sql: str


@dataclass(frozen=True, slots=True)
class PreparedTransaction:
    """A transaction left between PREPARE TRANSACTION and COMMIT PREPARED."""

    gid: str
    database: str
    here: bool
    owner: str
    age_seconds: float
    xmin_age: int
    locks: int
    rollback_sql: str


QUERIES: Mapping[str, type] = {
    "connections": ConnectionUse,
    "transactions": Transaction,
    "horizon": HorizonHolder,
    "prepared": PreparedTransaction,
}
