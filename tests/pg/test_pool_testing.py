"""The fixture for a service's own tests: what it shows, and that nothing is left."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from filban.pool.testing import filban_pool, rolled_back

__all__ = ["filban_pool"]


@pytest.fixture
async def filban_dsn(db):
    await db.execute("CREATE TABLE t(i int PRIMARY KEY)")
    return db.dsn


async def test_nothing_is_left(filban_dsn, db):
    async with rolled_back(filban_dsn) as pool:
        await pool.execute("INSERT INTO t VALUES (1)")
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("INSERT INTO t VALUES (2)")
        assert await pool.fetchval("SELECT count(*) FROM t") == 2
        assert await db.fetchval("SELECT count(*) FROM t") == 0
    assert await db.fetchval("SELECT count(*) FROM t") == 0


async def test_an_error_costs_its_own_statement_only(filban_pool):
    await filban_pool.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await filban_pool.execute("INSERT INTO t VALUES ($1)", 1)
    with pytest.raises(asyncpg.UniqueViolationError):
        await filban_pool.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await filban_pool.executemany("INSERT INTO t VALUES ($1)", [(5,), (1,)])
    assert await filban_pool.fetchval("SELECT array_agg(i) FROM t") == [1]


async def test_a_transaction_of_the_code_ends_as_elsewhere(filban_pool):
    async with filban_pool.acquire() as connection:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await failing(connection)
        assert await connection.fetchval("SELECT count(*) FROM t") == 0
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(asyncpg.DivisionByZeroError):
                await failing(connection, 2)
    assert await filban_pool.fetchval("SELECT array_agg(i) FROM t") == [1]


async def failing(connection, number: int = 1) -> None:
    async with connection.transaction():
        await connection.execute("INSERT INTO t VALUES ($1)", number)
        await connection.execute("SELECT 1/0")


async def test_an_error_in_a_transaction_aborts_it_as_elsewhere(filban_pool):
    async with filban_pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.execute("SELECT 1/0")
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await connection.execute("SELECT 1")
        await transaction.rollback()


async def test_a_transaction_that_was_left_open_is_rolled_back_with_its_lease(filban_pool):
    async with filban_pool.acquire() as connection:
        await connection.transaction().start()
        await connection.execute("INSERT INTO t VALUES (1)")
    assert await filban_pool.fetchval("SELECT count(*) FROM t") == 0


async def test_tasks_take_turns(filban_pool):
    await asyncio.gather(
        *(filban_pool.execute("INSERT INTO t VALUES ($1)", number) for number in range(10))
    )
    assert await filban_pool.fetchval("SELECT count(*) FROM t") == 10
