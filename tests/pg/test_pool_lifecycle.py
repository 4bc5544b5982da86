"""The pool over time: opening, ageing, idling, growing, shrinking, losing its server, closing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
from typing import Any

import asyncpg
import pytest

from conftest import Database
from filban import create_pool
from filban.errors import LeasesHeld
from filban.pool import Pool, upkeep
from filban.pool.holder import AGE_JITTER, BROKEN

# What asyncpg's pool lets a service see of a lost connection, as early or late as it notices.
LOST = (asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)


def pool_of(db: Database, **kwargs: Any) -> Pool:
    return create_pool(db.dsn, **{"min_size": 1, "max_size": 1, **kwargs})


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def pids(pool: Pool, count: int) -> set[int]:
    """The server processes behind `count` connections at once."""
    async with contextlib.AsyncExitStack() as stack:
        leases = [await stack.enter_async_context(pool.acquire()) for _ in range(count)]
        return {lease.get_server_pid() for lease in leases}


# -- opening ---------------------------------------------------------------------------------------


async def test_an_eager_pool_opens_what_it_has_to_and_a_lazy_one_nothing(db):
    async with pool_of(db, min_size=3, max_size=5) as pool:
        assert (pool.get_size(), pool.get_idle_size()) == (3, 3)
        assert len(await pids(pool, 5)) == 5
    async with pool_of(db, min_size=0, max_size=5) as pool:
        assert pool.get_size() == 0
        assert await pool.fetchval("SELECT 1") == 1
        assert pool.get_size() == 1
    async with pool_of(db, init_size=4, min_size=0, max_size=5) as pool:
        assert pool.get_size() == 4


async def test_what_is_wrong_with_the_server_is_seen_when_opening(db):
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await create_pool(db.cluster.dsn("missing"))


async def test_a_pool_that_is_not_open_says_so(db):
    pool = pool_of(db)
    with pytest.raises(asyncpg.InterfaceError, match="not initialized"):
        await pool.fetchval("SELECT 1")


# -- ageing and idling -----------------------------------------------------------------------------


async def test_a_connection_over_its_age_is_replaced_idle_or_in_use(db):
    async with pool_of(db, max_age=3600, min_size=2, max_size=2) as pool:
        for holder in pool._holders:
            lives = holder.expires_at - pool._loop.time()
            assert 3600 * (1 - AGE_JITTER) - 60 < lives <= 3600
        assert len({holder.expires_at for holder in pool._holders}) == 2
        old = await pids(pool, 2)
        async with pool.acquire():
            for holder in pool._holders:
                holder.expires_at = pool._loop.time()
            await until(lambda: pool.stats().expired_age == 1)  # the idle one, by the tick
        await until(lambda: pool.stats().expired_age == 2 and pool.get_size() == 2)
        assert not old & await pids(pool, 2)


async def test_idle_connections_above_the_floor_are_closed(db):
    async with pool_of(db, max_size=5, max_inactive_connection_lifetime=0.1) as pool:
        await pids(pool, 5)
        assert pool.get_size() == 5
        await until(lambda: pool.get_size() == 1)
        await asyncio.sleep(0.2)
        assert (pool.get_size(), pool.stats().expired_idle) == (1, 4)
        assert len(await pids(pool, 5)) == 5  # and again
        await until(lambda: pool.get_size() == 1)


async def test_only_what_has_been_idle_for_long_is_probed(db):
    async with pool_of(db, probe_after=100.0) as pool:
        await pool.fetchval("SELECT 1")
        await pool.fetchval("SELECT 1")
        assert pool.stats().probes == 0
        pool._holders[0].idle_since -= 101
        assert await pool.fetchval("SELECT 1") == 1
        assert (pool.stats().probes, pool.stats().connects) == (1, 1)
        pool.probe_after = None
        pool._holders[0].idle_since -= 1000
        await pool.fetchval("SELECT 1")
        assert pool.stats().probes == 1


async def test_keepalive_probes_idle_connections_in_the_background(db):
    async with pool_of(db, keepalive=0.05, min_size=2, max_size=2) as pool:
        await until(lambda: pool.stats().probes >= 4)
        assert (pool.get_idle_size(), pool.stats().connects) == (2, 2)


async def test_a_frozen_backend_is_found_by_the_probe_and_replaced(db, monkeypatch):
    monkeypatch.setattr("filban.pool.holder.PROBE_SECONDS", 0.2)
    async with pool_of(db) as pool:
        [pid] = await pids(pool, 1)
        os.kill(pid, signal.SIGSTOP)
        try:
            pool._holders[0].idle_since -= 100
            assert await pool.fetchval("SELECT pg_backend_pid()") != pid
            assert pool.stats().probes_failed == 1
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_a_changed_role_retires_every_connection(primary_standby):
    """A promoted standby: `SELECT 1` goes on working, the sessions are of the old role."""
    standby = await primary_standby.primary.standby()
    try:
        async with create_pool(standby.dsn("postgres"), min_size=3, max_size=3) as pool:
            before = await pids(pool, 3)
            await Database(standby, "postgres").fetchval("SELECT pg_promote()")
            held = await pool.acquire()
            for holder in pool._holders:
                holder.idle_since -= 100
            async with pool.acquire() as lease:
                assert await lease.fetchval("SELECT pg_is_in_recovery()") is False
            await pool.release(held)
            assert not before & await pids(pool, 3)
    finally:
        await standby.remove()


async def test_expired_connections_are_replaced(db):
    async with pool_of(db, min_size=2, max_size=2) as pool:
        before = await pids(pool, 2)
        async with pool.acquire():
            await pool.expire_connections()
        assert not before & await pids(pool, 2)


async def test_connections_are_replaced_after_max_queries(db):
    async with pool_of(db, max_queries=5, reset="never") as pool:
        seen = {await pool.fetchval("SELECT pg_backend_pid()") for _ in range(20)}
        assert len(seen) > 2


# -- resizing --------------------------------------------------------------------------------------


async def test_growing_lets_those_who_wait_go_on(db):
    async with pool_of(db) as pool:
        async with pool.acquire():
            waiting = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(3)]
            await until(lambda: pool.stats().waiting == 3)
            pool.resize(0, 3)
            assert await asyncio.gather(*waiting) == [1, 1, 1]
        assert pool.get_max_size() == 3


async def test_shrinking_lets_leases_end_and_closes_the_surplus(db):
    async with pool_of(db, min_size=4, max_size=4) as pool:
        leases = [await pool.acquire() for _ in range(4)]
        pool.resize(1, 2)
        assert [await lease.fetchval("SELECT 1") for lease in leases] == [1] * 4
        for lease in leases:
            await pool.release(lease)
        await until(lambda: pool.get_size() == 2)
        assert len(pool._holders) == 2
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        await until(lambda: not pool._background)
        assert await pool.fetchval(sessions) == 2
        pool.resize(4, 4)
        await until(lambda: pool.get_size() == 4)
        with pytest.raises(ValueError, match="min_size"):
            pool.resize(5, 4)


async def test_resizing_both_ways_under_load(db):
    async with pool_of(db, max_size=4) as pool:
        working = True
        done = 0

        async def work() -> None:
            nonlocal done
            while working:
                assert await pool.fetchval("SELECT 1") == 1
                done += 1

        tasks = [asyncio.create_task(work()) for _ in range(20)]
        for low, high in [(1, 8), (0, 1), (5, 5), (0, 3), (2, 10), (1, 2)] * 2:
            pool.resize(low, high)
            goal = done + 200
            await until(lambda goal=goal: done >= goal)
        working = False
        await asyncio.gather(*tasks)
        await until(lambda: len(pool._holders) == 2)
        assert pool.stats().in_use == 0
        assert len(await pids(pool, 2)) == 2


# -- losing the server -----------------------------------------------------------------------------


async def test_the_floor_is_restored_after_connections_were_killed(db):
    async with pool_of(db, min_size=3, max_size=3) as pool:
        before = await pids(pool, 3)
        await db.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY($1)",
            list(before),
        )
        await until(lambda: pool.stats().reconnects >= 3 and pool.get_size() == 3)
        assert not before & await pids(pool, 3)


async def test_it_goes_on_ever_slower_while_the_server_lets_nobody_in(db, monkeypatch):
    monkeypatch.setattr(upkeep, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(upkeep, "SPREAD_SECONDS", 0.0)
    attempts: list[float] = []
    offline = False

    async def connect(*args: Any, **kwargs: Any) -> Any:
        if offline:
            attempts.append(asyncio.get_running_loop().time())
            raise OSError("offline")
        return await asyncpg.connect(*args, **kwargs)

    async with pool_of(db, connect=connect) as pool:
        offline = True
        pool._holders[0]._con.terminate()
        await until(lambda: len(attempts) == 6)
        offline = False
        await until(lambda: pool.get_size() == 1)
        assert await pool.fetchval("SELECT 1") == 1
        pauses = [b - a for a, b in itertools.pairwise(attempts)]
        # At least as long as asked for; how much longer depends on the machine.
        assert all(p >= 0.009 * 2**i for i, p in enumerate(pauses))


async def test_a_server_that_crashes_under_load_and_comes_back(primary_standby):
    cluster = primary_standby.primary
    async with create_pool(cluster.dsn("postgres"), min_size=2, max_size=4) as pool:
        working, good, bad = True, 0, 0

        async def work() -> None:
            nonlocal good, bad
            while working:
                try:
                    await pool.fetchval("SELECT 1", timeout=10)
                    good += 1
                except BROKEN:  # asyncpg's InternalClientError among them: a FATAL while idle
                    bad += 1
                    await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(work()) for _ in range(10)]
        await until(lambda: good > 100)
        await cluster.kill()
        await until(lambda: bad > 10)
        await cluster.start()
        goal = good + 200
        await until(lambda: good > goal)
        working = False
        await asyncio.gather(*tasks)
        assert pool.stats().in_use == 0
        assert len(await pids(pool, 4)) == 4


# -- closing ---------------------------------------------------------------------------------------


async def test_close_waits_for_leases_and_refuses_everybody_else(db):
    pool = await pool_of(db)
    lease = await pool.acquire()
    waiter = asyncio.create_task(pool.fetchval("SELECT 1"))
    await until(lambda: pool.stats().waiting == 1)
    closing = asyncio.create_task(pool.close(timeout=60))
    with pytest.raises(asyncpg.InterfaceError, match="closing"):
        await waiter
    with pytest.raises(asyncpg.InterfaceError, match="closing"):
        await pool.acquire()
    assert await lease.fetchval("SELECT 1") == 1
    await pool.release(lease)
    await closing
    with pytest.raises(asyncpg.InterfaceError, match="closed"):
        await pool.acquire()
    await pool.close()


async def test_close_with_a_timeout_names_who_still_holds(db):
    pool = await pool_of(db, max_size=2)
    held = asyncio.Event()

    async def hold() -> None:
        async with pool.acquire() as lease:
            held.set()
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await lease.fetchval("SELECT pg_sleep(600)")

    task = asyncio.create_task(hold(), name="slow report")
    await held.wait()
    with pytest.raises(
        LeasesHeld, match=r"after 0\.05 s.*slow report.*test_pool_lifecycle\.py:\d+"
    ):
        await pool.close(timeout=0.05)
    await task
    assert (pool.get_size(), pool.is_closing()) == (0, True)


async def test_terminate_ends_leases_and_refuses_waiters(db):
    pool = await pool_of(db)
    lease = await pool.acquire()
    waiter = asyncio.create_task(pool.fetchval("SELECT 1"))
    await until(lambda: pool.stats().waiting == 1)
    pool.terminate()
    with pytest.raises(asyncpg.InterfaceError, match="closed"):
        await waiter
    with pytest.raises(asyncpg.InterfaceError, match="released"):
        await lease.fetchval("SELECT 1")
    await pool.release(lease)
    assert pool.get_size() == 0


async def test_terminate_ends_a_close_that_waits_for_leases(db):
    pool = await pool_of(db)
    lease = await pool.acquire()
    closing = asyncio.create_task(pool.close())
    await until(lambda: pool._holders[0]._in_use is not True)
    pool.terminate()
    await closing
    with pytest.raises(asyncpg.InterfaceError, match="released"):
        await lease.fetchval("SELECT 1")
    assert (pool.get_size(), pool.is_closing()) == (0, True)


async def test_a_session_that_was_ended_while_idle_is_a_lost_connection(db):
    """asyncpg itself says "cannot switch to state 12" when it has not read the server's last words
    yet, as an InternalClientError, for which no service has a handler."""
    async with pool_of(db) as pool, pool_of(db) as other:
        for run in ("execute", "fetch", "fetchrow", "fetchval"):
            async with pool.acquire() as lease:
                pid = lease.get_server_pid()
                await getattr(lease, run)("SELECT 1")
                await other.execute(f"SELECT pg_terminate_backend({pid})")
                await other.execute(  # no look at the pool's own connection in between
                    "DO $$BEGIN WHILE EXISTS (SELECT FROM pg_stat_activity WHERE pid = "
                    f"{pid}) LOOP PERFORM pg_stat_clear_snapshot(); END LOOP; END$$"
                )
                with pytest.raises(LOST):
                    await getattr(lease, run)("SELECT 1")
        assert await pool.fetchval("SELECT 1") == 1


async def test_close_that_is_cancelled_leaves_nothing_open(db):
    pool = await pool_of(db)
    lease = await pool.acquire()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pool.close(), 0.05)
    assert (pool.get_size(), pool.is_closing()) == (0, True)
    with pytest.raises(asyncpg.InterfaceError, match="released"):
        await lease.fetchval("SELECT 1")


def test_a_pool_forgotten_with_its_loop_harms_nobody():
    """Garbage of a loop that is closed must not call into it."""
    code = (
        "import asyncio, gc, sys, filban\n"
        "async def main():\n"
        "    global pool, lease\n"
        "    pool = await filban.create_pool(sys.argv[1], min_size=0, leak_threshold=1)\n"
        "asyncio.run(main())\n"
        "del pool\n"
        "gc.collect()\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "postgresql://localhost/none"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")


# -- fork ------------------------------------------------------------------------------------------

FORK = """
import asyncio, os, sys
import filban, asyncpg

