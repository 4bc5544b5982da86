"""What else a server writes: locks, deadlocks, crashes, autovacuum, log_statement, plans."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import asyncpg
import pytest

from conftest import DEFAULT_MAJOR, lacking, server_binaries
from filban import sql
from filban.cluster import Cluster, throwaway
from filban.profile.logs import Analysis, LogReport, read_logs

QUIET = {
    "log_line_prefix": "%m [%p] %q%u@%d,app=%a ",
    "log_checkpoints": True,
    "autovacuum_naptime": "1s",
    "checkpoint_timeout": "1h",
}


@contextlib.asynccontextmanager
async def server(settings: Mapping[str, Any]) -> AsyncIterator[Cluster]:
    """A server that writes to the postmaster's standard error, without the logging collector."""
    binaries = server_binaries().get(DEFAULT_MAJOR)
    if binaries is None or not binaries.has_library("auto_explain"):
        lacking(f"PostgreSQL {DEFAULT_MAJOR} with auto_explain")
    async with throwaway(binaries=binaries, settings={**QUIET, **settings}) as cluster:
        yield cluster


async def connect(cluster: Cluster, app: str = "test") -> asyncpg.Connection:
    return await asyncpg.connect(cluster.dsn(), server_settings={"application_name": app})


async def read(cluster: Cluster) -> LogReport:
    return await read_logs([str(cluster.log_file)], Analysis())


async def until(cluster: Cluster, holds: Callable[[LogReport], object]) -> LogReport:
    for _ in range(400):
        report = await read(cluster)
        if holds(report):
            return report
        await asyncio.sleep(0.05)
    raise AssertionError("the log does not say so")


async def waiting(cluster: Cluster, count: int) -> None:
    """Until so many processes wait for a lock."""
    async with asyncio.timeout(30):
        observer = await connect(cluster, "observer")
        while await observer.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < count:
            await asyncio.sleep(0.01)
        await observer.close()


async def update(connection: asyncpg.Connection, row: int) -> None:
    await connection.execute(f"UPDATE t SET n = n + 1 WHERE id = {row}")


async def test_lock_waits_are_a_tree_and_no_errors():
    async with server({"log_lock_waits": True, "deadlock_timeout": "20ms"}) as cluster:
        root, middle, leaf, other = [await connect(cluster) for _ in range(4)]
        await root.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
        await root.execute("INSERT INTO t VALUES (1, 0), (2, 0)")
        pids = [c.get_server_pid() for c in (root, middle, leaf, other)]
        begun = [c.transaction() for c in (root, middle)]
        for transaction in begun:
            await transaction.start()
        await update(root, 1)
        await update(middle, 2)
        tasks = [asyncio.create_task(update(middle, 1))]
        await waiting(cluster, 1)
        await until(cluster, lambda r: r.locks.waits >= 1)
        tasks.append(asyncio.create_task(update(leaf, 2)))
        await until(cluster, lambda r: r.locks.waits >= 2)
        tasks.append(asyncio.create_task(update(other, 1)))
        await until(cluster, lambda r: r.locks.waits >= 3)
        await begun[0].commit()
        await tasks[0]
        await begun[1].commit()
        await asyncio.gather(*tasks)
        for connection in (root, middle, leaf, other):
            await connection.close()
        report = await until(cluster, lambda r: r.locks.waits >= 3)
    assert report.errors == ()
    assert report.levels == {"LOG": report.events}
    tree = next(t for t in report.locks.trees if t.root.pid == pids[0])
    assert tree.waiting == 3
    by_pid = {w.pid: w for w in tree.root.waiters}
    assert pids[1] in by_pid
    assert [w.pid for w in by_pid[pids[1]].waiters][:1] in ([pids[2]], [pids[3]])
    assert "UPDATE t SET n = n + 1 WHERE id = 1" in (by_pid[pids[1]].statement or "")
    assert all(w.got for w in tree.root.waiters)
    assert report.locks.objects[0].object == "transaction"


async def test_a_deadlock_is_a_graph():
    async with server({"deadlock_timeout": "50ms"}) as cluster:
        one, two = [await connect(cluster) for _ in range(2)]
        await one.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
        await one.execute("INSERT INTO t VALUES (1, 0), (2, 0)")
        pids = {c.get_server_pid() for c in (one, two)}

        async def both(connection: asyncpg.Connection, first: int, second: int) -> None:
            async with connection.transaction():
                await update(connection, first)
                await ready.wait()
                await update(connection, second)

        ready = asyncio.Barrier(2)
        results = await asyncio.gather(both(one, 1, 2), both(two, 2, 1), return_exceptions=True)
        assert any(isinstance(r, asyncpg.DeadlockDetectedError) for r in results)
        await one.close()
        await two.close()
        report = await until(cluster, lambda r: r.locks.deadlocks)
    assert report.locks.deadlocks == 1
    (graph,) = report.locks.deadlock_graphs
    assert graph.victim in pids
    assert {edge.pid for edge in graph.edges} == {edge.blocked_by for edge in graph.edges} == pids
    assert all((edge.statement or "").startswith("UPDATE t") for edge in graph.edges)
    assert [(e.level, e.sqlstate, e.count) for e in report.errors] == [("ERROR", "40P01", 1)]


