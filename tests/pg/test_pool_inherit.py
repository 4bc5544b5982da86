"""The next borrower finds a fresh session: the ten kinds of state, by every way into the pool."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import asyncpg
import pytest
from clean_world import TEN_KINDS, build, probe, seeded_values

from conftest import Database
from filban import create_pool
from filban.pool import Pool


@pytest.fixture
async def world(db: Database) -> Database:
    async with db.connection() as builder:
        await build(builder, [])
    return db


async def fresh_state(db: Database) -> tuple[dict[str, Any], set[float]]:
    async with db.connection() as one:
        seeded = await seeded_values(one)
    async with db.connection() as other:
        await other.execute("DO $$ BEGIN END $$")
        return await probe(other, seeded), seeded


async def leave(pool: Pool, sql: str, way: str) -> None:
    """Run a statement and give the connection back."""
    if way == "pool":
        await pool.execute(sql)
    elif way == "lease":
        async with pool.acquire() as lease:
            await lease.execute(sql)
    elif way == "error after it":
        async with pool.acquire() as lease:
            await lease.execute(sql)
            with pytest.raises(asyncpg.DivisionByZeroError):
                await lease.fetchval("SELECT 1/0")
    elif way == "cancelled after it":
        done = asyncio.Event()

        async def work() -> None:
            async with pool.acquire() as lease:
                await lease.execute(sql)
                done.set()
                await asyncio.sleep(600)

        task = asyncio.create_task(work())
        await done.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        lease = await pool.acquire()
        await lease.execute(sql)
        del lease  # found by the garbage collector


WAYS = ["pool", "lease", "error after it", "cancelled after it", "dropped"]


async def test_none_of_the_ten_kinds_is_inherited(world):
    fresh, seeded = await fresh_state(world)
    assert len(TEN_KINDS) == 10
    async with create_pool(world.dsn, min_size=1, max_size=1) as pool:
        for way in WAYS:
            for kind, sql in TEN_KINDS.items():
                await leave(pool, sql, way)
                async with pool.acquire() as lease:
                    assert await probe(lease, seeded) == fresh, (kind, way)
        assert pool.stats().connects == 1


async def test_random_leases_between_clean_ones(world):
    """Many tasks on few connections: whoever comes next, on whichever connection."""
    fresh, seeded = await fresh_state(world)
    generator = random.Random(7)
    kinds = [sql for kind, sql in TEN_KINDS.items() if kind != "advisory lock"]
    async with create_pool(world.dsn, min_size=3, max_size=3) as pool:

        async def work(sql: str | None, way: str) -> None:
            if sql is not None:
                await leave(pool, sql, way)
            async with pool.acquire() as lease:
                found = await probe(lease, seeded)
            assert found == fresh, (sql, way)

        choices = [None, *kinds]
        await asyncio.gather(
            *(work(generator.choice(choices), generator.choice(WAYS)) for _ in range(150))
        )
        assert pool.stats().resets_skipped > 0


async def test_listeners_are_gone_with_the_lease(world):
    heard: list[Any] = []
    async with create_pool(world.dsn, min_size=1, max_size=1) as pool:
        async with pool.acquire() as lease:
            await lease.add_listener("news", lambda *args: heard.append(args))
            lease_pid = lease.get_server_pid()
            with pytest.warns(asyncpg.InterfaceWarning, match="listener"):
                await pool.release(lease)
        async with pool.acquire() as lease:
            assert lease.get_server_pid() == lease_pid
            await lease.execute("NOTIFY news, 'x'")
            assert await lease.fetchval("SELECT count(*) FROM pg_listening_channels()") == 0
    assert heard == []


async def test_a_function_that_begins_to_change_sessions_is_noticed(world):
    """DDL through the pool itself counts at once."""
    async with create_pool(world.dsn, min_size=1, max_size=1) as pool:
        await pool.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        for _ in range(3):
            assert await pool.fetchval("SELECT f()") == 1
        await pool.execute(
            "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS "
            "$$ SELECT length(set_config('work_mem', '77MB', false)) $$"
        )
        assert await pool.fetchval("SELECT f()") == 4
        assert await pool.fetchval("SHOW work_mem") != "77MB"
