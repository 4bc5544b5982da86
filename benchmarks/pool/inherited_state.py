"""What the next borrower finds of the one before: ten kinds of session state, four pools.

Each pool has one connection. A borrower changes the session and gives it back; the next one looks.
psycopg_pool is in autocommit and SQLAlchemy commits, as services that set something do; an
exception that a pool raises while it takes the session back counts as not inherited. Needs
`pip install 'filban[bench]'` and PostgreSQL programs; starts its own server.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import psycopg_pool
from sqlalchemy.ext.asyncio import create_async_engine

from filban import create_pool
from filban.cluster import throwaway

sys.path.insert(0, str(Path(__file__).parent.parent))
from result import finish

# What a borrower does, and what says whether the next one finds it.
KINDS = {
    "setting": ("SET work_mem = '77MB'", "SELECT current_setting('work_mem') = '77MB'"),
    "search_path": ("SET search_path = other", "SELECT current_setting('search_path') = 'other'"),
    "role": ("SET ROLE other", "SELECT current_user = 'other'"),
    "session authorization": (
        "SET SESSION AUTHORIZATION other", "SELECT session_user = 'other'",
    ),
    "temporary table": (
        "CREATE TEMP TABLE left_behind (i int)", "SELECT to_regclass('pg_temp.left_behind') > 0",
    ),
    "prepared statement": (
        "PREPARE left_behind AS SELECT 1",
        "SELECT count(*) > 0 FROM pg_prepared_statements WHERE name = 'left_behind'",
    ),
    "cursor": (
        "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*) > 0 FROM pg_cursors WHERE name = 'left_behind'",
    ),
    "advisory lock": (
        "SELECT pg_advisory_lock(77)",
        "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND granted",
    ),
    "listen": ("LISTEN left_behind", "SELECT count(*) > 0 FROM pg_listening_channels()"),
    "open transaction": (
        "BEGIN; LOCK TABLE other.locked",
        "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'other.locked'::regclass",
    ),
}  # fmt: skip

Execute = Callable[[str], Awaitable[Any]]
Borrow = Callable[[], contextlib.AbstractAsyncContextManager[Execute]]


async def _asyncpg_like(pool: Any) -> AsyncIterator[Borrow]:
    @contextlib.asynccontextmanager
    async def borrow() -> AsyncIterator[Execute]:
        async with pool.acquire() as connection:

            async def execute(sql: str) -> Any:
                # A statement of its own: a prepared one would be asyncpg's, not the borrower's.
                if sql.startswith("SELECT"):
                    return await connection.fetchval(sql)
                return await connection.execute(sql)

            yield execute

    async with pool:
        yield borrow


@contextlib.asynccontextmanager
async def filban(dsn: str) -> AsyncIterator[Borrow]:
    async for borrow in _asyncpg_like(create_pool(dsn, min_size=1, max_size=1)):
        yield borrow


@contextlib.asynccontextmanager
async def plain_asyncpg(dsn: str) -> AsyncIterator[Borrow]:
    async for borrow in _asyncpg_like(asyncpg.create_pool(dsn, min_size=1, max_size=1)):
        yield borrow


@contextlib.asynccontextmanager
async def psycopg(dsn: str) -> AsyncIterator[Borrow]:
    async with psycopg_pool.AsyncConnectionPool(
        dsn, min_size=1, max_size=1, kwargs={"autocommit": True}, open=False
    ) as pool:

        @contextlib.asynccontextmanager
        async def borrow() -> AsyncIterator[Execute]:
            async with pool.connection() as connection:

                async def execute(sql: str) -> Any:
                    cursor = await connection.execute(sql)
                    row = await cursor.fetchone() if cursor.description else None
                    return row[0] if row else None

                yield execute

        yield borrow


@contextlib.asynccontextmanager
async def sqlalchemy(dsn: str) -> AsyncIterator[Borrow]:
    engine = create_async_engine(
        "postgresql+asyncpg" + dsn[dsn.index("://") :], pool_size=1, max_overflow=0
    )

    @contextlib.asynccontextmanager
    async def borrow() -> AsyncIterator[Execute]:
        async with engine.connect() as connection:

            async def execute(sql: str) -> Any:
                result = await connection.exec_driver_sql(sql)
                value = result.scalar() if result.returns_rows else None
                await connection.commit()
                return value

            yield execute

    try:
        yield borrow
    finally:
        await engine.dispose()


POOLS = {
    "filban": filban,
    "asyncpg": plain_asyncpg,
    "psycopg_pool": psycopg,
    "sqlalchemy": sqlalchemy,
}


async def inherited(opened: Callable[[str], Any], dsn: str, kind: str) -> bool:
    """Whether the second borrower finds what the first has left."""
    change, look = KINDS[kind]
    async with opened(dsn) as borrow:
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
            async with borrow() as execute:
                for statement in change.split("; "):
                    await execute(statement)
        async with borrow() as execute:
            return bool(await execute(look))


async def main() -> None:
    found: dict[str, list[str]] = {name: [] for name in POOLS}
    async with throwaway() as cluster:
        dsn = cluster.dsn("postgres")
        admin = await asyncpg.connect(dsn)
        await admin.execute(
            "CREATE ROLE other; CREATE SCHEMA other AUTHORIZATION other;"
            "CREATE TABLE other.locked ()"
        )
        await admin.close()
        print(f"{'':<22} " + " ".join(f"{name:>13}" for name in POOLS))
        for kind in KINDS:
            row = {name: await inherited(opened, dsn, kind) for name, opened in POOLS.items()}
            for name, was in row.items():
                found[name] += [kind] if was else []
            print(
                f"{kind:<22} " + " ".join(f"{'inherited' if w else '-':>13}" for w in row.values())
            )
    counts = {name: len(kinds) for name, kinds in found.items()}
    print(f"{'of ten kinds':<22} " + " ".join(f"{count:>13}" for count in counts.values()))
    finish("pool_inherited_state", {"inherited": counts.pop("filban")}, counts, kinds=len(KINDS))


if __name__ == "__main__":
    asyncio.run(main())
