"""The demo's steps one by one: the rule for an index, its trial, digests, lag, load and traffic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from conftest import Database, Pair
from filban.errors import NotGood, ProgramFailed, StatementFailed
from filban.flows.demo import backup, lag, plans, prove, statements
from filban.flows.demo.digest import digest
from filban.flows.demo.news import load as loading
from filban.flows.demo.news import traffic
from filban.flows.demo.news.traffic import Asked
from filban.flows.demo.servers import OURS, Servers
from filban.flows.progress import Silent, Step
from filban.pg import Query, Session, parse, session

STEP = Step(Silent(), "a test")


@pytest.fixture
async def ours(db: Database) -> AsyncIterator[Session]:
    async with session(db.dsn, OURS) as opened:
        yield opened


def asked(text: str, *arguments: object) -> Asked:
    return Asked("a statement", text, [0.001], [arguments])


async def wanted(conn: asyncpg.Connection, text: str, *arguments: object) -> plans.Candidate | None:
    return plans.candidate(await plans.planned(conn, asked(text, *arguments)))


EVENTS = """
CREATE TABLE events (id int, kind text, "At Time" timestamptz, note varchar(20), flag bool);
INSERT INTO events
SELECT n, 'kind ' || n % 500, now() - n * interval '1 minute', 'note ' || n % 7, n % 2 = 0
FROM generate_series(1, 20000) n;
ANALYZE events;
SET max_parallel_workers_per_gather = 0;
"""


@pytest.mark.parametrize(
    ("text", "arguments", "keys"),
    [
        ("SELECT * FROM events WHERE kind = $1", ("a",), [("kind", "")]),
        (
            'SELECT * FROM events e WHERE kind = $1 ORDER BY "At Time" DESC LIMIT 9',
            ("it's (a.b = 'x') OR so",),
            [("kind", ""), ("At Time", " DESC")],
        ),
        (
            "SELECT * FROM events WHERE \"At Time\" > $1 AND kind = 'x' AND note = $2",
            (None, "n"),
            [("kind", ""), ("note", ""), ("At Time", "")],
        ),
        ("SELECT * FROM events WHERE kind = ANY ($1)", (["a", "b"],), [("kind", "")]),
        ("SELECT * FROM events WHERE id < 5 ORDER BY id", (), [("id", "")]),
        ("SELECT * FROM events WHERE id < 5 ORDER BY kind", (), [("id", "")]),
        ("SELECT * FROM events WHERE kind ILIKE $1", ("%a%",), None),
        ("SELECT * FROM events WHERE kind = $1 OR id = 5", ("a",), None),
        ("SELECT * FROM events WHERE lower(kind) = $1", ("a",), None),
        ("SELECT * FROM events WHERE NOT flag", (), None),
        ("SELECT * FROM events ORDER BY kind LIMIT 1", (), None),
    ],
)
async def test_the_rule(
    conn: asyncpg.Connection, text: str, arguments: tuple[object, ...], keys: object
) -> None:
    await conn.execute(EVENTS)
    if None in arguments:
        arguments = (await conn.fetchval('SELECT max("At Time") FROM events'), *arguments[1:])
    found = await wanted(conn, text, *arguments)
    assert (found and [*found.keys]) == keys
    if found:
        assert (found.schema, found.table) == ("public", "events")


async def test_the_filtered_side_of_a_join_is_indexed(conn: asyncpg.Connection) -> None:
    await conn.execute(
        EVENTS + "CREATE TABLE kinds AS SELECT DISTINCT kind, 1 AS weight FROM events"
    )
    found = await wanted(
        conn,
        "SELECT * FROM kinds k JOIN events e USING (kind) WHERE e.id = $1 ORDER BY k.weight",
        5,
    )
    assert found is not None
    assert (found.table, [*found.keys]) == ("events", [("id", "")])


async def test_an_index_that_helps_is_kept(
    db: Database, conn: asyncpg.Connection, ours: Session
) -> None:
    await conn.execute(EVENTS)
    slow = _slow(asked('SELECT * FROM events WHERE kind = $1 ORDER BY "At Time"', "kind 7"))
    advice = await prove.advise(ours, conn, [slow], STEP)
    assert advice.proven is not None
    assert advice.proven.used
    assert advice.proven.after.median_blocks < advice.proven.before.median_blocks
    assert await _indexes(db) == ["events_kind_At Time_idx"]
    assert '"At Time"' in advice.proven.index.create_sql


async def test_an_index_that_does_not_help_is_dropped(
    db: Database, conn: asyncpg.Connection, ours: Session
) -> None:
    await conn.execute(EVENTS)
    # Every row has it: the planner rightly goes on reading the table.
    slow = _slow(asked("SELECT count(note) FROM events WHERE id >= $1", 1))
    advice = await prove.advise(ours, conn, [slow], STEP)
    assert advice.proven is None
    assert [t.used for t in advice.rejected] == [False]
    assert await _indexes(db) == []


async def test_what_writes_is_never_executed(
    conn: asyncpg.Connection, db: Database, ours: Session
) -> None:
    await conn.execute(EVENTS)
    texts = [
        "DELETE FROM events WHERE kind = $1",
        "WITH gone AS (DELETE FROM events WHERE kind = $1 RETURNING *) SELECT * FROM gone",
        "SELECT * FROM events WHERE kind = $1 FOR UPDATE",
    ]
    advice = await prove.advise(ours, conn, [_slow(asked(t, "kind 7")) for t in texts], STEP)
    assert advice == prove.Advice(None, (), ("a statement",) * 3)
    assert await db.fetchval("SELECT count(*) FROM events") == 20_000


def _slow(statement: Asked) -> statements.Slow:
    return statements.Slow(statement, 1, 1.0, 1.0)


async def _indexes(db: Database) -> list[str]:
    rows = await db.fetch(
        "SELECT indexrelid::regclass::text AS name FROM pg_index"
        " WHERE indrelid = 'events'::regclass AND indisvalid"
    )
    return [row["name"].strip('"') for row in rows]


async def test_statements_are_counted_since_the_reading(
    conn: asyncpg.Connection, db: Database
) -> None:
    await conn.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE t AS SELECT 1 AS a")
    one, two = asked("SELECT a FROM t WHERE a = $1", 1), asked("SELECT count(*) FROM t")
    async with session(db.dsn) as reader:
        for _ in range(3):
            await conn.fetch(one.text, 1)
        before = await statements.counted(reader)
        for _ in range(2):
            await conn.fetch(one.text, 1)
        ran = traffic.Ran((one, two), 1.0, (0.0,))
        found = await statements.slowest(reader, conn, before, ran)
    assert found.source == "pg_stat_statements"
    assert [(s.asked.text, s.calls) for s in found.statements] == [(one.text, 2)]
    assert found.statements[0].share_ratio == 1.0


async def test_a_digest_sees_content_and_nothing_else(db: Database, ours: Session) -> None:
    await db.execute('CREATE TABLE a (t int, n text); CREATE TABLE "b ""q" (x int)')
    await db.execute("INSERT INTO a VALUES (1, 'x'), (2, NULL), (3, 'z')")
    first = await digest(ours)
    assert {name: d.rows for name, d in first.items()} == {"public.a": 3, 'public."b ""q"': 0}
    await db.execute("UPDATE a SET n = n WHERE t = 1")  # the same rows in another order
    assert await digest(ours) == first
    await db.execute("UPDATE a SET t = 3 - t WHERE t < 3")  # 1 and 2 change places
    assert await digest(ours) != first
    await db.execute("UPDATE a SET t = 3 - t WHERE t < 3")
    assert await digest(ours) == first


async def test_loading_fills_and_keys(db: Database) -> None:
    loaded = await loading.load(parse(db.dsn), 1_000, 5, STEP)
    counts = {t: await db.fetchval(f"SELECT count(*) FROM {t}") for t in loaded.rows}
    assert counts == loaded.rows
    assert await db.fetchval("SELECT count(*) FROM pg_constraint WHERE contype IN ('p', 'f')") >= 7
    longest = "SELECT content FROM articles ORDER BY length(content) DESC LIMIT 50"
    assert all(".\n\n" in row["content"] for row in await db.fetch(longest))
    top = await db.fetch("SELECT count(*) FROM articles GROUP BY site_domain ORDER BY 1 DESC")
    assert top[0]["count"] > 5 * top[len(top) // 2]["count"]  # Zipf
    pool = await asyncpg.create_pool(db.dsn, min_size=2, max_size=2)
    async with pool:
        ran = await traffic.run(pool, 15, traffic.Readers(5, 1_000), tasks=4, calls=60, seconds=60)
    assert ran.calls == sum(len(a.seconds) for a in ran.statements) == 60
    published = next(len(a.seconds) for a in ran.statements if a.name == "publish")
    assert await db.fetchval("SELECT count(*) FROM articles") == 1_000 + published


async def test_a_generator_that_dies_is_named(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "TABLES", {"sites": None})
    with pytest.raises(ProgramFailed, match="generator of sites"):
        await loading.load(parse(db.dsn), 1_000, "no number", STEP)  # type: ignore[arg-type]


async def test_the_first_error_of_the_traffic_comes_out(db: Database) -> None:
    async with asyncpg.create_pool(db.dsn, min_size=1, max_size=2) as pool:
        with pytest.raises(StatementFailed, match="articles"):
            await traffic.run(pool, 15, traffic.Readers(1, 1_000), tasks=4, calls=9, seconds=60)
        assert await pool.fetchval("SELECT 1") == 1


@pytest.fixture
async def pair(primary_standby: Pair) -> Servers:
    primary, standby = primary_standby.primary, primary_standby.standby
    postgres = Database(primary, "postgres")
    if not await postgres.fetchval("SELECT 1 FROM pg_database WHERE datname = 'news'"):
        await postgres.execute("CREATE DATABASE news")
        await Database(primary, "news").execute(Query(lag.PACKAGE, "own_schema").text(15))
    lsn = await postgres.fetchval("SELECT pg_current_wal_flush_lsn()")
    behind = "SELECT pg_last_wal_replay_lsn() < $1"
    while await Database(standby, "postgres").fetchval(behind, lsn):
        await asyncio.sleep(0.01)
    base = primary.data_dir.parent
    return Servers(primary, standby, base, base / "archive", contrib=True)


async def test_lag_is_the_time_until_a_client_sees_it(
    pair: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = standby_name(pair)
    monkeypatch.setattr(lag, "STANDBY", name)
    await _replay(pair, "pause")
    started = time.perf_counter()
    sampled = asyncio.create_task(lag.sample(pair, 1, STEP))
    await asyncio.sleep(0.5)
    assert not sampled.done()  # a paused standby reports no lag in time, but shows nothing
    await _replay(pair, "resume")
    (found,) = (await sampled).samples
    assert 0.3 < found.seconds <= time.perf_counter() - started
    assert found.bytes > 0


async def test_a_standby_that_does_not_replay_is_not_good(
    pair: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "STANDBY", standby_name(pair))
    monkeypatch.setattr(lag, "DEADLINE_SECONDS", 0.2)
    await _replay(pair, "pause")
    try:
        with pytest.raises(NotGood, match="has not shown a commit"):
            async with lag.sampling(pair):
                pass
    finally:
        await _replay(pair, "resume")


async def test_a_standby_that_is_away_is_not_good(pair: Servers) -> None:
    monkeyed = replace(pair)  # its application_name is not the demo's
    with pytest.raises(NotGood, match="not connected"):
        await lag.sample(monkeyed, 1, STEP)


def standby_name(pair: Servers) -> str:
    return pair.standby.data_dir.name


async def _replay(pair: Servers, verb: str) -> None:
    await Database(pair.standby, "postgres").execute(f"SELECT pg_wal_replay_{verb}()")
    wanted_state = "paused" if verb == "pause" else "not paused"
    while wanted_state != await Database(pair.standby, "postgres").fetchval(
        "SELECT pg_get_wal_replay_pause_state()"
    ):
        await asyncio.sleep(0.01)


async def test_a_broken_backup_is_not_good(pair: Servers) -> None:
    if not pair.primary.binaries.has(backup.VERIFIER):
        pytest.skip(f"this PostgreSQL has no {backup.VERIFIER}")
    taken = await backup.take(pair, STEP)
    assert taken.verified
    assert taken.size_bytes > 0
    file = taken.directory / "global" / "pg_filenode.map"
    file.write_bytes(bytes(512))
    with pytest.raises(NotGood, match="pg_filenode"):
        await backup._verify(pair, taken.directory)
