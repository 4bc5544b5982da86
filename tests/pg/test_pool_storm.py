"""Cancel anything at any moment: no connection is lost, no cancel swallowed, nobody else is hit."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from conftest import Database
from filban import create_pool
from filban.errors import PoolExhausted
from filban.pool import Pool

SIZE = 5
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
TASKS = 25


def loops() -> list[Any]:
    factories = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    try:
        import uvloop
    except ImportError:  # none for Windows and some Pythons
        return factories
    return [*factories, pytest.param(uvloop.new_event_loop, id="uvloop")]


class Storm:
    """Tasks that use a pool in every way, and are cancelled or timed out at random moments."""

    def __init__(self, dsn: str, seed: int) -> None:
        self.dsn = dsn
        self.random = random.Random(seed)
        self.cancelled = 0
        self.finished = 0

    async def _use(self, pool: Pool, number: int) -> None:
        """A unit of work. Each answer is its own: a mix-up or a stray cancel would show."""
        what = self.random.randrange(9)
        if what == 0:
            assert await pool.fetchval("SELECT $1::int", number) == number
        elif what == 1:
            async with pool.acquire() as lease:
                assert await lease.fetchval("SELECT $1::int", number) == number
                await asyncio.sleep(0)
                assert await lease.fetchval("SELECT $1::int", -number) == -number
        elif what == 2:
            async with pool.acquire() as lease, lease.transaction():
                await lease.execute("INSERT INTO storm VALUES ($1)", number)
        elif what == 3:
            await pool.execute("SET work_mem = '77MB'")
        elif what == 4:
            await pool.fetchval("SELECT 1 FROM pg_sleep($1)", self.random.random() / 200)
        elif what == 5:
            # With asyncpg, and so here, the time for acquiring is also that for resetting.
            with contextlib.suppress(PoolExhausted):
                lease = await pool.acquire(timeout=self.random.random() / 100)
                try:
                    await lease.fetchval("SELECT 1")
                finally:
                    await pool.release(lease, timeout=60)
        elif what == 6:
            with contextlib.suppress(TimeoutError):
                await pool.fetchval("SELECT 1 FROM pg_sleep(0.01)", timeout=0.002)
        elif what == 7:
            lease = await pool.acquire()
            try:
                rows = [row async for row in self._cursor(lease)]
                assert rows == [1, 2, 3]
            finally:
                await pool.release(lease)
        else:
            async with pool.acquire() as lease:
                assert await lease.fetchval("SHOW work_mem") != "77MB"
                statement = await lease.prepare("SELECT $1::text")
                assert await statement.fetchval(str(number)) == str(number)

    async def _cursor(self, lease: Any) -> Any:
        async with lease.transaction():
            async for row in lease.cursor("SELECT generate_series(1, 3)", prefetch=2):
                yield row[0]

    async def _victim(self, pool: Pool, number: int) -> None:
        """One task; a cancel that comes while it works has to come out of it."""
        loop = asyncio.get_running_loop()
        work = loop.create_task(self._use(pool, number))
        strikes = self.random.choice(("loop", "time", "soon", "never"))
        if strikes == "loop":
            for _ in range(self.random.randrange(12)):
                await asyncio.sleep(0)
        elif strikes == "time":
            await asyncio.sleep(self.random.random() / 100)
        elif strikes == "never":
            await asyncio.wait([work])
        if work.done():
            self.finished += 1
            work.result()
            return
        assert work.cancel()
        if self.random.random() < 0.2:
            await asyncio.sleep(0)
            work.cancel()  # once more, into the cleaning up
        await asyncio.wait([work])
        if work.cancelled():
            self.cancelled += 1
            return
        # It may have ended by itself in the same pass of the loop: then the cancel is still counted
        # in the task; swallowed would be one that the code has taken back.
        assert work.cancelling() or work.exception() is None
        self.finished += 1
        work.result()

    async def run(self, cancellations: int) -> None:
        async with create_pool(
            self.dsn, min_size=SIZE, max_size=SIZE, acquire_timeout=60, leak_threshold=60
        ) as pool:
            await pool.execute("CREATE TABLE IF NOT EXISTS storm (a int)")
            number = 0

            async def worker() -> None:
                nonlocal number
                while self.cancelled < cancellations:
                    number += 1
                    await self._victim(pool, number)

            async with asyncio.TaskGroup() as group:
                for _ in range(TASKS):
                    group.create_task(worker())
            await self._aftermath(pool)

    async def _aftermath(self, pool: Pool) -> None:
        async with asyncio.timeout(60):
            while pool.stats().in_use or pool._background:
                await asyncio.sleep(0.01)
        gc.collect()
        stats = pool.stats()
        assert (stats.size, stats.idle, stats.waiting) == (SIZE, SIZE, 0)
        assert (stats.connects, stats.reconnects, stats.dropped) == (SIZE, 0, 0)
        leases = [await pool.acquire(timeout=5) for _ in range(SIZE)]
        for number, lease in enumerate(leases):
            assert not lease.is_in_transaction()
            assert await lease.fetchval("SELECT $1::int", number) == number
            assert await lease.fetchval("SHOW work_mem") != "77MB"
            await pool.release(lease)


def storm(db: Database, loop: Callable[[], Any], seed: int, cancellations: int) -> Storm:
    it = Storm(db.dsn, seed)
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(it.run(cancellations))
    return it


@pytest.mark.parametrize("loop", loops())
async def test_a_storm_of_cancellations(db, loop):
    it = await asyncio.to_thread(storm, db, loop, 11, 1500)
    assert it.finished > 100


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("loop", loops())
async def test_a_storm_of_100_000_cancellations(db, loop):
    await asyncio.to_thread(storm, db, loop, 12, 100_000)


async def test_cancelled_at_every_step_of_a_lease(db):
    """Not at random: after each pass of the loop, from the first to beyond the last."""
    async with create_pool(db.dsn, min_size=1, max_size=1) as pool:
        for dirty in (False, True):

            async def work(dirty: bool = dirty) -> None:
                async with pool.acquire() as lease:
                    await lease.execute("SET work_mem = '77MB'" if dirty else "SELECT 1")

            for steps in range(40):
                lease = await pool.acquire()
                task = asyncio.create_task(work())
                await asyncio.sleep(0)  # in line
                await pool.release(lease)
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                assert await pool.fetchval("SHOW work_mem") != "77MB"
        assert (pool.stats().connects, pool.stats().dropped) == (1, 0)


async def test_a_cancel_while_connecting_loses_no_place(db):
    started = asyncio.Event()

    async def connect(*args: Any, **kwargs: Any) -> Any:
        started.set()
        await asyncio.sleep(0.01)
        return await asyncpg.connect(*args, **kwargs)

    async with create_pool(db.dsn, min_size=0, max_size=1, connect=connect) as pool:
        for _ in range(5):
            started.clear()
            task = asyncio.create_task(pool.fetchval("SELECT 1"))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await pool.fetchval("SELECT 1") == 1


async def test_connections_killed_in_the_middle_of_the_load_come_back(db):
    """What died is replaced, the others stay; nobody waits for ever."""
    generator = random.Random(13)
    async with create_pool(db.dsn, min_size=SIZE, max_size=SIZE) as pool:
        working = True
        good = lost = 0

        async def work() -> None:
            nonlocal good, lost
            while working:
                try:
                    async with pool.acquire() as lease, lease.transaction():
                        await lease.fetchval("SELECT 1 FROM pg_sleep(0.001)")
                    good += 1
                except (*LOST, asyncpg.InternalClientError):  # asyncpg's, between FATAL and the end
                    lost += 1

        tasks = [asyncio.create_task(work()) for _ in range(TASKS)]
        async with db.connection() as killer:
            for _ in range(30):
                await asyncio.sleep(generator.random() / 100)
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
                    "pg_backend_pid() AND datname = current_database() ORDER BY random() LIMIT 1"
                )
        goal = good + 200
        async with asyncio.timeout(60):
            while good < goal:
                await asyncio.sleep(0.01)
        working = False
        await asyncio.gather(*tasks)
        async with asyncio.timeout(60):
            while pool.get_size() < SIZE:
                await asyncio.sleep(0.01)
        stats = pool.stats()
        assert lost
        assert (stats.in_use, stats.idle) == (0, SIZE)
        assert stats.reconnects <= 30 + SIZE
