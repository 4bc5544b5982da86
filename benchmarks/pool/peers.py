"""The pools that are compared, behind one face, and a link with a round trip time.

Each opens with the same number of connections and does one thing: fetch a row by primary key.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psycopg_pool
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from filban import create_pool

QUERY = "SELECT * FROM item WHERE id = $1"
ROWS = 10_000
SCHEMA = f"""
CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, price numeric NOT NULL);
INSERT INTO item SELECT i, 'item ' || i, i * 1.5 FROM generate_series(1, {ROWS}) i;
VACUUM ANALYZE item;
"""

Operation = Callable[[int], Awaitable[Any]]
Opened = contextlib.AbstractAsyncContextManager[Operation]


async def prepare(dsn: str) -> None:
    """The table that is read."""
    connection = await asyncpg.connect(dsn)
    for statement in SCHEMA.strip().split(";\n"):
        await connection.execute(statement)
    await connection.close()


@contextlib.asynccontextmanager
async def filban_pool(dsn: str, size: int, **kwargs: Any) -> AsyncIterator[Operation]:
    async with create_pool(dsn, min_size=size, max_size=size, acquire_timeout=None, **kwargs) as p:

        async def operation(key: int) -> Any:
            async with p.acquire() as connection:
                return await connection.fetchrow(QUERY, key)

        yield operation


@contextlib.asynccontextmanager
async def filban_fetchrow(dsn: str, size: int) -> AsyncIterator[Operation]:
    async with create_pool(dsn, min_size=size, max_size=size, acquire_timeout=None) as pool:
        yield lambda key: pool.fetchrow(QUERY, key)


@contextlib.asynccontextmanager
async def filban_watching(dsn: str, size: int) -> AsyncIterator[Operation]:
    async with filban_pool(dsn, size, leak_threshold=30.0) as operation:
        yield operation


@contextlib.asynccontextmanager
async def asyncpg_pool(dsn: str, size: int) -> AsyncIterator[Operation]:
    async with asyncpg.create_pool(dsn, min_size=size, max_size=size) as pool:

        async def operation(key: int) -> Any:
            async with pool.acquire() as connection:
                return await connection.fetchrow(QUERY, key)

        yield operation


@contextlib.asynccontextmanager
async def psycopg(dsn: str, size: int) -> AsyncIterator[Operation]:
    query = QUERY.replace("$1", "%s")
    async with psycopg_pool.AsyncConnectionPool(
        dsn, min_size=size, max_size=size, kwargs={"autocommit": True}, open=False, timeout=600
    ) as pool:
        await pool.wait()

        async def operation(key: int) -> Any:
            async with pool.connection() as connection:
                return await (await connection.execute(query, (key,))).fetchone()

        yield operation


@contextlib.asynccontextmanager
async def sqlalchemy(dsn: str, size: int) -> AsyncIterator[Operation]:
    engine = create_async_engine(
        "postgresql+asyncpg" + dsn[dsn.index("://") :],
        pool_size=size, max_overflow=0, pool_timeout=600,
    )  # fmt: skip
    query = text(QUERY.replace("$1", ":key"))

    async def operation(key: int) -> Any:
        async with engine.connect() as connection:
            return (await connection.execute(query, {"key": key})).first()

    try:
        yield operation
    finally:
        await engine.dispose()


@contextlib.asynccontextmanager
async def held(dsn: str, size: int) -> AsyncIterator[Operation]:
    """No pool at all: each connection is used by one task only; `key` tells which."""
    connections = [await asyncpg.connect(dsn) for _ in range(size)]
    try:
        yield lambda key: connections[key % size].fetchrow(QUERY, key)
    finally:
        for connection in connections:
            await connection.close()


@contextlib.asynccontextmanager
async def bare_handoff(dsn: str, size: int) -> AsyncIterator[Operation]:
    """The least that a pool can do: whoever comes first gets the next free connection."""
    loop = asyncio.get_running_loop()
    idle = deque([await asyncpg.connect(dsn) for _ in range(size)])
    connections = tuple(idle)
    waiters: deque[asyncio.Future[asyncpg.Connection]] = deque()

    async def operation(key: int) -> Any:
        if idle:
            connection = idle.pop()
        else:
            waiters.append(future := loop.create_future())
            connection = await future
        try:
            return await connection.fetchrow(QUERY, key)
        finally:
            if waiters:
                waiters.popleft().set_result(connection)
            else:
                idle.append(connection)

    yield operation
    for connection in connections:
        await connection.close()


POOLS: dict[str, Callable[[str, int], Opened]] = {
    "filban": filban_pool,
    "filban.fetchrow": filban_fetchrow,
    "filban+leaks": filban_watching,
    "asyncpg": asyncpg_pool,
    "psycopg_pool": psycopg,
    "sqlalchemy": sqlalchemy,
}


@contextlib.asynccontextmanager
async def slow_link(dsn: str, round_trip: float) -> AsyncIterator[str]:
    """The DSN of a proxy in front of `dsn` that delays each direction by half of `round_trip` s."""
    parts = urlsplit(dsn)
    loop = asyncio.get_running_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            loop.call_later(round_trip / 2, writer.write, data)
        loop.call_later(round_trip / 2, writer.close)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to, back = await asyncio.open_connection(parts.hostname, parts.port)
        with contextlib.suppress(OSError):
            await asyncio.gather(pump(reader, back), pump(to, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield dsn.replace(f":{parts.port}", f":{port}", 1)
    finally:
        server.close()
