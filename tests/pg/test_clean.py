"""The judge on real catalogues: what changes a session is dirty, what a service does is clean."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from clean_world import (
    ACTIONS,
    HARMLESS,
    MORE_STATEMENTS,
    SEQUENCE_ACTIONS,
    TEN_KINDS,
    build,
    carriers,
    probe,
    schema_of,
    seeded_values,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Database, fresh_database
from filban.cluster import Cluster
from filban.pool.clean import Judge
from filban.pool.reset import full_reset


class Session:
    """One connection that leases are run on, with the judge that a pool would have."""

    def __init__(self, connection: asyncpg.Connection[Any], judge: Judge) -> None:
        self.connection = connection
        self.judge = judge
        self.fresh: dict[str, Any] = {}
        self.seeded: set[float] = set()
        # Only a service that asks for lastval() is told the truth about it.
        self.asks_lastval = True

    @classmethod
    async def open(cls, db: Database, *, asks_lastval: bool) -> Session:
        session = cls(await db.connect(), Judge())
        session.asks_lastval = asks_lastval
        async with db.connection() as other:
            session.seeded = await seeded_values(other)
        # The settings of a library show once it is loaded, and no reset is about that.
        await session.connection.execute("DO $$ BEGIN END $$")
        await session.judge.refresh(session.connection)
        if asks_lastval:
            assert session.judge.is_clean("SELECT lastval()")
        session.fresh = await session.probe()
        return session

    async def probe(self) -> dict[str, Any]:
        found = await probe(self.connection, self.seeded)
        return found if self.asks_lastval else {**found, "lastval": None}

    async def lease(self, statements: list[str]) -> bool:
        """Run them, reset if the judge says so, return whether it did."""
        if self.judge.due:
            await self.judge.refresh(self.connection)
        for sql in statements:
            with contextlib.suppress(asyncpg.PostgresError):
                await self.connection.execute(sql)
        dirty = self.connection.is_in_transaction()
        for sql in statements:
            dirty |= not self.judge.is_clean(sql)
        if dirty:
            await full_reset(self.connection)
        return dirty

    async def close(self) -> None:
        await self.connection.close(timeout=10)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module", params=[False, True], ids=["", "asks for lastval"])
def world(request: pytest.FixtureRequest, pg: Cluster, runner: asyncio.Runner) -> Iterator[Session]:
    """A session in a database where everything is evil."""
    manager = fresh_database(pg)
    db = runner.run(manager.__aenter__())

    async def start() -> Session:
        async with db.connection() as connection:
            await build(connection, list(ACTIONS))
        return await Session.open(db, asks_lastval=request.param)

    session = runner.run(start())
    yield session
    runner.run(session.close())
    runner.run(manager.__aexit__(None, None, None))


def statements_of(major: int) -> list[str]:
    return [sql for action in ACTIONS for sql in carriers(action, major).values()]


async def left_by(session: Session, sql: str) -> dict[str, Any]:
    """What the statement leaves in its session, which is then reset."""
    await session.connection.execute(sql)
    left = await session.probe()
    await full_reset(session.connection)
    assert await session.probe() == session.fresh
    return {key: value for key, value in left.items() if value != session.fresh.get(key)}


async def test_each_way_to_change_a_session_does_so_and_is_found(every_db: Database) -> None:
    """Each carrier with one action, each action with two carriers, on every major."""
    major = every_db.cluster.binaries.major
    names = list(carriers("lock", major))
    pairs = [("lock", name) for name in names]
    pairs += [(action, name) for action in ACTIONS for name in ("call", "BEFORE trigger")]
    async with every_db.connection() as connection:
        await build(connection, list(ACTIONS))
    for asks_lastval in (False, True):
        session = await Session.open(every_db, asks_lastval=asks_lastval)
        every = {
            f"{action} by {name}": carriers(action, major)[name]
            for action, name in pairs
            if (action in SEQUENCE_ACTIONS) is asks_lastval
        }
        left = {name: await left_by(session, sql) for name, sql in every.items()}
        assert [name for name in left if not left[name]] == []
        assert [name for name, sql in every.items() if session.judge.is_clean(sql)] == []
        await session.close()


@pytest.mark.parametrize("sql", HARMLESS)
def test_what_leaves_nothing_is_clean(world: Session, runner: asyncio.Runner, sql: str) -> None:
    if not world.asks_lastval:
        assert world.judge.is_clean(sql)
    runner.run(world.lease([sql]))
    assert runner.run(world.probe()) == world.fresh


leases = st.lists(
    st.one_of(
        st.sampled_from(HARMLESS),
        st.sampled_from([*TEN_KINDS.values(), *MORE_STATEMENTS]),
        st.sampled_from(statements_of(14)),
    ),
    min_size=1,
    max_size=5,
)


def check_lease(world: Session, runner: asyncio.Runner, statements: list[str]) -> None:
    runner.run(world.lease(statements))
    assert runner.run(world.probe()) == world.fresh


@given(statements=leases)
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_next_borrower_finds_a_fresh_session(
    world: Session, runner: asyncio.Runner, statements: list[str]
) -> None:
    check_lease(world, runner, statements)


@pytest.mark.long
@given(statements=leases)
@settings(
    max_examples=5_000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@pytest.mark.timeout(1_800)
def test_the_next_borrower_finds_a_fresh_session_long(
    world: Session, runner: asyncio.Runner, statements: list[str]
) -> None:
    check_lease(world, runner, statements)


@pytest.mark.long
def test_every_carrier_with_every_action(world: Session, runner: asyncio.Runner) -> None:
    for action in ACTIONS:
        if action in SEQUENCE_ACTIONS and not world.asks_lastval:
            continue
        for name, sql in carriers(action, 15).items():
            assert not world.judge.is_clean(sql), f"{action} by {name}: {sql}"
            check_lease(world, runner, [sql])


# What is known of the catalogue, and how it gets old.


@pytest.fixture
async def judge(conn: asyncpg.Connection[Any]) -> Judge:
    await conn.execute("CREATE TABLE t (a int)")
    judge = Judge()
    await judge.refresh(conn)
    return judge


async def test_without_a_catalogue_only_what_uses_no_name_is_clean() -> None:
    judge = Judge()
    assert judge.due
    assert judge.is_clean("SELECT $1; BEGIN; COMMIT")
    assert not judge.is_clean("SELECT lower('x')")
    assert judge.why_dirty("SELECT * FROM t") == "the catalogue has not been read"


async def test_a_change_by_others_shows_at_the_next_look(
    db: Database, conn: asyncpg.Connection[Any]
) -> None:
    judge = Judge(recheck_seconds=0.0)
    await conn.execute("CREATE TABLE t (a int)")
    await judge.refresh(conn)
    changes = [
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_lock(1); RETURN NEW; END $$;"
        "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN NEW; END $$",
        "ALTER TABLE t ADD b int DEFAULT setval('s', 1) + pg_backend_pid() * 0",
        "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS $$ SELECT pg_advisory_unlock_all(); "
        "SELECT 1 $$; ALTER TABLE t ALTER b SET DEFAULT g()",
        "ALTER TABLE t ALTER b DROP DEFAULT",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (g() = 1)",
        "ALTER TABLE t DROP CONSTRAINT c",
        "CREATE INDEX ON t ((a + 1))",
        "CREATE POLICY p ON t USING (g() = 1)",
        "DROP POLICY p ON t",
        "CREATE RULE r AS ON INSERT TO t DO ALSO SELECT g()",
        "DROP RULE r ON t",
        "CREATE TABLE u () INHERITS (t); CREATE TRIGGER x BEFORE UPDATE ON u EXECUTE FUNCTION f()",
        "CREATE TABLE g2 (a int, b int); ALTER TABLE g2 INHERIT t",
        "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM g(); RETURN NEW; END $$",
    ]
    clean = [False, True, True, False, True, False, True, True, False, True, False, True]
    clean += [True, True, False]
    await db.execute("CREATE SEQUENCE s")
    await judge.refresh(conn)
    for change, expected in zip(changes, clean, strict=True):
        before = judge.is_clean("INSERT INTO t (a) VALUES (1)")
        await db.execute(change)
        assert judge.is_clean("INSERT INTO t (a) VALUES (1)") is before
        assert judge.due
        await judge.refresh(conn)
        assert judge.is_clean("INSERT INTO t (a) VALUES (1)") is expected, change


async def test_ddl_of_our_own_is_doubted_at_once(
    judge: Judge, conn: asyncpg.Connection[Any]
) -> None:
    assert judge.is_clean("SELECT * FROM t")
    assert not judge.due
    for _ in range(2):  # The second time its text is known.
        assert not judge.is_clean("CREATE TABLE u (a int)")
        assert judge.due
        assert not judge.is_clean("SELECT * FROM t")
        await judge.refresh(conn)
        assert judge.is_clean("SELECT * FROM t")


async def test_ddl_during_a_refresh_is_not_missed(
    judge: Judge, conn: asyncpg.Connection[Any]
) -> None:
    reading = asyncio.create_task(judge.refresh(conn))
    await asyncio.sleep(0)
    assert not judge.due
    assert not judge.is_clean("DROP TABLE x")
    await reading
    assert judge.due
    assert not judge.is_clean("SELECT * FROM t")
    await judge.refresh(conn)
    assert judge.is_clean("SELECT * FROM t")


async def test_an_unknown_name_asks_for_a_look(
    judge: Judge, conn: asyncpg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filban.pool.clean.judge.UNKNOWN_RECHECK_SECONDS", 0.0)
    assert "not known" in judge.why_dirty("SELECT * FROM later")
    assert judge.due
    await conn.execute("CREATE TABLE later (a int)")
    await judge.refresh(conn)
    assert judge.is_clean("SELECT * FROM later")
    assert not judge.due


async def test_temporary_tables_of_others_do_not_age_the_catalogue(
    db: Database, judge: Judge, conn: asyncpg.Connection[Any]
) -> None:
    known = judge._catalogue
    async with db.connection() as other:
        await other.execute(
            "CREATE TEMP TABLE x (id serial PRIMARY KEY, a int CHECK (a > 0) DEFAULT 1);"
            "CREATE TEMP VIEW y AS SELECT * FROM x; TRUNCATE t; ANALYZE;"
            "CREATE TEMP TABLE z (a int)"
        )
        await judge.refresh(conn)
        assert judge._catalogue is known


async def test_a_lost_connection_leaves_everything_dirty(
    db: Database, judge: Judge, conn: asyncpg.Connection[Any]
) -> None:
    lost = await db.connect()
    await conn.execute("SELECT pg_terminate_backend($1, 5000)", lost.get_server_pid())
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await judge.refresh(lost)
    assert not judge.is_clean("SELECT * FROM t")
    await judge.refresh(conn)
    assert judge.is_clean("SELECT * FROM t")


async def test_a_role_that_may_not_read_the_catalogue(db: Database) -> None:
    await db.execute("REVOKE SELECT ON pg_proc FROM PUBLIC")
    judge = Judge()
    async with db.connection("plain") as connection:
        await judge.refresh(connection)
    assert not judge.is_clean("SELECT lower('x')")
    assert not judge.due


async def test_memory_is_bounded(judge: Judge) -> None:
    for number in range(5_000):
        assert judge.is_clean(f"SELECT {number} FROM t")
    assert len(judge._young) + len(judge._old) <= 2_048
    assert judge.why_dirty("SELECT '" + "x" * 40_000 + "'") == "too long to be judged"


async def test_what_cannot_be_parsed_is_dirty(judge: Judge) -> None:
    for sql in ("SELEC 1", "SELECT 1\0", "SELECT '\ud800'", "SELECT " + "(" * 20_000, "'"):
        assert not judge.is_clean(sql)
    assert judge.is_clean("")


async def test_strings_that_the_server_reads_otherwise(db: Database) -> None:
    """Without standard_conforming_strings this text has a SET in it, for the grammar a string."""
    hiding = "SELECT 'a\\', 'b'; SET ROLE plain; --'"
    strings = {"standard_conforming_strings": "off"}
    connection = await db.connect(server_settings=strings)
    judge = Judge()
    assert not judge.is_clean(hiding.replace("'b'", "$1"))
    await judge.refresh(connection)
    assert not judge.is_clean("SELECT 'a\\' , 'b; SET ROLE plain; --'")
    assert judge.is_clean("SELECT 'a' , lower('b; SET ROLE plain; --')")
    await connection.execute("SELECT 'a\\' , ' ; SET ROLE plain; --'")
    await connection.close()
    async with db.connection() as other:
        await judge.refresh(other)
    assert judge.is_clean("SELECT 'a\\' , 'b; SET ROLE plain; --'")


async def test_sequences_count_once_somebody_asks(judge: Judge, db: Database) -> None:
    await db.execute("CREATE SEQUENCE s; CREATE TABLE i (id int GENERATED ALWAYS AS IDENTITY)")
    async with db.connection() as connection:
        judge.forget()
        await judge.refresh(connection)
    draws = ["INSERT INTO i DEFAULT VALUES", "SELECT nextval('s')", "COPY i FROM STDIN"]
    assert all(judge.is_clean(sql) for sql in draws)
    assert judge.is_clean("SELECT currval('s')")
    assert not any(judge.is_clean(sql) for sql in draws)
    assert judge.is_clean("SELECT * FROM i")


async def test_extensions(conn: asyncpg.Connection[Any]) -> None:
    for extension in ("pg_trgm", "hstore", "citext", "dblink", "tablefunc", "isn", '"uuid-ossp"'):
        await conn.execute(f"CREATE EXTENSION {extension}")
    await conn.execute("CREATE TABLE words (w citext, h hstore); CREATE TABLE books (i isbn)")
    judge = Judge()
    await judge.refresh(conn)
    clean = [
        "SELECT similarity(w, 'x'), w % 'x' FROM words ORDER BY w <-> 'y'",
        "SELECT h -> 'a', h ? 'b', hstore('a', 'b') FROM words WHERE w = 'X'::citext",
        "SELECT uuid_generate_v4()",
        "INSERT INTO words VALUES ('a', 'b=>c')",
    ]
    dirty = {
        "SELECT set_limit(0.2)": "language c in function public.set_limit",
        "SELECT dblink_connect('x', '')": "language c in function public.dblink_connect",
        "SELECT * FROM crosstab('SELECT 1') AS x (a int)": "language c",
        "SELECT isn_weak(true)": "language c",
        "INSERT INTO books VALUES ('0-306-40615-2')": "language c",
    }
    for sql in clean:
        assert judge.why_dirty(sql) == ""
    for sql, reason in dirty.items():
        assert reason in judge.why_dirty(sql)


async def test_a_foreign_table_is_dirty(conn: asyncpg.Connection[Any]) -> None:
    await conn.execute(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw;"
        "CREATE FOREIGN TABLE remote (a int) SERVER s;"
        "CREATE TABLE p (a int) PARTITION BY LIST (a);"
        "CREATE FOREIGN TABLE p1 PARTITION OF p FOR VALUES IN (1) SERVER s"
    )
    judge = Judge()
    await judge.refresh(conn)
    assert judge.why_dirty("SELECT * FROM remote") == "relation public.remote is a foreign table"
    assert not judge.is_clean("SELECT * FROM p")


async def test_an_evil_cast_between_built_in_types_makes_everything_dirty(
    conn: asyncpg.Connection[Any],
) -> None:
    await conn.execute(
        "CREATE FUNCTION f(point) RETURNS int LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_lock(1); RETURN 1; END $$;"
        "CREATE CAST (point AS int) WITH FUNCTION f(point) AS IMPLICIT"
    )
    judge = Judge()
    await judge.refresh(conn)
    assert not judge.is_clean("SELECT abs($1)")
    assert judge.is_clean("BEGIN")


MACHINERY = {
    "text search template": "CREATE FUNCTION f(internal) RETURNS internal LANGUAGE internal AS"
    " 'dsimple_init'; CREATE FUNCTION g(internal, internal, internal, internal) RETURNS internal"
    " LANGUAGE internal AS 'dsimple_lexize';"
    "CREATE TEXT SEARCH TEMPLATE x (INIT = f, LEXIZE = g)",
    "text search parser": "CREATE FUNCTION f(internal, int) RETURNS internal LANGUAGE internal AS"
    " 'prsd_start'; CREATE TEXT SEARCH PARSER x (START = f, GETTOKEN = prsd_nexttoken,"
    " END = prsd_end, LEXTYPES = prsd_lextype)",
    "conversion": "CREATE DEFAULT CONVERSION x FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "access method": "CREATE ACCESS METHOD x TYPE TABLE HANDLER heap_tableam_handler;"
    "DROP TABLE t; CREATE TABLE t (a int) USING x",
    "planner support": "CREATE FUNCTION s(internal) RETURNS internal LANGUAGE internal AS"
    " 'text_starts_with_support'; CREATE FUNCTION f(int) RETURNS int LANGUAGE sql SUPPORT s AS"
    " 'SELECT 1'; CREATE POLICY p ON t USING (f(1) = 1)",
    "base type": "CREATE TYPE x; CREATE FUNCTION i(cstring) RETURNS x LANGUAGE internal STRICT AS"
    " 'textin'; CREATE FUNCTION o(x) RETURNS cstring LANGUAGE internal STRICT AS 'textout';"
    "CREATE TYPE x (INPUT = i, OUTPUT = o); ALTER TABLE t ADD b x",
}


@pytest.mark.parametrize("what", MACHINERY)
async def test_machinery_that_cannot_be_judged(
    judge: Judge, conn: asyncpg.Connection[Any], what: str
) -> None:
    assert judge.is_clean("SELECT * FROM t")
    await conn.execute(MACHINERY[what])
    judge.forget()
    await judge.refresh(conn)
    assert not judge.is_clean("SELECT * FROM t")


VOLATILITY = """
SELECT DISTINCT p.proname::text AS name
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.oid < 16384
  AND (p.provolatile = 'v' OR l.lanname NOT IN ('internal', 'sql'))
"""


async def test_no_listed_built_in_is_volatile(every_db: Database) -> None:
    """`builtin_functions.txt` against this server's own word."""
    from filban.sql import builtins

    volatile = {row["name"] for row in await every_db.fetch(VOLATILITY)}
    by_hand = builtins.VOLATILE_HARMLESS | builtins.DRAW_FROM_SEQUENCES
    assert volatile & (builtins.harmless() - by_hand - builtins.READ_SEQUENCE_STATE) == set()
    assert {"set_config", "setseed", "pg_advisory_lock", "lo_open", "ts_stat"} <= volatile


def test_the_world_has_all_schemas() -> None:
    assert len({schema_of(action) for action in ACTIONS}) == len(ACTIONS)
