"""`filban indexes maintain` on real servers: planned, done, interrupted, cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from conftest import Database
from filban.errors import NotSupported, ServerError
from filban.index.apply.guard import Bounds
from filban.index.maintain import Limits, Plan, planned, run
from filban.index.maintain.plan import KINDS, Kind
from filban.index.upkeep.thresholds import IndexBloatThresholds
from filban.pg import parse, session

SMALL = IndexBloatThresholds(index_bloat_info_wasted_bytes=8192)
QUICK = Limits(lock_timeout_ms=300, tries=1)
# A table and an index that are named as badly as can be.
ODD = '"od d"."ta.b""le"'
SCHEMA = (
    'CREATE SCHEMA "od d";'
    f'CREATE TABLE {ODD} (id int, "Mi x" int) WITH (autovacuum_enabled = off);'
    f"INSERT INTO {ODD} SELECT g, g FROM generate_series(1, 20000) g;"
    f'CREATE INDEX "in dex" ON {ODD} (id);'
)


async def plan(dsn: str, *kinds: Kind) -> Plan:
    async with session(dsn) as one:
        return await planned(one, kinds or KINDS, SMALL)


async def bloat(db: Database) -> None:
    await db.execute(SCHEMA)
    await db.execute(f"DELETE FROM {ODD} WHERE id % 20 > 0")
    await db.execute(f"VACUUM ANALYZE {ODD}")


async def failed_builds(db: Database) -> None:
    """A unique index over duplicates: CREATE and REINDEX CONCURRENTLY both leave theirs."""
    await db.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)")
    async with db.connection() as connection:
        for statement in (
            "CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (a)",
            "REINDEX INDEX CONCURRENTLY t_a",
        ):
            with contextlib.suppress(Exception):
                await connection.execute(statement)


async def names(db: Database) -> set[str]:
    async with db.connection() as connection:
        rows = await connection.fetch(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')"
        )
    return {row["relname"] for row in rows}


async def test_a_bloated_index_with_an_odd_name_is_rebuilt(every_db: Database):
    await bloat(every_db)
    found = await plan(every_db.dsn, "reindex")
    assert [s.sql for s in found.steps] == ['REINDEX INDEX CONCURRENTLY "od d"."in dex"']
    assert found.steps[0].room_bytes > 0
    assert found.steps[0].forecast_seconds > 0
    [done] = await run(
        parse(every_db.dsn), found.steps, QUICK, tell=lambda _: None, show=lambda _: None
    )
    assert done.failure == ""
    assert done.freed_bytes > 100_000
    assert (await plan(every_db.dsn, "reindex")).steps == ()


async def test_leftovers_go_and_a_failing_step_leaves_none(db: Database):
    await failed_builds(db)
    assert await names(db) == {"t_a", "t_a_ccnew"}
    found = await plan(db.dsn, "drop", "reindex")
    assert [(s.kind, s.subject) for s in found.steps] == [
        ("drop", "public.t_a_ccnew"), ("reindex", "public.t_a"),
    ]  # fmt: skip
    said: list[str] = []
    done = await run(parse(db.dsn), found.steps, QUICK, tell=said.append, show=lambda _: None)
    assert [bool(d.failure) for d in done] == [False, True]
    assert await names(db) == {"t_a"}
    await db.execute("DELETE FROM t")
    found = await plan(db.dsn, "drop", "reindex")
    assert [s.kind for s in found.steps] == ["reindex"]
    assert not (
        await run(parse(db.dsn), found.steps, QUICK, tell=said.append, show=lambda _: None)
    )[0].failure
    assert await db.fetchval("SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass")


async def test_what_was_a_leftover_and_is_an_index_now_stays(db: Database):
    await failed_builds(db)
    found = await plan(db.dsn, "drop")
    await db.execute("DROP INDEX t_a_ccnew; CREATE INDEX t_a_ccnew ON t (a)")
    [done] = await run(parse(db.dsn), found.steps, QUICK, tell=lambda _: None, show=lambda _: None)
    assert "no leftover" in done.failure
    assert "t_a_ccnew" in await names(db)


async def test_vacuum_and_analyze_when_due(db: Database):
    await db.execute(SCHEMA)
    await db.execute(f"ANALYZE {ODD}; DELETE FROM {ODD} WHERE id > 10000")
    async with asyncio.timeout(30):
        while not (found := await plan(db.dsn, "vacuum", "analyze")).steps:
            await asyncio.sleep(0.05)
    assert [s.sql for s in found.steps] == [f"VACUUM (ANALYZE) {ODD}"]
    assert [s.sql for s in (await plan(db.dsn, "analyze")).steps] == [f"ANALYZE {ODD}"]
    await run(parse(db.dsn), found.steps, QUICK, tell=lambda _: None, show=lambda _: None)
    async with asyncio.timeout(30):
        while (await plan(db.dsn, "vacuum", "analyze")).steps:
            await asyncio.sleep(0.05)


async def test_statistics_where_columns_depend_on_each_other(db: Database):
    await db.execute(
        'CREATE TABLE dep (a int, "B b" int, c int) WITH (autovacuum_enabled = off);'
        "INSERT INTO dep SELECT g % 200, (g % 200) / 2, g / 77 % 100"
        " FROM generate_series(1, 20000) g;"
        'CREATE INDEX dep_ab ON dep (a, "B b"); CREATE INDEX dep_ac ON dep (c, a); ANALYZE dep'
    )
    found = await plan(db.dsn, "statistics", "analyze")
    assert [s.kind for s in found.steps] == ["statistics", "analyze"]
    assert 'ON a, "B b" FROM public.dep' in found.steps[0].sql
    done = await run(parse(db.dsn), found.steps, QUICK, tell=lambda _: None, show=lambda _: None)
    assert [d.failure for d in done] == ["", ""]
    assert await db.fetchval("SELECT count(*) FROM pg_stats_ext WHERE n_distinct IS NOT NULL") == 1
    assert (await plan(db.dsn, "statistics", "analyze")).steps == ()


async def test_no_room_is_said_and_nothing_is_begun(db: Database):
    await bloat(db)
    found = await plan(db.dsn, "reindex")
    limits = Limits(bounds=Bounds(room_bytes=1024))
    [done] = await run(parse(db.dsn), found.steps, limits, tell=lambda _: None, show=lambda _: None)
    assert "--room" in done.failure
    assert (await plan(db.dsn, "reindex")).steps == found.steps


async def test_only_one_at_a_time_and_only_on_a_primary(db: Database, primary_standby):
    await bloat(db)
    found = await plan(db.dsn, "reindex")
    async with db.connection() as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", int.from_bytes(b"filban", "big"))
        with pytest.raises(ServerError, match="another filban"):
            await run(parse(db.dsn), found.steps, QUICK, tell=lambda _: None, show=lambda _: None)
    with pytest.raises(NotSupported, match="standby"):
        await plan(primary_standby.standby.dsn())


async def test_a_plain_role_is_told_what_it_may_not_do(db: Database, plain_dsn: str):
    await failed_builds(db)
    found = await plan(plain_dsn)
    assert found.steps == ()
    assert any("other roles" in left for left in found.left)


@contextlib.asynccontextmanager
async def command(*args: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "filban", "indexes", "maintain", *args,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_interrupted_in_the_middle_of_a_rebuild(db: Database):
    await db.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)")
    async with db.connection() as connection:
        with contextlib.suppress(Exception):
            await connection.execute("CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (a)")
    await db.execute("DELETE FROM t")
    async with db.connection() as writer:
        writing = writer.transaction()
        await writing.start()
        await writer.execute("INSERT INTO t VALUES (3)")  # the rebuild waits for its end
        async with command(db.dsn, "--yes", "--only", "reindex") as process:
            async with asyncio.timeout(60):
                while "t_a_ccnew" not in await names(db):
                    await asyncio.sleep(0.02)
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(60):
                _, error = await process.communicate()
        assert process.returncode == 3, error.decode()
        assert "left behind" in error.decode() or "dropped" in error.decode()
        await writing.rollback()
    async with command(db.dsn, "--yes", "--json", "--only", "drop", "--only", "reindex") as again:
        out, error = await again.communicate()
    assert again.returncode == 0, error.decode()
    assert {s["outcome"] for s in json.loads(out)["facts"]["steps"]} == {"done"}
    assert await names(db) == {"t_a"}


async def test_the_plan_is_shown_and_asked_about(db: Database):
    await failed_builds(db)
    async with command(db.dsn) as process:
        _, error = await process.communicate()
    assert process.returncode == 2
    assert "DROP INDEX CONCURRENTLY public.t_a_ccnew" in error.decode()
    assert "--yes" in error.decode()
    async with command(db.dsn, "--dry-run") as process:
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert "SHARE UPDATE EXCLUSIVE" in out.decode()
    assert await names(db) == {"t_a", "t_a_ccnew"}
    async with command(db.dsn, "--room", "1kB", "--yes", "--only", "drop") as process:
        out, _ = await process.communicate()
    assert process.returncode == 0
