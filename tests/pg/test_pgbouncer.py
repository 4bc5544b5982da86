"""Behind PgBouncer in transaction mode, with fewer server sessions than clients."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from filban.pool import create_pool, pgbouncer
from filban.pool.routing import connect
from pooler import bouncer
from routed import PATIENT

FEW_SESSIONS = ("default_pool_size=2", "ignore_startup_parameters=extra_float_digits")


@pytest.fixture
async def bounced(db):
    """`db` through PgBouncer."""
    async with bouncer(db.cluster.port, *FEW_SESSIONS) as port:
        yield f"postgresql://postgres@127.0.0.1:{port}/{db.name}"


async def test_a_pooler_is_noticed_and_a_server_is_not_taken_for_one(db, bounced):
    for dsn, expected in [(db.dsn, False), (bounced, True)]:
        opened = await asyncpg.connect(dsn, server_settings={"application_name": "mine"})
        assert await pgbouncer.is_pooled(opened) is expected
        assert opened.get_settings().application_name == "mine"
        await opened.close()


async def many(pool) -> None:
    """More clients than server sessions, each with statements that asyncpg would prepare."""

    async def client(number: int) -> None:
        for step in range(10):
            assert await pool.fetchval("SELECT $1::int + $2::int", number, step) == number + step
            async with pool.acquire() as leased, leased.transaction():
                assert await leased.fetchval("SELECT $1::text", f"{number}") == f"{number}"

    await asyncio.gather(*(client(number) for number in range(8)))


async def test_prepared_statements_break_without_us_and_not_with_us(bounced):
    """The first half holds the test to its word: asyncpg itself must fail here."""
    async with asyncpg.create_pool(bounced, min_size=8, max_size=8) as pool:
        with pytest.raises(
            (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
        ):
            await many(pool)
        pool.terminate()
    options = {"connect": pgbouncer.connect, "reset": "never"}
    async with create_pool(bounced, min_size=8, max_size=8, **options) as pool:
        await many(pool)


async def test_a_router_behind_pgbouncer_reads_its_writes(bounced):
    async with connect(bounced, policy=PATIENT, max_size=8, reset="never") as router:
        await router.execute("CREATE TABLE t(i int)")

        async def pair(number: int) -> None:
            with router.session():
                async with router.transaction() as transaction:
                    await transaction.execute("INSERT INTO t VALUES ($1)", number)
                token = await router.token()
                assert token is not None
                assert token.timeline == 1
                assert await router.fetchval("SELECT count(*) FROM t WHERE i = $1", number) == 1

        await asyncio.gather(*(pair(number) for number in range(40)))


async def test_who_asks_for_a_statement_cache_gets_it(bounced):
    opened = await pgbouncer.connect(bounced, statement_cache_size=7)
    assert opened._config.statement_cache_size == 7
    await opened.close()
    opened = await pgbouncer.connect(bounced)
    assert opened._config.statement_cache_size == 0
    await opened.close()
