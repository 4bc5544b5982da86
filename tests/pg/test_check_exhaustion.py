"""Counters that run out: each fault planted, found, fixed as printed, and gone."""

from __future__ import annotations

import contextlib

import asyncpg
import pytest
from planted import apply, find, run, verdicts

from filban.cluster import run_program, throwaway
from filban.finding import Severity
from filban.health.exhaustion import CHECKS

INT_END = 2**31 - 1


async def sequence_is_found_and_fixed(db, name: str, severity: Severity) -> None:
    [found] = await find(db.dsn, CHECKS, "sequence.exhaustion")
    assert (found.subject, found.severity) == (name, severity)
    assert await verdicts(db.dsn, CHECKS) == {("sequence.exhaustion", name)}
    await apply(db.cluster, db.dsn, found.fix)
    assert await verdicts(db.dsn, CHECKS) == set()


async def test_a_serial_near_its_end(every_db):
    await every_db.execute("CREATE TABLE t (id serial PRIMARY KEY)")
    await every_db.execute(f"SELECT setval('t_id_seq', {INT_END - 1000})")
    [found] = await find(every_db.dsn, CHECKS, "sequence.exhaustion")
    assert found.evidence["left"].value == 1000
    assert found.fix.lock == "ACCESS EXCLUSIVE"
    await sequence_is_found_and_fixed(every_db, "public.t_id_seq", Severity.critical)
    assert await every_db.fetchval("INSERT INTO t DEFAULT VALUES RETURNING id") == INT_END - 999


async def test_an_identity_column_near_its_end(every_db):
    await every_db.execute('CREATE TABLE "T x" ("Id" smallint GENERATED ALWAYS AS IDENTITY)')
    await every_db.execute("""SELECT setval('"T x_Id_seq"', 29000)""")
    await sequence_is_found_and_fixed(every_db, "public.T x_Id_seq", Severity.warning)


async def test_a_column_narrower_than_its_sequence(every_db):
    await every_db.execute("CREATE SEQUENCE wide; CREATE TABLE t (id int DEFAULT nextval('wide'))")
    await every_db.execute(f"SELECT setval('wide', {INT_END - 5})")
    [found] = await find(every_db.dsn, CHECKS, "sequence.exhaustion")
    assert found.evidence["column"].value == "public.t.id"
    await sequence_is_found_and_fixed(every_db, "public.wide", Severity.critical)


async def test_a_column_narrower_than_a_sequence_that_cycles(db):
    await db.execute("CREATE SEQUENCE wide CYCLE; CREATE TABLE t (id int DEFAULT nextval('wide'))")
    await db.execute(f"SELECT setval('wide', {INT_END - 5})")
    await sequence_is_found_and_fixed(db, "public.wide", Severity.critical)


async def test_a_sequence_with_a_limit_of_its_own(every_db):
    await every_db.execute("CREATE SEQUENCE tickets MAXVALUE 1000")
    await every_db.execute("SELECT setval('tickets', 900)")
    await sequence_is_found_and_fixed(every_db, "public.tickets", Severity.warning)


async def test_a_descending_sequence(every_db):
    await every_db.execute("CREATE SEQUENCE down AS smallint INCREMENT -1")
    await every_db.execute("SELECT setval('down', -32000)")
    await sequence_is_found_and_fixed(every_db, "public.down", Severity.critical)


async def test_what_goes_round_is_not_a_fault(db):
    await db.execute("CREATE SEQUENCE round MAXVALUE 100 CYCLE; SELECT setval('round', 100)")
    assert await verdicts(db.dsn, CHECKS) == set()


async def key_is_found_and_fixed(db, name: str) -> None:
    [found] = await find(db.dsn, CHECKS, "key.exhaustion")
    assert found.subject == name
    assert await verdicts(db.dsn, CHECKS) == {("key.exhaustion", name)}
    await apply(db.cluster, db.dsn, found.fix)
    assert await verdicts(db.dsn, CHECKS) == set()


