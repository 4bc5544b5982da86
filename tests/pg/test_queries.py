"""`filban queries` on real servers: as a person calls it, with and without rights and extension."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest

from filban.cli.app import run
from filban.cluster import throwaway
from filban.flows.queries import Queries, Window, run_queries
from filban.profile.logs import Analysis, read_logs

KEYS = {
    "query_id", "fingerprint", "database_id", "database", "query", "source", "users",
    "applications", "labels", "calls", "nested_calls", "rows", "total_ms", "share", "mean_ms",
    "min_ms", "max_ms", "stddev_ms", "p50_ms", "p95_ms", "plans", "plan_ms", "jit_ms", "io_ms",
    "hit_blocks", "read_blocks", "dirtied_blocks", "written_blocks", "temp_read_blocks",
    "temp_written_blocks", "wal_bytes", "workers_launched", "before_mean_ms", "change",
    "slower_since", "slower_ratio", "waits",
}  # fmt: skip
TAG = "/*application='khabar',route='GET%20%2Fnews%2F%7Bid%7D'*/"


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.fixture
async def news(db):
    """A table with an index, statistics, and the extension."""
    await db.execute("CREATE EXTENSION pg_stat_statements")
    await db.execute(
        "CREATE TABLE news AS SELECT g AS id, repeat('x', 50) AS body"
        " FROM generate_series(1, 20000) g"
    )
    await db.execute("CREATE INDEX news_id ON news (id)")
    await db.execute("ANALYZE news")
    return db


async def queries(db, history: Path, window: Window | None = None, **more) -> Queries:
    return await run_queries(db.dsn, history=history, window=window, database=db.name, **more)


def about(result: Queries, words: str):
    [found] = [s for s in result.statements if words in s.query]
    return found


async def test_what_ran_since_the_last_snapshot(news, history):
    first = await queries(news, history)
    assert "no earlier snapshot" in first.facts["basis"]
    async with news.connection() as connection:
        for n in range(7):
            await connection.fetch(f"SELECT body FROM news WHERE id = $1 {TAG}", n + 1)
    result = await queries(news, history)
    assert result.facts["basis"] == "since the last snapshot"
    found = about(result, "FROM news WHERE")
    assert (found.calls, found.rows, found.nested_calls) == (7, 7, 0)
    assert (found.database, found.users) == (news.name, ("postgres",))
    assert found.labels == {"application": "khabar", "route": "GET /news/{id}"}
    assert found.hit_blocks >= 7
    assert sum(s.share for s in result.statements) == pytest.approx(1)
    assert not [s for s in (await queries(news, history)).statements if "FROM news" in s.query]


async def test_over_all_snapshots_again(news, history):
    await queries(news, history)
    for n in range(3):
        await news.execute(f"SELECT count(*) FROM news WHERE id > {n}")
        await queries(news, history)
    several = await queries(news, history, Window(last=100))
    assert about(several, "SELECT count").calls == 3
    assert several.facts["snapshots"] == 5


async def test_a_statement_of_several_users_is_one(news, history):
    await news.execute("GRANT SELECT ON news TO plain")
    await queries(news, history)
    for role in (None, "plain"):
        async with news.connection(role) as connection:
            await connection.fetch("SELECT max(id) FROM news")
    found = about(await queries(news, history), "SELECT max")
    assert (found.calls, found.users) == (2, ("plain", "postgres"))


async def test_an_index_is_dropped(news, history):
    """The statement became slower; it says since when, how much, and what it reads more."""
    async with news.connection() as connection:

        async def rounds(count: int) -> Queries:
            for _ in range(count):
                for n in range(20):
                    await connection.fetch("SELECT body FROM news WHERE id = $1", n)
                    await connection.fetch("SELECT sum(g) FROM generate_series(1, 500) g")
                result = await queries(news, history)
            return result

        quiet = await rounds(10)
        assert about(quiet, "FROM news WHERE").slower_since is None
        dropped = await connection.fetchval("SELECT clock_timestamp()")
        await connection.execute("DROP INDEX news_id")
        result = await rounds(10)
        after = await connection.fetchval("SELECT clock_timestamp()")
    slower = {f.subject: f for f in result.findings if f.code == "query.regression"}
    found = about(result, "FROM news WHERE")
    finding = slower[f"{news.name}:{found.query_id}"]
    assert found.slower_since is not None
    assert found.slower_since < after
    apart = abs(found.slower_since - dropped)
    assert apart < (after - dropped) / 5  # ten intervals: the one of the drop, or its neighbour
    assert found.slower_ratio > 1.5
    before, now = (finding.evidence[f"blocks_per_call_{w}"].value for w in ("before", "after"))
    assert now > 10 * before
    assert "another plan" in finding.why


async def test_without_rights_nothing_hidden_is_shown(news, history):
    async with news.connection() as connection:
        await connection.fetch("SELECT 'secret' FROM news LIMIT 1")
    result = await run_queries(news.dsn_as("plain"), history=history)
    texts = [s.query for s in result.statements]
    assert not [text for text in texts if "insufficient" in text or "FROM news LIMIT" in text]
    [hidden] = result.facts["not_visible"]
    assert "of other users" in hidden["what"]


async def test_utility_statements_and_names_that_are_gone(news, history, pg):
    async with news.connection() as connection:
        await connection.execute("CREATE ROLE passing; SET ROLE passing")
        await connection.execute("SELECT 'x' AS passed")
        await connection.execute("RESET ROLE")
        await connection.execute("VACUUM news")
    await run_queries(news.dsn, history=history)
    await news.execute("DROP ROLE passing")
    await news.execute("VACUUM news")
    result = await queries(news, history, Window(last=10))
    assert about(result, "VACUUM news").calls == 2
    assert about(result, "AS passed").users == ("passing",)


async def test_one_id_leads_from_the_log_to_the_statement(majors, history):
    settings = {
        "shared_preload_libraries": "pg_stat_statements,auto_explain",
        "log_min_duration_statement": 0,
        "auto_explain.log_min_duration": 0,
        "log_destination": "csvlog",
        "logging_collector": True,
        "log_filename": "server.log",
        "log_file_mode": "0644",
    }
    async with throwaway(binaries=majors[15], settings=settings) as cluster:
        connection = await asyncpg.connect(
            cluster.dsn(), server_settings={"application_name": "khabar"}
        )
        await connection.execute("CREATE EXTENSION pg_stat_statements")
        for _ in range(20):
            await connection.fetch(f"SELECT count(*) FROM pg_class WHERE relpages > $1 {TAG}", 1)
        await connection.close()
        log = await read_logs([str(cluster.data_dir / "log" / "*.csv")], Analysis())
        [logged] = [s for s in log.statements if "relpages" in s.query]
        for name in (str(logged.query_id), logged.fingerprint):
            result = await run_queries(cluster.dsn(), history=history, only=name, log=log)
            [found] = result.statements
            assert (found.query_id, found.fingerprint) == (logged.query_id, logged.fingerprint)
            assert found.calls == logged.calls == 20
            assert found.p95_ms == logged.p95_ms is not None
            assert found.applications == ("khabar",)
            assert found.labels["route"] == "GET /news/{id}"
            assert "Aggregate" in result.plans[0]


async def test_without_the_extension_it_says_how_and_samples(majors, history):
    settings = {"shared_preload_libraries": "auto_explain"}
    async with throwaway(binaries=majors[15], settings=settings) as cluster:
        connection = await asyncpg.connect(
            cluster.dsn(), server_settings={"application_name": "khabar"}
        )
        running = connection.fetch(f"SELECT pg_sleep(3) {TAG}")
        task = asyncio.ensure_future(running)
        result = await run_queries(cluster.dsn(), history=history, window=Window(seconds=0.5))
        task.cancel()
        connection.terminate()
    [finding] = result.findings
    assert finding.code == "statements.not_installed"
    assert finding.fix.sql.splitlines() == [
        "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pg_stat_statements';",
        "-- restart the server: pg_ctl restart, or systemctl restart postgresql",
        "CREATE EXTENSION pg_stat_statements;",
    ]
    [found] = result.statements
    assert (found.source, found.applications) == ("activity", ("khabar",))
    assert found.waits.keys() == {"Timeout:PgSleep"}
    assert found.total_ms > 0
    assert found.calls is None


async def test_created_but_not_loaded(majors, history):
    async with throwaway(binaries=majors[15]) as cluster:
        connection = await asyncpg.connect(cluster.dsn())
        await connection.execute("CREATE EXTENSION pg_stat_statements")
        await connection.close()
        result = await run_queries(cluster.dsn(), history=history)
    assert "CREATE" not in result.findings[0].fix.sql
    assert "restart" in result.findings[0].fix.sql
    assert result.facts["basis"].startswith("1 sample of")


async def test_the_extension_of_an_older_version(db, history):
    """As pg_upgrade leaves it: fewer columns than the server could give; before 1.9, refused."""
    await db.execute("CREATE EXTENSION pg_stat_statements VERSION '1.9'")
    result = await run_queries(db.dsn, history=history)
    assert result.statements
    assert {s.jit_ms for s in result.statements} == {None}


def test_the_command(pg, history, capsys, tmp_path):
    dsn = pg.dsn()

    async def prepare() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        await connection.close()

    asyncio.run(prepare())
    page = tmp_path / "page.html"
    common = ["queries", dsn, "--history", str(history)]
    assert run([*common, "--json", "--html", str(page), "--fail-on", "never"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["statements", "findings", "facts"]
    assert set(document["statements"][0]) == KEYS
    assert document["facts"]["source"] == "pg_stat_statements"
    assert "<script" not in page.read_text()
    for by in ("total", "mean", "calls", "rows", "io", "temp", "wal", "jit", "planning"):
        assert run([*common, "--last", "9", "--by", by]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
    name = str(document["statements"][0]["query_id"])
    assert run([*common, "--id", name]) == 0
    assert f"query id {name}" in capsys.readouterr().out
    assert run([*common, "--id", "nothing"]) == 2
    assert run([*common, "--since", "soon"]) == 2
    assert run([*common, "--since", "1h", "--last", "3"]) == 2
    assert run([*common, "--interval", "0.2s", "--json"]) == 0
