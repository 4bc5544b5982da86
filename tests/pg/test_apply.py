"""Applying a plan on a real server: built once, resumed after a kill, undone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import fresh_database
from filban.errors import DiskFull, NotGood, NotSupported, ServerError, StatementFailed, UsageError
from filban.index.apply import Journal, Limits, Plan, Step, Watched, Work, begun, read, write
from filban.index.apply.guard import Bounds
from filban.pg import parse

INDEX = Step("CREATE INDEX CONCURRENTLY t_a_idx ON public.t USING btree (a)", "because")
UNIQUE = Step("CREATE UNIQUE INDEX CONCURRENTLY t_u ON public.t USING btree (a)")
OLD = Step("DROP INDEX CONCURRENTLY public.old")
QUICK = Limits(lock_timeout_ms=300, tries=2)


@pytest.fixture
async def table(db):
    await db.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b text);"
        "INSERT INTO t SELECT i, i % 10, i::text FROM generate_series(1, 500) i;"
        "CREATE INDEX old ON t USING btree (b)"
    )
    return db


async def valid(db, name: str) -> bool | None:
    return await db.fetchval(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", name
    )


@contextlib.asynccontextmanager
async def work(
    db, tmp_path: Path, *steps: Step, limits: Limits | None = None, said: list[str] | None = None
) -> AsyncIterator[Work]:
    """The plan of these steps, the same one each time it is asked for in a test."""
    path = tmp_path / "plan.json"
    if not path.exists():
        write(Plan(steps), path)
    tell: Callable[[str], None] = (said if said is not None else []).append
    async with begun(parse(db.dsn), read(path), Journal(path), limits or Limits(), tell=tell) as w:
        yield w


@contextlib.asynccontextmanager
async def open_transaction(db) -> AsyncIterator[None]:
    """One that has written to the table: a build waits for its end."""
    async with db.connection() as connection, connection.transaction():
        await connection.execute("UPDATE t SET b = b WHERE id = 1")
        yield


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(30):
        while not (value := await condition()):
            await asyncio.sleep(0.02)
        return value


async def test_builds_goes_on_and_reverts(table, tmp_path):
    async with work(table, tmp_path, INDEX, OLD) as w:
        first = await w.apply()
        again = await w.apply()
    assert [r.what for r in first] == ["built", "dropped"]
    assert first[0].built is not None
    assert first[0].built.size_bytes > 0
    assert [r.what for r in again] == ["earlier", "earlier"]
    assert await valid(table, "t_a_idx") is True
    assert await valid(table, "old") is None
    async with work(table, tmp_path) as w:
        back = await w.revert()
        twice = await w.revert()
    assert [r.what for r in back] == ["reverted", "reverted"]
    assert [r.what for r in twice] == ["absent", "absent"]
    assert await valid(table, "t_a_idx") is None
    assert await valid(table, "old") is True
    assert "(b)" in await table.fetchval("SELECT pg_get_indexdef('old'::regclass)")
    async with work(table, tmp_path) as w:  # what was reverted can be applied again
        assert [r.what for r in await w.apply()] == ["built", "dropped"]


async def test_what_was_there_before_stays(table, tmp_path):
    await table.execute("CREATE INDEX t_a_idx ON t (a)")
    async with work(table, tmp_path, INDEX) as w:
        assert [r.what for r in await w.apply()] == ["found"]
        assert [r.what for r in await w.revert()] == ["absent"]
    assert await valid(table, "t_a_idx") is True


async def test_another_index_of_that_name_is_not_taken_for_it(table, tmp_path):
    await table.execute("CREATE INDEX t_a_idx ON t (b)")
    async with work(table, tmp_path, INDEX) as w:
        with pytest.raises(UsageError, match="another index"):
            await w.apply()


async def test_a_failed_build_leaves_nothing(table, tmp_path):
    async with work(table, tmp_path, UNIQUE) as w:
        with pytest.raises(NotGood, match="could not create unique index"):
            await w.apply()
    assert await valid(table, "t_u") is None


async def test_a_leftover_of_somebody_else_is_named_and_replaced(table, tmp_path):
    with contextlib.suppress(Exception):
        await table.execute(UNIQUE.sql)
    assert await valid(table, "t_u") is False
    await table.execute("UPDATE t SET a = id")
    said: list[str] = []
    async with work(table, tmp_path, UNIQUE, said=said) as w:
        assert [r.what for r in await w.apply()] == ["built"]
    assert await valid(table, "t_u") is True
    assert any("public.t_u" in s and "invalid" in s for s in said)


async def test_tries_end_and_clean(table, tmp_path):
    said: list[str] = []
    async with work(table, tmp_path, INDEX, limits=QUICK, said=said) as w:
        async with open_transaction(table):
            with pytest.raises(NotGood, match="2 tries") as refused:
                await w.apply()
            assert "DROP INDEX CONCURRENTLY public.t_a_idx" in refused.value.hint
        assert [r.what for r in await w.apply()] == ["built"]
    assert any("try 1 of 2" in s for s in said)
    assert await valid(table, "t_a_idx") is True


async def test_revert_cleans_what_was_given_up(table, tmp_path):
    async with work(table, tmp_path, INDEX, limits=QUICK) as w:
        async with open_transaction(table):
            with pytest.raises(NotGood):
                await w.apply()
        assert await valid(table, "t_a_idx") is False
        assert [r.what for r in await w.revert()] == ["absent"]
    assert await valid(table, "t_a_idx") is None


async def test_cancelled_in_the_middle(table, tmp_path):
    """Nobody builds on; what an open transaction keeps there is named, and cleaned later."""
    said: list[str] = []
    async with open_transaction(table), work(table, tmp_path, INDEX, said=said) as w:
        task = asyncio.create_task(w.apply())
        await until(lambda: building(table))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not await building(table)
        assert any("public.t_a_idx is left behind" in s for s in said)
    async with work(table, tmp_path) as w:
        assert [r.what for r in await w.apply()] == ["built"]


async def building(db) -> bool:
    return await db.fetchval(
        "SELECT count(*) > 0 FROM pg_stat_progress_create_index WHERE datname = $1"
        " AND phase LIKE 'waiting%'",
        db.name,
    )


async def test_killed_in_the_middle(table, tmp_path):
    """kill -9: the next call names what was begun, cleans it, and goes on."""
    path = tmp_path / "plan.json"
    write(Plan((INDEX, OLD)), path)
    async with open_transaction(table):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "filban", "apply", str(path), table.dsn, "--yes",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await until(lambda: building(table))
        process.kill()
        await process.wait()
        assert await valid(table, "t_a_idx") is False
        said: list[str] = []
        async with work(table, tmp_path, said=said):
            assert not await building(table)
    async with work(table, tmp_path, said=said) as w:
        assert [r.what for r in await w.apply()] == ["built", "dropped"]
    assert any("earlier run" in s and "public.t_a_idx" in s for s in said)
    assert await valid(table, "t_a_idx") is True


async def test_one_at_a_time(table, tmp_path):
    async with work(table, tmp_path, INDEX):
        with pytest.raises(ServerError, match="another filban"):
            async with work(table, tmp_path):
                pass


async def test_a_partitioned_table(db, tmp_path):
    await db.execute(
        "CREATE TABLE t (id int, a int) PARTITION BY RANGE (id);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);"
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);"
        "CREATE TABLE t21 PARTITION OF t2 FOR VALUES FROM (100) TO (150);"
        "CREATE INDEX of_my_own ON t21 (a);"
        "INSERT INTO t SELECT i, i FROM generate_series(0, 149) i"
    )
    async with work(db, tmp_path, INDEX) as w:
        assert [r.what for r in await w.apply()] == ["built"]
        assert await valid(db, "t_a_idx") is True
        assert await db.fetchval("SELECT count(*) FROM pg_partition_tree('t_a_idx')") == 4
        assert [r.what for r in await w.revert()] == ["reverted"]
    assert await valid(db, "t_a_idx") is None


async def test_a_partitioned_index_comes_back_as_it_was(db, tmp_path):
    await db.execute(
        "CREATE TABLE t (id int, a int) PARTITION BY RANGE (id);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);"
        "CREATE INDEX old ON t (a)"
    )
    async with work(db, tmp_path, OLD) as w:
        assert [r.what for r in await w.apply()] == ["dropped"]
        assert await valid(db, "old") is None
        assert [r.what for r in await w.revert()] == ["reverted"]
    assert await valid(db, "old") is True
    assert await db.fetchval("SELECT count(*) FROM pg_partition_tree('old')") == 2


async def test_an_expressions_index_gets_its_statistics(table, tmp_path):
    by_length = Step("CREATE INDEX CONCURRENTLY t_len ON public.t USING btree (length(b))")
    async with work(table, tmp_path, by_length) as w:
        await w.apply()
    assert await table.fetchval("SELECT count(*) FROM pg_stats WHERE tablename = 't_len'") == 1


async def test_names_are_found_through_the_plans_search_path(table, tmp_path):
    await table.execute("CREATE EXTENSION pg_trgm SCHEMA public")
    path = tmp_path / "plan.json"
    step = Step("CREATE INDEX CONCURRENTLY t_b ON public.t USING gin (b gin_trgm_ops)")
    write(Plan((step,), search_path='"$user", public'), path)
    async with work(table, tmp_path) as w:
        assert [r.what for r in await w.apply()] == ["built"]


async def test_no_room(table, tmp_path):
    large = Step(INDEX.sql, size_bytes=10_000)
    limits = Limits(bounds=Bounds(room_bytes=20_000))
    async with work(table, tmp_path, large, limits=limits) as w:
        with pytest.raises(DiskFull, match="--room"):
            await w.apply()


async def test_the_disk_of_a_server_on_this_machine_is_seen(table, tmp_path):
    endless = Step(INDEX.sql, size_bytes=2**60)
    async with work(table, tmp_path, endless) as w:
        with pytest.raises(DiskFull, match="free"):
            await w.apply()


async def test_a_standby_behind_stops_the_build(primary_standby, tmp_path):
    standby = primary_standby.standby
    strict = Limits(tries=1, bounds=Bounds(max_lag_bytes=100_000, patience_seconds=0.5))
    async with fresh_database(primary_standby.primary) as db:
        await db.execute("CREATE TABLE t (id int PRIMARY KEY, a int, b text)")
        async with replay_paused(standby):
            await db.execute(
                "INSERT INTO t SELECT i, i, repeat('x', 50) FROM generate_series(1, 9000) i"
            )
            async with work(db, tmp_path, INDEX, limits=strict) as w:
                with pytest.raises(StatementFailed, match="behind"):
                    await w.apply()
        assert await valid(db, "t_a_idx") is None


@contextlib.asynccontextmanager
async def replay_paused(standby) -> AsyncIterator[None]:
    import asyncpg

    connection = await asyncpg.connect(standby.dsn())
    try:
        await connection.execute("SELECT pg_wal_replay_pause()")
        yield
    finally:
        await connection.execute("SELECT pg_wal_replay_resume()")
        await connection.close()


async def test_a_standby_and_another_server_are_refused(primary_standby, table, tmp_path):
    path = tmp_path / "plan.json"
    plan = Plan((INDEX,), system_identifier=1, database="elsewhere")
    write(plan, path)
    with pytest.raises(NotSupported, match="standby"):
        async with begun(parse(primary_standby.standby.dsn()), plan, Journal(path), Limits()):
            pass
    with pytest.raises(UsageError, match="made for database elsewhere"):
        async with begun(parse(table.dsn), plan, Journal(path), Limits()):
            pass
    async with begun(
        parse(table.dsn), plan, Journal(path), replace(Limits(), any_server=True)
    ) as w:
        assert [r.what for r in await w.apply()] == ["built"]


async def filban(*arguments: str) -> tuple[int, dict[str, Any], str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "filban", *arguments, "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(said), errors.decode()


async def test_the_statements_are_watched(table, tmp_path):
    """One keeps its promise, one disappoints: the exit code and the way back say so."""
    await table.execute("CREATE EXTENSION pg_stat_statements")
    good, bad = "SELECT count(*) FROM t WHERE a = 3", "SELECT count(*) FROM t WHERE b = 'x'"
    ids = {sql: await query_id(table, sql) for sql in (good, bad)}
    path = tmp_path / "plan.json"
    watched = (
        Watched(ids[good], good, before_ms=1e6, forecast_ms=1e5),
        Watched(ids[bad], bad, before_ms=1e-6, forecast_ms=1e-9),
    )
    write(Plan((INDEX,), watched), path)
    status, report, said = await filban("apply", str(path), table.dsn, "--yes")
    assert status == 0, said
    assert {w["verdict"] for w in report["facts"]["watched"]} == {"too few calls"}
    async with table.connection() as connection:
        for _ in range(25):
            await connection.execute(good)
            await connection.execute(bad)
    status, report, said = await filban("apply", str(path), table.dsn, "--yes")
    assert status == 1, said
    verdicts = {w["statement"]: w["verdict"] for w in report["facts"]["watched"]}
    assert verdicts == {good: "as promised", bad: "disappoints"}
    [finding] = [f for f in report["findings"] if f["code"] == "index.disappoints"]
    assert finding["fix"]["command"] == f"filban revert {path}"
    status, report, said = await filban("revert", str(path), table.dsn, "--yes")
    assert status == 0, said
    assert report["facts"]["steps"][0]["what"] == "reverted"
    assert await valid(table, "t_a_idx") is None


async def query_id(db, sql: str) -> int:
    [plan] = json.loads(await db.fetchval(f"EXPLAIN (VERBOSE, FORMAT JSON) {sql}"))
    return plan["Query Identifier"]


async def test_nothing_is_done_unasked(table, tmp_path):
    path = tmp_path / "plan.json"
    write(Plan((INDEX,)), path)
    status, document, said = await filban("apply", str(path), table.dsn)
    assert status == 2
    assert "--yes" in document["error"]["hint"]
    assert INDEX.sql in said
    assert await valid(table, "t_a_idx") is None