async def test_a_key_without_a_sequence(every_db):
    await every_db.execute(
        "CREATE TABLE t (id int PRIMARY KEY);"
        f"INSERT INTO t SELECT {INT_END} - g FROM generate_series(1, 500) g; ANALYZE t"
    )
    await key_is_found_and_fixed(every_db, "public.t.id")


async def test_a_foreign_key_narrower_than_the_key(every_db):
    await every_db.execute(
        "CREATE TABLE t (id bigint PRIMARY KEY); CREATE TABLE c (t_id int REFERENCES t);"
        f"INSERT INTO t VALUES ({INT_END - 10}), (1);"
        f"INSERT INTO c SELECT CASE WHEN g < 90 THEN 1 ELSE {INT_END - 10} END"
        " FROM generate_series(1, 100) g; ANALYZE"
    )
    await key_is_found_and_fixed(every_db, "public.c.t_id")


async def partitioned(db, key: str) -> None:
    await db.execute(
        f"CREATE TABLE t (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE ({key});"
        f"CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO ({INT_END});"
        f"INSERT INTO t SELECT {INT_END} - g, 1 FROM generate_series(1, 500) g; ANALYZE t1"
    )


async def test_a_key_of_a_partitioned_table(every_db):
    await partitioned(every_db, "day")
    await key_is_found_and_fixed(every_db, "public.t.id")


async def test_a_partition_key_cannot_be_widened_in_place(db):
    await partitioned(db, "id")
    [found] = await find(db.dsn, CHECKS, "key.exhaustion")
    assert not found.fix.sql
    assert "partition key" in found.fix.advice
    await db.execute("CREATE SEQUENCE s; ALTER TABLE t ALTER id SET DEFAULT nextval('s')")
    await db.execute(f"SELECT setval('s', {INT_END - 1})")
    [found] = await find(db.dsn, CHECKS, "sequence.exhaustion")
    assert "partition key" in found.fix.advice
    assert not await find(db.dsn, CHECKS, "key.exhaustion")


async def test_a_key_of_hashes_spread_over_the_whole_range_is_not_a_fault(db):
    await db.execute(
        "CREATE TABLE t (h int UNIQUE);"
        "INSERT INTO t SELECT DISTINCT hashint4(g) FROM generate_series(1, 5000) g; ANALYZE t"
    )
    assert await verdicts(db.dsn, CHECKS) == set()


async def test_a_role_without_rights_is_told_what_is_hidden(db, plain_dsn):
    await db.execute("CREATE TABLE t (id serial PRIMARY KEY)")
    await db.execute(f"SELECT setval('t_id_seq', {INT_END})")
    findings, hidden = await run(plain_dsn, CHECKS)
    assert not findings
    assert {"the position of 1 sequence", "the highest value of 1 integer key"} == {
        h.what for h in hidden
    }
    await db.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO plain")
    [found] = await find(plain_dsn, CHECKS, "sequence.exhaustion")
    assert found.subject == "public.t_id_seq"


async def test_a_sequence_that_a_migration_holds_locked_keeps_nobody_waiting(db):
    await db.execute("CREATE SEQUENCE s MAXVALUE 10; SELECT setval('s', 10)")
    await db.execute("CREATE SEQUENCE other MAXVALUE 10; SELECT setval('other', 10)")
    async with db.connection() as migration:
        await migration.execute("BEGIN; ALTER SEQUENCE s MAXVALUE 20")
        findings, hidden = await run(db.dsn, CHECKS)
        assert [f.subject for f in findings] == ["public.other"]
        assert [h.what for h in hidden] == ["the position of 1 sequence"]


