"""What an error says about the server behind it, and whether a statement may be sent again."""

from __future__ import annotations

import asyncpg

# What asyncpg and the system raise when a statement or a connection fails.
DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
# 25006 read_only_sql_transaction; 57P01-57P03 admin_shutdown, crash_shutdown, cannot_connect_now.
ROLE_CHANGED = frozenset({"25006", "57P01", "57P02", "57P03"})
_SHUTDOWN = frozenset({"57P01", "57P02", "57P03"})
# A standby cancels what stands in the way of replay with the first or the second of these.
RECOVERY_CONFLICT = frozenset({"40001", "40P01"})


def sqlstate(error: BaseException) -> str:
    """ "" for what is no answer of a server."""
    return (getattr(error, "sqlstate", None) or "") if _is_postgres(error) else ""


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone with it, so that nobody knows how the statement ended."""
    if _is_postgres(error):
        state = sqlstate(error)
        return state in _SHUTDOWN or state.startswith("08")
    if isinstance(error, asyncpg.InternalClientError):
        # asyncpg 0.32: "another operation is in progress" after a FATAL that came while it was idle
        return True
    if isinstance(error, asyncpg.InterfaceError):
        # asyncpg has no class of its own for "the underlying connection is closed"
        return "closed" in str(error) or "connection was lost" in str(error)
    return isinstance(error, OSError) and not isinstance(error, TimeoutError)


def is_suspicious(error: BaseException) -> bool:
    """Whether the server's role may have changed: look again, trust none of its connections."""
    return is_lost(error) or sqlstate(error) in ROLE_CHANGED


def refused_write(error: BaseException) -> bool:
    """The statement has done nothing: it was refused by a server that does not write."""
    return sqlstate(error) == "25006"


def may_read_elsewhere(error: BaseException, *, on_standby: bool) -> bool:
    """Whether an idempotent read that failed so is worth one try on another server."""
    return is_suspicious(error) or (on_standby and sqlstate(error) in RECOVERY_CONFLICT)


def _is_postgres(error: BaseException) -> bool:
    return isinstance(error, asyncpg.PostgresError)
