"""What asyncpg and the system raise -> one sentence of ours, and what to do."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator

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

# What a server says to somebody who connects: the first class that fits, the reason, what to do.
_REFUSALS: tuple[tuple[type[Exception], ConnectReason, str], ...] = (
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "authentication",
        "check the user name and the server's pg_hba.conf",
    ),
    (asyncpg.InvalidCatalogNameError, "database", "`psql -l` lists the databases"),
    (
        asyncpg.TooManyConnectionsError,
        "too_many",
        "every connection slot is taken: close idle clients, or connect as a superuser, "
        "for whom superuser_reserved_connections are kept",
    ),
    (
        asyncpg.CannotConnectNowError,
        "starting",
        "the server is starting, stopping or recovering: try again in a moment",
    ),
    (asyncpg.ClientConfigurationError, "dsn", "check the connection string"),
    (asyncpg.PostgresError, "other", "see the server's log"),
    (asyncpg.InterfaceError, "other", "is it a PostgreSQL server that listens there?"),
    (asyncpg.InternalClientError, "other", "is it a PostgreSQL server that listens there?"),
)


@contextlib.contextmanager
def connect_errors(target: Target, address: Address, seconds: float) -> Iterator[None]:
    """Raises ConnectError for whatever keeps the block from connecting."""
    try:
        yield
    except FilbanError:
        raise
    except (
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError,
    ) as error:  # fmt: skip
        where = f'database "{target.database}" on {address} as user "{target.user}"'
        reason, what, hint = (
            _unreachable(error, target, seconds)
            if isinstance(error, OSError)
            else _refused(error, target, address)
        )
        raise ConnectError(
            f"cannot connect to {where}: {what}", reason=reason, hint=hint
        ) from error


def _refused(error: Exception, target: Target, address: Address) -> tuple[ConnectReason, str, str]:
    """The server, or asyncpg, has said no: (reason, what, hint)."""
    if isinstance(error, asyncpg.InvalidPasswordError):
        given = target.password_for(address) is not None
        return "authentication", _said(error), (
            "the password given is wrong"
            if given
            else "no password was given: use PGPASSWORD, a line in ~/.pgpass, or a service file"
        )  # fmt: skip
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return (
            "role",
            f"the server is not {target.role}",
            "change target_session_attrs, or name another host",
        )
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        hint = f'grant connect on database "{target.database}" to "{target.user}"'
        return "authentication", _said(error), hint
    reason, hint = next((r, h) for kind, r, h in _REFUSALS if isinstance(error, kind))
    return reason, _said(error), hint


def _unreachable(error: OSError, target: Target, seconds: float) -> tuple[ConnectReason, str, str]:
    """The network, TLS or the system is in the way: (reason, what, hint)."""
    if isinstance(error, TimeoutError):
        return (
            "unreachable",
            f"no answer within {seconds:g} s",
            "a firewall, a wrong address or a server that hangs; connect_timeout= sets the wait",
        )
    if isinstance(error, ssl.SSLError):
        what = f"TLS failed: {error.reason or error}"
        return "tls", what, "check sslmode, sslrootcert and the server's certificate"
    if isinstance(error, FileNotFoundError):  # a Unix socket
        return (
            "unreachable",
            "nobody listens there (no such socket)",
            "is the server running, with this socket directory and port? -h and -p of psql, "
            "PGHOST and PGPORT name others",
        )
    if not isinstance(error, ConnectionError):
        return "unreachable", _reason(error), "check the host name and the network"
    if "SSL" not in str(error):
        return (
            "unreachable",
            f"nobody listens there ({_reason(error)})",
            "is the server running, and is this its host and port?",
        )
    if target.tls.get("sslmode", "prefer") in ("allow", "prefer"):
        what = "what answers there is not a PostgreSQL server"
        return "other", what, "check the host and the port"
    return "tls", str(error), "the server offers no TLS: set ssl = on there, or sslmode=prefer here"


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
