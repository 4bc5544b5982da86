"""Connecting as a server tool: named, bounded in time, read-only unless asked, errors in words."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import asyncpg

from filban.errors import (
    ConnectError,
    ConnectionLost,
    ConnectReason,
    FilbanError,
    NotSupported,
    RightsMissing,
    StatementFailed,
)
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


@contextlib.contextmanager
def connect_errors(target: Target, address: Address, seconds: float) -> Iterator[None]:
    """Turn what asyncpg and the system raise while connecting into one sentence and what to do."""
    where = f'database "{target.database}" on {address} as user "{target.user}"'
    try:
        yield
    except FilbanError:
        raise
    except asyncpg.InvalidPasswordError as error:
        given = target.password_for(address) is not None
        raise _failed(
            "authentication",
            f"{where}: {_said(error)}",
            "the password given is wrong"
            if given
            else "no password was given: use PGPASSWORD, a line in ~/.pgpass, or a service file",
        ) from error
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise _failed(
            "authentication",
            f"{where}: {_said(error)}",
            "check the user name and the server's pg_hba.conf",
        ) from error
    except asyncpg.InvalidCatalogNameError as error:
        raise _failed(
            "database", f"{where}: {_said(error)}", "`psql -l` lists the databases"
        ) from error
    except asyncpg.TooManyConnectionsError as error:
        raise _failed(
            "too_many",
            f"{where}: {_said(error)}",
            "every connection slot is taken: close idle clients, or connect as a superuser, "
            "for whom superuser_reserved_connections are kept",
        ) from error
    except asyncpg.CannotConnectNowError as error:
        raise _failed(
            "starting",
            f"{where}: {_said(error)}",
            "the server is starting, stopping or recovering: try again in a moment",
        ) from error
    except asyncpg.TargetServerAttributeNotMatched as error:
        raise _failed(
            "role",
            f"{where}: the server is not {target.role}",
            "change target_session_attrs, or name another host",
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise _failed(
            "authentication",
            f"{where}: {_said(error)}",
            f'grant connect on database "{target.database}" to "{target.user}"',
        ) from error
    except asyncpg.ClientConfigurationError as error:
        raise _failed("dsn", f"{where}: {_said(error)}", "check the connection string") from error
    except TimeoutError as error:
        raise _failed(
            "unreachable",
            f"{where}: no answer within {seconds:g} s",
            "a firewall, a wrong address or a server that hangs; connect_timeout= sets the wait",
        ) from error
    except ssl.SSLError as error:
        raise _failed(
            "tls",
            f"{where}: TLS failed: {error.reason or error}",
            "check sslmode, sslrootcert and the server's certificate",
        ) from error
    except ConnectionError as error:
        if "SSL" in str(error) and target.tls.get("sslmode", "prefer") in ("allow", "prefer"):
            raise _failed(
                "other",
                f"{where}: what answers there is not a PostgreSQL server",
                "check the host and the port",
            ) from error
        if "SSL" in str(error):
            raise _failed(
                "tls",
                f"{where}: {error}",
                "the server offers no TLS: set ssl = on there, or sslmode=prefer here",
            ) from error
        raise _failed(
            "unreachable",
            f"{where}: nobody listens there ({_reason(error)})",
            "is the server running, and is this its host and port?",
        ) from error
    except FileNotFoundError as error:  # a Unix socket
        raise _failed(
            "unreachable",
            f"{where}: nobody listens there (no such socket)",
            "is the server running, with this socket directory and port? -h and -p of psql, "
            "PGHOST and PGPORT name others",
        ) from error
    except OSError as error:
        raise _failed(
            "unreachable",
            f"{where}: {_reason(error)}",
            "check the host name and the network",
        ) from error
    except asyncpg.PostgresError as error:
        raise _failed("other", f"{where}: {_said(error)}", "see the server's log") from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise _failed(
            "other", f"{where}: {_said(error)}", "is it a PostgreSQL server that listens there?"
        ) from error


def _failed(reason: ConnectReason, message: str, hint: str) -> ConnectError:
    return ConnectError(f"cannot connect to {message}", reason=reason, hint=hint)


def _reason(error: OSError) -> str:
    """The system's words; asyncio puts "Connect call failed" and a tuple in their place."""
    number = error.errno or 0  # those of name resolution are negative
    return os.strerror(number) if number > 0 else error.strerror or str(error)


def _said(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextlib.contextmanager
def statement_errors(doing: str) -> Iterator[None]:
    """Turn what a running statement raises into our tree. `doing` completes "while …"."""
    try:
        yield
    except FilbanError:
        raise
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.AdminShutdownError,
        asyncpg.CrashShutdownError,
        asyncpg.CannotConnectNowError,
        # "cannot switch to state …": how asyncpg says it when the server dies between two messages
        asyncpg.InternalClientError,
        ConnectionError,
    ) as error:
        raise _lost(doing, error) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise RightsMissing(
            f"while {doing}: {_said(error)}",
            hint="grant pg_monitor to this role, or connect as one that may",
        ) from error
    except (asyncpg.UndefinedFunctionError, asyncpg.FeatureNotSupportedError) as error:
        raise NotSupported(
            f"while {doing}: {_said(error)}", hint="this server does not offer it"
        ) from error
    except asyncpg.QueryCanceledError as error:
        raise StatementFailed(
            f"while {doing}: {_said(error)}",
            sqlstate="57014",
            hint="the server is busy or the catalogue very large: try again",
        ) from error
    except asyncpg.LockNotAvailableError as error:
        raise StatementFailed(
            f"while {doing}: {_said(error)}",
            sqlstate="55P03",
            hint="somebody holds a lock on what we wanted to read: see `filban check`",
        ) from error
    except asyncpg.PostgresError as error:
        raise StatementFailed(
            f"while {doing}: {_said(error)}", sqlstate=error.sqlstate or "", hint=error.hint or ""
        ) from error
    except asyncpg.InterfaceError as error:
        if "closed" in str(error) or "connection" in str(error):
            raise _lost(doing, error) from error
        raise


def _lost(doing: str, error: BaseException) -> ConnectionLost:
    return ConnectionLost(
        f"the server went away while {doing}: {_said(error)}",
        hint="was it restarted or stopped, or is the network down? Its log says why",
    )


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
