"""`Session`: one connection, the server's facts, and queries that return rows of our own types."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import asyncpg

from filban.errors import NotSupported, RightsMissing, ServerError
from filban.pg import connect as _connect
from filban.pg import dsn as _dsn
from filban.pg.driver_errors import statement_errors
from filban.pg.loader import NEWEST_MAJOR, OLDEST_MAJOR, Query, place_schemas
from filban.pg.server import Extension, Server, Setting

Row = TypeVar("Row")
_PACKAGE = "filban.pg"


class Session:
    """Reads one server. Made by `session()`; `server` was probed when it was opened."""

    def __init__(self, connection: asyncpg.Connection, target: _dsn.Target, server: Server) -> None:
        self.connection = connection
        self.target = target
        self.server = server

    async def rows(self, query: Query, row: type[Row], *args: object) -> list[Row]:
        """Run a query of ours; each record becomes a `row`, whose fields are the columns.

        Raises RightsMissing, NotSupported, StatementFailed, ConnectionLost.
        """
        records = await self._fetch(query, *args)
        return [row(**_plain(record)) for record in records]

    async def row(self, query: Query, row: type[Row], *args: object) -> Row:
        """The same for a query that returns exactly one record."""
        return (await self.rows(query, row, *args))[0]

    async def _fetch(self, query: Query, *args: object) -> list[asyncpg.Record]:
        text = query.text(self.server.major)
        schemas = {name: self._schema(name) for name in query.extensions(self.server.major)}
        return await fetch(self.connection, place_schemas(text, schemas), query.name, *args)

    def _schema(self, extension: str) -> str:
        found = self.server.installed(extension)
        if found is None or found.schema_quoted is None:
            raise NotSupported(
                f"the extension {extension} is not installed in database {self.server.database}",
                hint=f"CREATE EXTENSION {extension};",
            )
        return found.schema_quoted


async def fetch(
    connection: asyncpg.Connection, text: str, name: str, *args: object
) -> list[asyncpg.Record]:
    """Run `text`; errors name the query. Behind a pooler the limits travel with the transaction."""
    with statement_errors(f"reading {name.replace('_', ' ')}"):
        if not _connect.is_pooled(connection):
            return list(await connection.fetch(text, *args))
        async with connection.transaction(readonly=True):
            limits = _connect.Limits()
            await connection.execute(
                f"SET LOCAL statement_timeout = {limits.statement_timeout_ms};"
                f"SET LOCAL lock_timeout = {limits.lock_timeout_ms};"
                "SET LOCAL search_path = pg_catalog"
            )
            return list(await connection.fetch(text, *args))


@contextlib.asynccontextmanager
async def session(
    target: str | _dsn.Target | None = None,
    limits: _connect.Limits | None = None,
    *,
    timeout: float | None = None,
) -> AsyncIterator[Session]:
    """Connect, probe, and close at the end.

    Raises ConnectError, NotSupported (a server older than 14).
    """
    resolved = target if isinstance(target, _dsn.Target) else _dsn.parse(target)
    async with _connect.connection(resolved, limits, timeout=timeout) as connection:
        yield Session(connection, resolved, await probe(connection))


async def probe(connection: asyncpg.Connection) -> Server:
    """What this server is and what this role may see. Four small reads."""
    version = connection.get_server_version()
    if version.major <= 1:  # PgBouncer gives its own version there
        raise NotSupported(
            "this is PgBouncer's own console, not a database of the server behind it",
            hint="name that database instead of pgbouncer",
        )
    if version.major < OLDEST_MAJOR:
        raise NotSupported(
            f"this is PostgreSQL {version.major}, which has reached its end of life",
            hint=f"filban works with {OLDEST_MAJOR} to {NEWEST_MAJOR}: upgrade the server",
        )

    async def read(name: str) -> list[asyncpg.Record]:
        return await fetch(connection, Query(_PACKAGE, name).text(version.major), name)

    facts: dict[str, Any] = dict((await read("server"))[0])
    facts["known_roles"] = tuple(facts["known_roles"] or ())
    return Server(
        **(facts | await _identity(read)),
        extensions={r["name"]: Extension(**r) for r in await read("extensions")},
        settings={r["name"]: _setting(r) for r in await read("settings")},
        pooled=_connect.is_pooled(connection),
    )


async def _identity(read: Any) -> dict[str, int | None]:
    try:
        return dict((await read("system_identifier"))[0])
    except (RightsMissing, NotSupported):  # managed services take these functions away
        return {"system_identifier": None, "timeline": None}


def _setting(record: asyncpg.Record) -> Setting:
    values = dict(record)
    return Setting(value=values.pop("setting"), **values)


def _plain(record: asyncpg.Record) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}


def columns(row: type) -> set[str]:
    """The columns that a row class expects, for the contract test."""
    return {f.name for f in dataclasses.fields(row)}


__all__ = ["ServerError", "Session", "columns", "fetch", "probe", "session"]
