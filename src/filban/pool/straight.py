"""A statement that asyncpg has in its cache, straight to its protocol.

asyncpg's `fetchrow` of a cached statement passes five coroutines, a lambda and a context manager, a
fifth of what the client spends on it. Here it is one coroutine that does the same; whatever is not
that plain case (not cached, a timeout, a query logger, another operation in progress) goes through
asyncpg's own method, and so does everything on a connection whose methods are not asyncpg's own: a
subclass, or instrumentation that has wrapped them.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

from asyncpg import connection as _asyncpg_connection
from asyncpg.exceptions import (
    ConnectionDoesNotExistError,
    InternalClientError,
    InvalidCachedStatementError,
    OutdatedSchemaCacheError,
)

_PASSED_BY = (
    "fetch", "fetchrow", "fetchval", "_execute", "_Connection__execute", "_do_execute",
    "_get_statement",
)  # fmt: skip
# How asyncpg's protocol says that the server's last words (a FATAL) came while nobody listened.
_CONFUSED = "cannot switch to state"
_FILE = _asyncpg_connection.__file__


def is_plain(connection_class: type[Any]) -> bool:
    """Whether the methods that are passed by are asyncpg's own."""
    return all(
        inspect.isfunction(method := getattr(connection_class, name))
        and method.__code__.co_filename == _FILE
        for name in _PASSED_BY
    )


def _cached(con: Any, query: str) -> Any:
    """The prepared statement, None where asyncpg has to see to it."""
    protocol = con._protocol
    if protocol is None or con._query_loggers or con._stmt_exclusive_section._acquired:
        return None
    key = (query, protocol.get_record_class(), False)
    entries = con._stmt_cache._entries
    entry = entries.get(key)
    if entry is None or entry._statement.closed:
        return None
    entries.move_to_end(key)
    return entry._statement


async def told(con: Any, call: Awaitable[Any]) -> Any:
    """Await a call of asyncpg's, whose confusion over a lost connection is said as what it is."""
    try:
        return await call
    except InternalClientError as error:
        raise _what_it_is(con, error) from error


def _what_it_is(con: Any, error: InternalClientError) -> Exception:
    if not str(error).startswith(_CONFUSED):
        return error
    con.terminate()
    return ConnectionDoesNotExistError("connection was closed by the server while it was idle")


async def _may_repeat(con: Any, error: Exception) -> bool:
    """What asyncpg does about a cache that is out of date; whether nothing has been executed."""
    if isinstance(error, OutdatedSchemaCacheError):
        await con.reload_schema_state()
        return False
    con._drop_global_statement_cache()
    return not con.is_in_transaction()


async def fetchrow(con: Any, query: str, args: tuple[Any, ...]) -> Any:
    """As Connection.fetchrow."""
    statement = _cached(con, query)
    if statement is None:
        return await told(con, con.fetchrow(query, *args))
    try:
        rows = await con._protocol.bind_execute(statement, args, "", 1, False, None)
    except InternalClientError as error:
        raise _what_it_is(con, error) from error
    except (OutdatedSchemaCacheError, InvalidCachedStatementError) as error:
        if not await _may_repeat(con, error):
            raise
        return await con.fetchrow(query, *args)
    return rows[0] if rows else None


async def fetchval(con: Any, query: str, args: tuple[Any, ...]) -> Any:
    """As Connection.fetchval of the first column."""
    row = await fetchrow(con, query, args)
    return None if row is None else row[0]


async def fetch(con: Any, query: str, args: tuple[Any, ...]) -> Any:
    """As Connection.fetch."""
    statement = _cached(con, query)
    if statement is None:
        return await told(con, con.fetch(query, *args))
    try:
        return await con._protocol.bind_execute(statement, args, "", 0, False, None)
    except InternalClientError as error:
        raise _what_it_is(con, error) from error
    except (OutdatedSchemaCacheError, InvalidCachedStatementError) as error:
        if not await _may_repeat(con, error):
            raise
        return await con.fetch(query, *args)