@contextlib.asynccontextmanager
async def aged(majors, major: int, kind: str, next_id: int):
    """A cluster whose next transaction (or multixact) id has been moved ahead by pg_resetwal."""
    never = {  # or autovacuum would be there before us, even when it is off
        "autovacuum_freeze_max_age": 2_000_000_000,
        "autovacuum_multixact_freeze_max_age": 2_000_000_000,
    }
    async with throwaway(binaries=majors[major], settings=never) as cluster:
        connection = await asyncpg.connect(cluster.dsn())
        await connection.execute("CREATE TABLE t AS SELECT g FROM generate_series(1, 10) g")
        await connection.execute("CREATE DATABASE \"odd = 'name'\"")
        await connection.close()
        await cluster.stop()
        reset = cluster.binaries.program("pg_resetwal")
        # the segment of the commit log (members' offsets) that the new id will be looked up in
        folder, per_segment = ("pg_xact", 4 * 8192 * 32) if kind == "xid" else (
            "pg_multixact/offsets", 2048 * 32,
        )  # fmt: skip
        segment = f"{next_id // per_segment:04X}"
        options = ("-x", str(next_id)) if kind == "xid" else ("-m", f"{next_id},1")
        await run_program(
            "/bin/bash", "-ec",
            f"head -c 262144 /dev/zero > '{cluster.data_dir}/{folder}/{segment}'",
            as_owner_of=cluster.data_dir,
        )  # fmt: skip
        await run_program(reset, "-f", *options, "-D", cluster.data_dir,
                          as_owner_of=cluster.data_dir)  # fmt: skip
        await cluster.start()
        yield cluster


@pytest.mark.parametrize(
    ("kind", "ahead", "severity"),
    [
        ("xid", 1_100_000_000, Severity.warning),
        ("xid", 1_900_000_000, Severity.critical),
        ("multixact", 1_100_000_000, Severity.warning),
    ],
)
async def test_wraparound_for_real(majors, kind, ahead, severity):
    async with aged(majors, 15, kind, ahead) as cluster:
        code = f"wraparound.{kind}"
        assert "postgres" in {f.subject for f in await find(cluster.dsn(), CHECKS, code)}
        for _ in range(4):  # template0 last: shared catalogs count for every database
            found = {f.subject: f for f in await find(cluster.dsn(), CHECKS, code)}
            for finding in found.values():
                assert finding.severity == severity
                await apply(cluster, cluster.dsn(), finding.fix)
            if not found:
                break
            assert set(found) <= {
                "postgres", "template1", "template0", "odd = 'name'",
            }  # fmt: skip
        assert await verdicts(cluster.dsn(), CHECKS) == set()


async def test_a_few_old_tables_are_vacuumed_by_name(majors):
    """autovacuum_freeze_max_age at its smallest, and more transactions than that."""
    settings = {"autovacuum": False, "autovacuum_freeze_max_age": 100_000}
    async with throwaway(binaries=majors[15], settings=settings) as cluster:
        connection = await asyncpg.connect(cluster.dsn())
        await connection.execute('CREATE TABLE "Old table" AS SELECT 1 AS a')
        await connection.execute(
            "CREATE PROCEDURE burn(n int) LANGUAGE plpgsql AS $$BEGIN FOR i IN"
            " 1..n LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END$$"
        )
        await connection.execute("SET synchronous_commit = off")
        await connection.execute("CALL burn(40000)")
        for catalog in await connection.fetch(
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND oid < 16384"
        ):
            await connection.execute(f"VACUUM (FREEZE) {catalog['name']}")
        await connection.execute("CALL burn(15000)")
        [found] = [
            f for f in await find(
                cluster.dsn(), CHECKS, "wraparound.xid", wraparound_autovacuum_ratio=0.5
            ) if f.subject == "postgres"
        ]  # fmt: skip
        await connection.close()
        assert found.evidence["oldest_table"].value == "public.Old table"
        assert 'VACUUM (FREEZE) public."Old table";' in found.fix.sql
        await apply(cluster, cluster.dsn(), found.fix)
        left = await find(cluster.dsn(), CHECKS, "wraparound.xid", wraparound_autovacuum_ratio=0.5)
        assert "postgres" not in {f.subject for f in left}


async def test_fresh_databases_and_standbys_have_no_verdict(every_db, primary_standby):
    await every_db.execute("CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t DEFAULT VALUES")
    assert await verdicts(every_db.dsn, CHECKS) == set()
    assert await verdicts(primary_standby.standby.dsn(), CHECKS) == set()
