"""Connecting as a server tool: named, bounded in time, read-only unless asked."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import asyncpg

from filban.errors import ConnectError
from filban.pg.driver_errors import connect_errors
from filban.pg.dsn import Address, Target

APPLICATION_NAME = "filban"
CONNECT_TIMEOUT_SECONDS = 5.0
# A read of ours that takes longer than this disturbs more than it tells.
STATEMENT_TIMEOUT_MS = 30_000
# We wait behind nobody: a catalogue read that queues for a lock would queue others behind itself.
LOCK_TIMEOUT_MS = 2_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds every statement of a session. Zero is PostgreSQL's "no limit"."""

    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS
    lock_timeout_ms: int = LOCK_TIMEOUT_MS
    read_only: bool = True
    application_name: str = APPLICATION_NAME

    def settings(self) -> dict[str, str]:
        return {
            "application_name": self.application_name,
            "statement_timeout": str(self.statement_timeout_ms),
            "lock_timeout": str(self.lock_timeout_ms),
            "idle_in_transaction_session_timeout": "60000",
            # CVE-2018-1058: nothing that the database's owner planted is found first
            "search_path": "pg_catalog",
            "client_encoding": "UTF8",
            "DateStyle": "ISO",
            "IntervalStyle": "iso_8601",
            "extra_float_digits": "1",
            "jit": "off",  # compiling a catalogue read takes longer than running it
        }


async def open_connection(
    target: Target, limits: Limits | None = None, *, timeout: float | None = None
) -> asyncpg.Connection:
    """The first address that answers with the wanted role, as libpq goes through its hosts.

    timeout: seconds for each address. Raises ConnectError; with several addresses the error says
    what became of each.
    """
    limits = limits or Limits()
    seconds = timeout or target.connect_timeout or CONNECT_TIMEOUT_SECONDS
    failures: list[ConnectError] = []
    for role in ("standby", "any") if target.role == "prefer-standby" else (target.role,):
        failures = []
        for address in target.ordered():
            try:
                return await _open(target, address, role, limits, seconds)
            except ConnectError as error:
                failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    raise ConnectError(
        f"none of {len(failures)} hosts could be used: " + "; ".join(f.message for f in failures),
        reason=failures[0].reason,
        hint=failures[0].hint,
    )


async def _open(
    target: Target, address: Address, role: str, limits: Limits, seconds: float
) -> asyncpg.Connection:
    settings = limits.settings()
    if target.options:
        settings["options"] = target.options
    if target.application_name:
        settings["application_name"] = target.application_name
    with connect_errors(target, address, seconds):
        try:
            opened = await _asyncpg_connect(target, address, role, settings, seconds)
            if limits.read_only:
                # after the role was looked at: as a startup parameter it would make a primary
                # pass for target_session_attrs=read-only
                await opened.execute("SET default_transaction_read_only = on")
            return opened
        except (asyncpg.ProtocolViolationError, asyncpg.InvalidParameterValueError) as error:
            if "startup parameter" not in str(error):
                raise
            return await _open_pooled(target, address, role, settings, seconds)


class PooledConnection(asyncpg.Connection):
    """A connection through PgBouncer or the like: there is no session behind it to rely on."""


async def _asyncpg_connect(
    target: Target,
    address: Address,
    role: str,
    settings: dict[str, str],
    seconds: float,
    *,
    pooled: bool = False,
) -> asyncpg.Connection:
    query = "&".join(f"{k}={quote(v, safe='')}" for k, v in target.tls.items())
    return await asyncpg.connect(
        dsn=f"postgresql:///?{query}" if query else None,
        host=address.host,
        port=address.port,
        user=target.user,
        database=target.database,
        password=target.password_for(address) or "",
        server_settings=settings,
        target_session_attrs=cast("Any", role),
        timeout=seconds,
        connection_class=PooledConnection if pooled else asyncpg.Connection,
        statement_cache_size=0 if pooled else 100,
    )


async def _open_pooled(
    target: Target, address: Address, role: str, settings: dict[str, str], seconds: float
) -> asyncpg.Connection:
    """Through PgBouncer, which refuses startup parameters that it does not track.

    There is no session of ours there: each query runs in its own transaction (see Session), which
    sets its limits locally, and nothing is prepared by name.
    """
    few = {"application_name": settings["application_name"], "client_encoding": "UTF8"}
    return await _asyncpg_connect(target, address, role, few, seconds, pooled=True)


def is_pooled(connection: asyncpg.Connection) -> bool:
    """Whether the connection goes through PgBouncer or the like."""
    # not isinstance: asyncpg's metaclass answers yes for every connection
    return type(connection) is PooledConnection


@contextlib.asynccontextmanager
async def connection(
    target: Target, limits: Limits | None = None, *, timeout: float | None = None
) -> AsyncIterator[asyncpg.Connection]:
    """`open_connection` for a block; closed, or terminated where a close would hang."""
    opened = await open_connection(target, limits, timeout=timeout)
    try:
        yield opened
    finally:
        await close(opened)


async def close(opened: asyncpg.Connection, *, timeout: float = 2.0) -> None:
    """Close politely; `close()` hangs on a frozen backend, `terminate()` does not."""
    try:
        await opened.close(timeout=timeout)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        opened.terminate()