async def test_a_crash_a_restart_and_a_cancelled_statement():
    async with server({"restart_after_crash": True}) as cluster:
        connection, admin = await connect(cluster), await connect(cluster)
        sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
        pid = connection.get_server_pid()
        async with asyncio.timeout(30):
            while not await admin.fetchval("SELECT pg_cancel_backend($1)", pid):
                await asyncio.sleep(0.05)
            with contextlib.suppress(asyncpg.QueryCanceledError):
                await sleeping
        await admin.close()
        os.kill(pid, signal.SIGKILL)
        report = await until(
            cluster, lambda r: [e.kind for e in r.server_events].count("ready") >= 2
        )
        connection.terminate()
    kinds = [event.kind for event in report.server_events]
    assert kinds.index("ready") < kinds.index("crash") < kinds.index("crash_recovery")
    crash = next(e for e in report.server_events if e.kind == "crash")
    assert "signal 9" in crash.message
    if any(c.why == "user" for c in report.cancelled):
        assert report.cancelled[0].statements[0][0].startswith("SELECT pg_sleep")


async def test_autovacuum_and_checkpoints():
    settings = {"log_autovacuum_min_duration": 0, "autovacuum_vacuum_threshold": 10}
    async with server(settings) as cluster:
        connection = await connect(cluster)
        await connection.execute(
            "CREATE TABLE churn AS SELECT n FROM generate_series(1, 5000) n;"
            "DELETE FROM churn WHERE n % 2 = 0; CHECKPOINT"
        )
        report = await until(
            cluster, lambda r: any(a.table.endswith(".churn") and a.vacuums for a in r.autovacuum)
        )
        await connection.close()
    churn = next(a for a in report.autovacuum if a.table == "postgres.public.churn")
    assert churn.removed == 2500
    assert churn.analyzes >= 0
    assert report.checkpoints.completed >= 1
    assert report.checkpoints.buffers > 0
    assert "immediate force wait" in report.checkpoints.causes


@pytest.mark.parametrize("durations", [True, False])
async def test_log_statement_with_and_without_durations(durations):
    """The text comes first; the duration, when there is one, in a line without a text."""
    settings = {"log_statement": "all", "log_min_duration_statement": 0 if durations else -1}
    async with server(settings) as cluster:
        connection = await connect(cluster, "texts")
        for n in range(5):
            await connection.execute(f"SELECT {n}")
        for n in range(4):
            await connection.fetch("SELECT $1::int + 1", n)
        for _ in range(3):
            with contextlib.suppress(asyncpg.PostgresError):
                await connection.execute("SELECT 1 / 0")
        await connection.execute("SELECT 'last'")
        await connection.close()
        last = sql.fingerprint("SELECT 1")
        report = await until(
            cluster, lambda r: any(s.fingerprint == last and s.calls == 6 for s in r.statements)
        )
    calls = {s.fingerprint: s for s in report.statements if "texts" in s.applications}
    plain, bound = calls[last], calls[sql.fingerprint("SELECT $1::int + 1")]
    assert (plain.calls, bound.calls) == (6, 4)
    # What failed is no call, as in pg_stat_statements.
    assert sql.fingerprint("SELECT 1 / 0") not in calls
    assert (plain.timed_calls, bound.timed_calls) == ((6, 4) if durations else (0, 0))
    assert (plain.mean_ms is not None) is durations
    assert report.unattributed_calls == 0


async def test_only_log_duration_has_no_texts():
    async with server({"log_duration": True}) as cluster:
        connection = await connect(cluster)
        for _ in range(5):
            await connection.execute("SELECT 1")
        await connection.close()
        report = await until(cluster, lambda r: r.unattributed_calls >= 5)
    assert report.statements == ()
    assert report.unattributed_ms > 0
    assert "without a text" in report.notes[0]


@pytest.mark.parametrize("form", ["text", "json", "yaml", "xml"])
@pytest.mark.parametrize("statements", [True, False])
async def test_plans_of_every_format(form, statements):
    """Plans alone are the calls; with log_min_duration_statement as well they count once."""
    settings = {
        "shared_preload_libraries": "auto_explain",
        "auto_explain.log_min_duration": 0,
        "auto_explain.log_format": form,
        "auto_explain.log_analyze": True,
        "log_min_duration_statement": 0 if statements else -1,
    }
    query = 'SELECT 1 AS "a <b> & ""c""",\n  $1::text\nWHERE \'x: "y" <z>\' <> $2'
    async with server(settings) as cluster:
        connection = await connect(cluster, "plans")
        for n in range(3):
            await connection.fetch(query, str(n), "w")
        await connection.execute("SELECT 2")
        await connection.close()
        simple = sql.fingerprint("SELECT 2")
        report = await until(cluster, lambda r: any(s.fingerprint == simple for s in r.statements))
    found = {s.fingerprint: s.calls for s in report.statements}
    assert found[sql.fingerprint(query)] == 3
    assert found[simple] == 1
    plan = next(p for p in report.plans if p.fingerprint == sql.fingerprint(query))
    assert plan.plans == 3
    assert plan.text == query
    if form == "json":
        assert json.loads(plan.plan)["Plan"]["Node Type"] == "Result"
    else:
        assert "Result" in plan.plan
