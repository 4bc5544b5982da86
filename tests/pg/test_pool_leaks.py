"""Leaks are told once and with everything that helps; what was dropped comes back."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
from typing import Any

import pytest

from conftest import Database
from filban import create_pool
from filban.errors import PoolExhausted
from filban.pool import LeakReport, Pool
from filban.pool.context import route


def pool_of(db: Database, **kwargs: Any) -> Pool:
    return create_pool(db.dsn, **{"min_size": 1, "max_size": 1, **kwargs})


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


def line_in(function: Any, text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if text in line)


async def repository(pool: Pool, done: asyncio.Event) -> None:
    async with pool.acquire() as lease:
        await lease.fetchval("SELECT 1")
        await lease.fetchval("SELECT 'the last one'")
        await done.wait()


async def handler(pool: Pool, done: asyncio.Event) -> None:
    route.set("GET /articles/{id}")
    await repository(pool, done)


async def test_a_leak_is_told_once_with_all_that_helps_to_find_it(db, caplog):
    reports: list[LeakReport] = []
    done = asyncio.Event()
    async with pool_of(db, leak_threshold=0.1, on_leak=reports.append, name="news") as pool:
        task = asyncio.create_task(handler(pool, done), name="request 7")
        await until(lambda: reports)
        await asyncio.sleep(0.3)
        done.set()
        await task
        assert pool.stats().leaks == len(reports) == 1
    [report] = reports
    assert (report.pool, report.task, report.route) == ("news", "request 7", "GET /articles/{id}")
    assert report.last_statement == "SELECT 'the last one'"
    assert report.stack[0] == (f"{__file__}:{line_in(repository, 'pool.acquire')} in repository")
    assert report.stack[1] == f"{__file__}:{line_in(handler, 'await repository')} in handler"
    assert report.held_seconds >= 0.1
    assert 0 < report.idle_seconds <= report.held_seconds
    [said] = [r.getMessage() for r in caplog.records if r.name == "filban.pool"]
    for part in ("news", "request 7", "GET /articles/{id}", report.stack[0], "the last one"):
        assert part in said


async def test_the_same_place_is_told_again_for_the_next_lease(db):
    reports: list[LeakReport] = []
    async with pool_of(db, leak_threshold=0.05, on_leak=reports.append) as pool:
        for count in (1, 2):
            async with pool.acquire():
                await until(lambda count=count: len(reports) == count)


async def test_idle_is_counted_from_the_end_of_the_last_statement(db):
    reports: list[LeakReport] = []
    async with pool_of(db, leak_threshold=0.4, on_leak=reports.append) as pool:
        async with pool.acquire() as lease:
            await lease.execute("SELECT pg_sleep(0.3)")
            await until(lambda: reports)
        assert reports[0].idle_seconds <= reports[0].held_seconds - 0.3


async def test_a_statement_that_still_runs_is_not_idle(db):
    reports: list[LeakReport] = []
    pool = await pool_of(db, leak_threshold=0.1, on_leak=reports.append)
    async with pool, pool.acquire() as lease:
        query = asyncio.create_task(lease.fetchval("SELECT 1 FROM pg_sleep(600)"))
        await until(lambda: reports)
        query.cancel()
    assert reports[0].idle_seconds is None
    assert "runs: SELECT 1 FROM pg_sleep(600)" in str(reports[0])


async def test_statements_of_prepared_statements_count_as_use(db):
    reports: list[LeakReport] = []
    pool = await pool_of(db, leak_threshold=1.0, on_leak=reports.append)
    async with pool, pool.acquire() as lease:
        statement = await lease.prepare("SELECT 1")
        while not reports:
            await statement.fetchval()
            await asyncio.sleep(0.01)
    # The pool looks twice in the threshold: what it saw last is no older.
    assert reports[0].idle_seconds < reports[0].held_seconds - 0.4


async def test_without_a_threshold_nothing_is_reported(db):
    async with pool_of(db) as pool:
        async with pool.acquire():
            pool._holders[0].acquired_at -= 1000
            await asyncio.sleep(0)
        assert pool.stats().leaks == 0


async def test_an_error_in_on_leak_is_said_and_breaks_nothing(db, caplog):
    def broken(report: LeakReport) -> None:
        raise RuntimeError("no mail server")

    async with pool_of(db, leak_threshold=0.05, on_leak=broken) as pool:
        for _ in range(2):
            async with pool.acquire():
                before = pool.stats().leaks
                await until(lambda before=before: pool.stats().leaks > before)
        assert await pool.fetchval("SELECT 1") == 1
        assert pool._tick_timer is not None
    assert any("on_leak" in r.getMessage() and r.exc_info for r in caplog.records)


@pytest.mark.parametrize("dirty", [False, True], ids=["clean", "dirty"])
async def test_a_dropped_lease_comes_back_and_is_told(db, caplog, dirty):
    async with pool_of(db, name="news") as pool:
        lease = await pool.acquire()
        await lease.execute("SET work_mem = '77MB'" if dirty else "SELECT 1")
        waiter = asyncio.create_task(pool.fetchval("SHOW work_mem"))
        await until(lambda: pool.stats().waiting == 1)
        del lease
        gc.collect()
        assert await waiter != "77MB"
        assert (pool.stats().dropped, pool.stats().connects) == (1, 1)
    [said] = [r.getMessage() for r in caplog.records if "dropped" in r.getMessage()]
    assert "news" in said
    assert f"{__file__}:" in said


async def test_a_lease_dropped_in_an_open_transaction_is_rolled_back(db):
    await db.execute("CREATE TABLE t (a int)")
    async with pool_of(db) as pool:
        lease = await pool.acquire()
        transaction = lease.transaction()
        await transaction.start()
        await lease.execute("INSERT INTO t VALUES (1)")
        del lease, transaction
        gc.collect()
        assert await pool.fetchval("SELECT count(*) FROM t") == 0


async def test_released_leases_are_not_dropped_ones(db):
    async with pool_of(db) as pool:
        for _ in range(3):
            async with pool.acquire() as lease:
                await lease.fetchval("SELECT 1")
            del lease
            gc.collect()
        await asyncio.sleep(0)
        assert pool.stats().dropped == 0


async def test_a_task_that_waits_for_its_own_second_connection_is_told(db):
    async with pool_of(db) as pool, pool.acquire():
        with pytest.raises(PoolExhausted) as caught:
            await pool.acquire(timeout=0.05)
    assert "this task holds another connection" in caught.value.hint


async def test_a_deadlock_of_several_tasks_is_told_while_it_lasts(db, caplog, monkeypatch):
    monkeypatch.setattr("filban.pool.upkeep.TICK_SECONDS", 0.05)
    caplog.set_level(logging.WARNING)
    async with pool_of(db, max_size=3, acquire_timeout=60) as pool:
        both = asyncio.Barrier(3)

        async def greedy() -> None:
            async with pool.acquire():
                await both.wait()
                async with pool.acquire():
                    pass

        tasks = [asyncio.create_task(greedy(), name=f"greedy {i}") for i in range(3)]
        await until(lambda: any("deadlock" in r.getMessage() for r in caplog.records))
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        [said] = [r.getMessage() for r in caplog.records if "deadlock" in r.getMessage()]
        assert "greedy" in said
        assert f"{__file__}:" in said
        assert pool.stats().in_use == 0
