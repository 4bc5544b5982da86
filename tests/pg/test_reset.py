"""A reset is complete, spares what asyncpg keeps, and works with no rights and on a standby."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from clean_world import MORE_STATEMENTS, TEN_KINDS, build, probe, seeded_values

from conftest import Database, Pair
from filban.pool.clean import Judge
from filban.pool.reset import full_reset

Connection = asyncpg.Connection


async def own_statements(connection: Connection) -> list[str]:
    """Names of what asyncpg has prepared."""
    rows = await connection.fetch("SELECT name FROM pg_prepared_statements WHERE NOT from_sql")
    return sorted(row["name"] for row in rows)


async def fresh_state(db: Database, connection: Connection) -> tuple[dict[str, Any], set[float]]:
    async with db.connection() as other:
        seeded = await seeded_values(other)
    await connection.execute("DO $$ BEGIN END $$")
    return await probe(connection, seeded), seeded


async def test_the_ten_kinds_of_inherited_state(every_db: Database) -> None:
    """Each is really left behind, judged dirty, and gone after a reset."""
    async with every_db.connection() as builder:
        await build(builder, [])
    async with every_db.connection() as connection:
        fresh, seeded = await fresh_state(every_db, connection)
        judge = Judge()
        await judge.refresh(connection)
        assert len(TEN_KINDS) == 10
        for kind, sql in TEN_KINDS.items():
            await connection.execute(sql)
            assert await probe(connection, seeded) != fresh, kind
            assert connection.is_in_transaction() or not judge.is_clean(sql), kind
            await full_reset(connection)
            assert await probe(connection, seeded) == fresh, kind


async def test_everything_else(every_db: Database) -> None:
    async with every_db.connection() as builder:
        await build(builder, [])
    async with every_db.connection() as connection:
        fresh, seeded = await fresh_state(every_db, connection)
        for sql in MORE_STATEMENTS:
            try:
                await connection.execute(sql)
            except asyncpg.FeatureNotSupportedError:
                assert "xml" in sql, "a server without libxml"
                continue
            except asyncpg.PostgresError:
                assert connection.is_in_transaction(), sql
            assert await probe(connection, seeded) != fresh, sql
            await full_reset(connection)
            assert await probe(connection, seeded) == fresh, sql


async def test_all_at_once(db: Database, conn: Connection) -> None:
    await build(conn, [])
    fresh, seeded = await fresh_state(db, conn)
    for kind in ("setting", "temporary table", "prepared statement", "cursor", "advisory lock"):
        await conn.execute(TEN_KINDS[kind])
    for kind in ("listen", "role", "search_path", "session authorization", "open transaction"):
        await conn.execute(TEN_KINDS[kind])
    await full_reset(conn)
    assert await probe(conn, seeded) == fresh


async def test_what_asyncpg_has_prepared_stays(every_db: Database) -> None:
    async with every_db.connection() as connection:
        statement = await connection.prepare("SELECT $1::int + 1")
        await connection.fetchval("SELECT 2")
        await connection.execute('PREPARE "odd "" name" AS SELECT 1')
        before = await own_statements(connection)
        await full_reset(connection)
        assert await own_statements(connection) == before
        assert len(before) >= 2
        assert await statement.fetchval(1) == 2
        assert await connection.fetchval("SELECT 2") == 2
        assert (
            await connection.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE from_sql")
            == 0
        )


async def test_settings_of_the_start_come_back(db: Database, conn: Connection) -> None:
    await conn.execute("CREATE ROLE tuned LOGIN; ALTER ROLE tuned SET work_mem = '33MB'")
    start = {"search_path": "pg_catalog", "application_name": "shop", "jit": "off"}
    connection = await db.connect("tuned", server_settings=start)
    await connection.execute("SET search_path = x; SET application_name = y; SET jit = on")
    await connection.execute("SET work_mem = '1MB'")
    await full_reset(connection)
    for name, value in [*start.items(), ("work_mem", "33MB")]:
        assert await connection.fetchval("SELECT current_setting($1)", name) == value
    await connection.close()


async def test_a_role_of_the_start_comes_back(db: Database, conn: Connection) -> None:
    await conn.execute("CREATE ROLE worker; CREATE ROLE front LOGIN; GRANT worker TO front")
    await conn.execute("ALTER ROLE front SET role = worker")
    connection = await db.connect("front")
    assert await connection.fetchval("SELECT current_user") == "worker"
    await connection.execute("SET ROLE none")
    await full_reset(connection)
    assert await connection.fetchval("SELECT current_user") == "worker"
    await connection.close()
    await conn.execute("DROP ROLE front; DROP ROLE worker")


@pytest.mark.parametrize("how", ["BEGIN", "BEGIN; SELECT 1/0", "BEGIN; SET LOCAL ROLE plain"])
async def test_an_open_transaction_is_rolled_back(db: Database, conn: Connection, how: str) -> None:
    await conn.execute("CREATE TABLE t (a int)")
    connection = await db.connect()
    try:
        await connection.execute("BEGIN; INSERT INTO t VALUES (1)")
        await connection.execute(how.removeprefix("BEGIN; "))
    except asyncpg.PostgresError:
        pass
    await full_reset(connection)
    assert not connection.is_in_transaction()
    assert await connection.fetchval("SELECT count(*) FROM t") == 0
    await connection.close()


async def test_a_role_without_any_rights(every_db: Database) -> None:
    """Neither temporary tables nor PL/pgSQL."""
    await every_db.execute(
        "REVOKE ALL ON LANGUAGE plpgsql FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC;"
        f"REVOKE ALL ON DATABASE {every_db.name} FROM PUBLIC;"
        f"GRANT CONNECT ON DATABASE {every_db.name} TO plain"
    )
    async with every_db.connection("plain") as connection:
        await connection.execute("PREPARE left_behind AS SELECT 1; SET work_mem = '77MB'; BEGIN")
        await full_reset(connection)
        assert (
            await connection.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE from_sql")
            == 0
        )
        assert await connection.fetchval("SHOW work_mem") != "77MB"


async def test_a_database_without_plpgsql(db: Database, conn: Connection) -> None:
    await conn.execute("DROP EXTENSION plpgsql; PREPARE left_behind AS SELECT 1")
    await full_reset(conn)
    assert await conn.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE from_sql") == 0


async def test_on_a_standby(primary_standby: Pair) -> None:
    connection = await asyncpg.connect(primary_standby.standby.dsn("postgres"))
    seeded: set[float] = set()
    await connection.execute("DO $$ BEGIN END $$")
    fresh = await probe(connection, seeded)
    assert await connection.fetchval("SELECT pg_is_in_recovery()")
    await connection.execute(
        "SET work_mem = '77MB'; PREPARE left_behind AS SELECT 1; SELECT pg_advisory_lock(1);"
        "SET ROLE plain; BEGIN"
    )
    await connection.execute("DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT; BEGIN")
    await full_reset(connection)
    assert await probe(connection, seeded) == fresh
    judge = Judge()
    await judge.refresh(connection)
    assert judge.is_clean("SELECT lower('x'), count(*) FROM pg_class")
    await connection.close()


async def test_a_plan_made_under_a_setting_does_not_outlive_it(conn: Connection) -> None:
    """A generic plan of asyncpg's statement is made anew."""
    await conn.execute(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10000);"
        "ANALYZE t; SET plan_cache_mode = force_generic_plan;"
        "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off"
    )
    statement = await conn.prepare("SELECT count(*) FROM t WHERE id = $1")
    await statement.fetchval(1)
    await full_reset(conn)
    await conn.execute("SET plan_cache_mode = force_generic_plan")
    async with conn.transaction():
        before = await conn.fetchval("SELECT pg_stat_get_xact_numscans('t'::regclass)")
        await statement.fetchval(1)
        after = await conn.fetchval("SELECT pg_stat_get_xact_numscans('t'::regclass)")
    assert after == before
