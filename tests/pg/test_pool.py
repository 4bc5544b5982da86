"""The pool: who gets a connection and when, what is refused and why, what a released lease is."""

from __future__ import annotations

import asyncio
import gc
import inspect
from typing import Any

import asyncpg
import pytest

from conftest import Database
from filban import create_pool
from filban.errors import PoolExhausted
from filban.pool import Pool


def pool_of(db: Database, **kwargs: Any) -> Pool:
    return create_pool(db.dsn, **{"min_size": 1, "max_size": 1, **kwargs})


async def until(condition: Any) -> None:
    """Wait for something that is bound to happen."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def in_line(pool: Pool, waiting: int) -> None:
    await until(lambda: pool.stats().waiting == waiting)


# -- first come, first served ----------------------------------------------------------------------


async def test_connections_go_to_who_has_waited_longest(db):
    async with pool_of(db, max_size=2) as pool:
        served: list[int] = []

        async def wait(i: int) -> None:
            async with pool.acquire():
                served.append(i)
                await asyncio.sleep(0)

        one, two = await pool.acquire(), await pool.acquire()
        tasks = []
        for i in range(20):
            tasks.append(asyncio.create_task(wait(i)))
            await in_line(pool, i + 1)
        await pool.release(two)
        await pool.release(one)
        await asyncio.gather(*tasks)
        assert served == list(range(20))


async def test_a_newcomer_does_not_overtake_the_one_that_a_connection_was_handed_to(db):
    async with pool_of(db) as pool:
        served: list[str] = []

        async def wait(who: str) -> None:
            async with pool.acquire():
                served.append(who)

        lease = await pool.acquire()
        waiter = asyncio.create_task(wait("waiter"))
        await in_line(pool, 1)
        await pool.release(lease)  # handed over; the waiter has not run yet
        newcomer = asyncio.create_task(wait("newcomer"))
        async with pool.acquire():
            served.append("releaser")
        await asyncio.gather(waiter, newcomer)
        assert served[0] == "waiter"


async def test_a_waiter_cancelled_when_it_was_just_served_passes_the_connection_on(db):
    async with pool_of(db) as pool:
        lease = await pool.acquire()
        cancelled, next_one = (asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(2))
        await in_line(pool, 2)
        await pool.release(lease)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert await next_one == 1
        assert (pool.stats().idle, pool.stats().connects) == (1, 1)


# -- limits ----------------------------------------------------------------------------------------


async def test_acquire_gives_up_after_the_pools_own_timeout_and_says_who_is_in_the_way(db):
    async with pool_of(db, acquire_timeout=0.05, name="orders", leak_threshold=60) as pool:

        async def hog() -> None:
            async with pool.acquire():
                await asyncio.Event().wait()

        task = asyncio.create_task(hog(), name="the hog")
        await until(lambda: pool.stats().in_use == 1)
        with pytest.raises(PoolExhausted) as caught:
            await pool.fetchval("SELECT 1")
        assert isinstance(caught.value, TimeoutError)
        message = str(caught.value)
        line = inspect.getsourcelines(hog)[1] + 1
        for part in (
            "pool orders", "within 0.05 s", "size 1 of 1", "1 in use", "the hog",
            f"{__file__}:{line}",
        ):  # fmt: skip
            assert part in message
        assert "max_size" in caught.value.hint
        stats = pool.stats()
        assert (stats.timeouts, stats.waiting) == (1, 0)
        task.cancel()


async def test_a_timeout_of_acquire_goes_before_the_pools(db):
    async with pool_of(db, acquire_timeout=None) as pool, pool.acquire():
        with pytest.raises(PoolExhausted, match=r"0\.01 s"):
            await pool.acquire(timeout=0.01)


async def test_the_default_timeout_is_set():
    assert create_pool("postgresql://localhost/x").acquire_timeout == 30.0


async def test_no_more_than_max_waiters_wait(db):
    async with pool_of(db, max_waiters=2) as pool:
        lease = await pool.acquire()
        tasks = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(2)]
        await in_line(pool, 2)
        with pytest.raises(PoolExhausted, match=r"2 tasks wait already.*2 waiting"):
            await pool.acquire()
        tasks.pop().cancel()
        await in_line(pool, 1)
        tasks.append(asyncio.create_task(pool.fetchval("SELECT 1")))
        await in_line(pool, 2)
        await pool.release(lease)
        assert await asyncio.gather(*tasks) == [1, 1]
        assert pool.stats().refused == 1


async def test_a_connect_that_takes_too_long_is_an_exhausted_pool(db):
    hang = asyncio.Event()

    async def connect(*args: Any, **kwargs: Any) -> Any:
        await hang.wait()
        return await asyncpg.connect(*args, **kwargs)

    async with pool_of(db, min_size=0, connect=connect) as pool:
        with pytest.raises(PoolExhausted, match="could not be connected"):
            await pool.acquire(timeout=0.05)
        hang.set()
        assert await pool.fetchval("SELECT 1") == 1


async def test_timeouts_end_in_their_order_while_others_wait_on(db):
    async with pool_of(db) as pool:
        lease = await pool.acquire()
        patient = asyncio.create_task(pool.fetchval("SELECT 7"))
        ended: list[float] = []

        async def wait(timeout: float) -> None:
            with pytest.raises(PoolExhausted):
                await pool.acquire(timeout=timeout)
            ended.append(timeout)

        await asyncio.gather(*(wait(t) for t in (0.15, 0.05, 0.1)))
        assert ended == [0.05, 0.1, 0.15]
        await pool.release(lease)
        assert await patient == 7


# -- leases ----------------------------------------------------------------------------------------


async def test_a_released_lease_stays_dead(db):
    async with pool_of(db) as pool:
        async with pool.acquire() as lease:
            statement = await lease.prepare("SELECT 1")
        again = await pool.acquire()
        for use in (lease.fetchrow, lease.fetch, lease.fetchval, lease.execute, lease.prepare):
            with pytest.raises(asyncpg.InterfaceError, match="released back to the pool"):
                await use("SELECT 1")
        for use in (lease.transaction, lease.is_in_transaction, lease.get_server_pid):
            with pytest.raises(asyncpg.InterfaceError, match="released back to the pool"):
                use()
        with pytest.raises(asyncpg.InterfaceError, match="released"):
            await statement.fetchval()
        assert "[released]" in repr(lease)
        await pool.release(lease)  # no error, and not the new lease's connection
        assert await again.fetchval("SELECT 1") == 1
        await pool.release(again)


async def test_a_lease_may_be_released_by_another_task(db):
    async with pool_of(db) as pool:
        lease = await pool.acquire()
        await asyncio.create_task(pool.release(lease))
        assert pool.stats().idle == 1
        async with pool.acquire() as lease:
            await asyncio.create_task(pool.release(lease))
            other = await pool.acquire()
        # The end of the block has not touched the lease that came after.
        assert await other.fetchval("SELECT 1") == 1
        await pool.release(other)


async def test_a_lease_of_another_pool_is_refused(db):
    async with pool_of(db) as one, pool_of(db) as two:
        lease = await one.acquire()
        with pytest.raises(asyncpg.InterfaceError, match="not a member"):
            await two.release(lease)
        await one.release(lease)


async def test_a_cancelled_release_ends_the_lease_all_the_same(db):
    """The reset goes on by itself: what is left of the lease, collected meanwhile, is not released
    a second time under it."""
    resetting = asyncio.Event()

    async def reset(con: Any) -> None:
        resetting.set()
        await con.execute("SELECT pg_sleep(0.02); RESET ALL")

    async def work() -> None:
        async with pool.acquire() as lease:
            await lease.execute("SET work_mem = '77MB'")

    async with pool_of(db, reset=reset) as pool:
        for _ in range(5):
            resetting.clear()
            task = asyncio.create_task(work())
            await resetting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            del task
            gc.collect()
            assert await pool.fetchval("SHOW work_mem") != "77MB"
        assert (pool.stats().connects, pool.stats().dropped) == (1, 0)


async def test_the_same_statement_cache_rules_as_asyncpg(db):
    """A cached statement whose table has changed is prepared again outside of a transaction, and an
    error inside of one."""
    await db.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    async with pool_of(db) as pool:
        for fetch in (pool.fetchrow, pool.fetch):
            await fetch("SELECT * FROM t")
            await db.execute("ALTER TABLE t ADD COLUMN b int")
            assert await fetch("SELECT * FROM t")
            await db.execute("ALTER TABLE t DROP COLUMN b")
            async with pool.acquire() as lease, lease.transaction():
                with pytest.raises(asyncpg.InvalidCachedStatementError):
                    await lease.fetchrow("SELECT * FROM t")
            assert len(await pool.fetchrow("SELECT * FROM t")) == 1


async def test_all_ways_to_fetch_give_what_asyncpgs_connection_gives(db):
    await db.execute("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    query, none = "SELECT * FROM t WHERE a >= $1 ORDER BY a", 99
    async with pool_of(db, max_size=2) as pool, db.connection() as raw:
        for _ in range(2):  # prepared, then from the cache
            for via in (pool, await pool.acquire()):
                for argument in (1, none):
                    for name in ("fetch", "fetchrow", "fetchval", "execute"):
                        expected = await getattr(raw, name)(query, argument)
                        assert await getattr(via, name)(query, argument) == expected
                assert await via.fetchval(query, 1, column=1) == "x"
                if via is not pool:
                    await pool.release(via)
        with pytest.raises(TimeoutError):
            await pool.fetchrow("SELECT pg_sleep(10)", timeout=0.01)
        assert await pool.fetchval("SELECT 1") == 1


async def test_two_statements_at_once_on_a_lease_are_an_error_as_in_asyncpg(db):
    async with pool_of(db) as pool, pool.acquire() as lease:
        for _ in range(2):
            first = asyncio.create_task(lease.fetchval("SELECT 1 FROM pg_sleep(0.05)"))
            await asyncio.sleep(0)
            with pytest.raises(asyncpg.InterfaceError, match="another operation is in progress"):
                await lease.fetchval("SELECT 1")
            assert await first == 1


async def test_query_loggers_see_cached_statements(db):
    async with pool_of(db) as pool, pool.acquire() as lease:
        await lease.fetchval("SELECT 1")
        seen: list[str] = []
        with lease.query_logger(lambda record: seen.append(record.query)):
            await lease.fetchval("SELECT 1")
            await asyncio.sleep(0)
        assert seen == ["SELECT 1"]


async def test_a_database_with_an_odd_name(odd_db):
    async with pool_of(odd_db) as pool:
        assert await pool.fetchval("SELECT current_database()") == odd_db.name


async def test_a_pool_on_a_standby(primary_standby):
    async with create_pool(primary_standby.standby.dsn("postgres"), min_size=1) as pool:
        for _ in range(3):
            assert await pool.fetchval("SELECT pg_is_in_recovery()") is True
            await pool.execute("SET work_mem = '77MB'")
            assert await pool.fetchval("SHOW work_mem") != "77MB"


# -- resets ----------------------------------------------------------------------------------------


async def test_reset_auto_resets_only_what_may_have_changed(db):
    async with pool_of(db) as pool:
        for _ in range(5):
            await pool.fetchval("SELECT 1")
        assert (pool.stats().resets_done, pool.stats().resets_skipped) == (0, 5)
        await pool.execute("SET work_mem = '77MB'")
        assert pool.stats().resets_done == 1
        assert await pool.fetchval("SHOW work_mem") != "77MB"


async def test_reset_never_leaves_settings_but_no_transaction(db):
    async with pool_of(db, reset="never") as pool:
        await pool.execute("SET work_mem = '77MB'")
        assert await pool.fetchval("SHOW work_mem") == "77MB"
        await pool.execute("BEGIN")
        async with pool.acquire() as lease:
            assert not lease.is_in_transaction()
        assert pool.stats().resets_done == 0


async def test_reset_always_resets_after_every_lease(db):
    async with pool_of(db, reset="always") as pool:
        for _ in range(5):
            await pool.fetchval("SELECT 1")
        assert (pool.stats().resets_done, pool.stats().resets_skipped) == (5, 0)


async def test_a_reset_of_ones_own_is_called_after_every_lease(db):
    called: list[str] = []

    async def reset(con: Any) -> None:
        called.append(await con.fetchval("SHOW work_mem"))

    async with pool_of(db, reset=reset) as pool:
        await pool.fetchval("SELECT 1")
        await pool.execute("SET work_mem = '77MB'")
        assert called[1] == "77MB" != called[0]


async def test_a_reset_that_fails_costs_the_connection_and_says_so(db):
    async def reset(con: Any) -> None:
        raise RuntimeError("no reset today")

    async with pool_of(db, reset=reset) as pool:
        with pytest.raises(RuntimeError, match="today"):
            await pool.fetchval("SELECT 1")
        assert pool.stats().size == pool.stats().in_use == 0 or pool.stats().reconnects
        with pytest.raises(RuntimeError, match="today"):
            await pool.fetchval("SELECT 1")


async def test_a_connection_class_of_ones_own(db):
    class Own(asyncpg.Connection):
        resets = 0

        def greeting(self) -> str:
            return "salam"

        async def fetchval(self, query: str) -> Any:
            return f"own {await super().fetchval(query)}"

        def get_reset_query(self) -> str:
            type(self).resets += 1
            return super().get_reset_query()

    async with pool_of(db, connection_class=Own) as pool:
        async with pool.acquire() as lease:
            assert lease.greeting() == "salam"
            assert await lease.fetchval("SELECT 1") == "own 1"
        assert Own.resets == 1


async def test_setup_and_init_that_fail_lose_no_place(db):
    fails = {"init": True, "setup": True}

    def failing(name: str) -> Any:
        async def callback(con: Any) -> None:
            await con.execute("SELECT 1")
            if fails[name]:
                raise RuntimeError(name)

        return callback

    async with pool_of(db, min_size=0, init=failing("init"), setup=failing("setup")) as pool:
        for name in ("init", "setup"):
            for _ in range(3):
                with pytest.raises(RuntimeError, match=name):
                    await pool.acquire()
            fails[name] = False
        assert await pool.fetchval("SELECT 1") == 1
        assert pool.stats().in_use == 0