async def child(pool, lease):
    for use in (pool.fetchval, pool.execute, lease.fetchval):
        try:
            await use("SELECT 1")
        except asyncpg.InterfaceError as error:
            print(error)
        else:
            print("no error")
    async with filban.create_pool(sys.argv[1], min_size=1, max_size=1) as own:
        print("own pool", await own.fetchval("SELECT 1"))

async def main():
    pool = await filban.create_pool(sys.argv[1], min_size=2, max_size=2)
    lease = await pool.acquire()
    before = await lease.fetchval("SELECT pg_backend_pid()")
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        asyncio._set_running_loop(None)
        try:
            asyncio.new_event_loop().run_until_complete(child(pool, lease))
            del pool, lease
            import gc; gc.collect()
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.waitpid(pid, 0)
    assert await lease.fetchval("SELECT pg_backend_pid()") == before
    await pool.release(lease)
    assert await pool.fetchval("SELECT 1") == 1
    print("parent", pool.stats().connects)
    await pool.close()

asyncio.run(main())
"""


async def test_a_forked_child_is_told_and_never_speaks_on_its_parents_sockets(db):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FORK, db.dsn, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    lines = output.decode().splitlines()
    assert process.returncode == 0
    assert [line for line in lines if "opened in another process" in line] == lines[:2]
    assert "released" in lines[2]
    assert lines[3:] == ["own pool 1", "parent 2"]
