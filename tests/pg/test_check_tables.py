"""Statistics, dead rows, bloat, cache: each fault planted, found, fixed as printed, and gone."""

from __future__ import annotations

import asyncpg
from planted import apply, eventually, find, run, verdicts

from filban.cluster import throwaway
from filban.finding import Severity
from filban.health.tables import CHECKS

OFF = "WITH (autovacuum_enabled = false)"


async def settled(db, table: str, condition: str) -> None:
    """Wait until the cumulative statistics say so: a backend sends them at its end."""

    async def there():
        return await db.fetchval(
            f"SELECT {condition} FROM pg_stat_all_tables WHERE relid = $1::regclass", table
        )

    await eventually(there)


async def fixed(db, code: str, subject: str, **limits: float) -> None:
    [found] = await find(db.dsn, CHECKS, code, **limits)
    assert (found.subject, found.severity) == (subject, Severity.warning)
    assert await verdicts(db.dsn, CHECKS, **limits) == {(code, subject)}
    await apply(db.cluster, db.dsn, found.fix)

    async def gone():
        return await verdicts(db.dsn, CHECKS, **limits) == set()

    await eventually(gone)


async def filled(db, table: str = "t", rows: int = 5000, *, analyse: bool = True) -> None:
    """ANALYZE by itself: in one transaction the rows would count as changed after it."""
    await db.execute(
        f"CREATE TABLE {table} (a int) {OFF};INSERT INTO {table} SELECT generate_series(1, {rows})"
    )
    await settled(db, table, f"n_live_tup >= {rows}")
    if analyse:
        await db.execute(f"VACUUM ANALYZE {table}")
        await settled(db, table, "n_mod_since_analyze = 0 AND analyze_count > 0")


async def test_a_table_that_was_never_analysed(every_db):
    await filled(every_db, '"My table"', analyse=False)
    await every_db.execute('CREATE INDEX ON "My table" (a)')  # which sets reltuples
    await filled(every_db, "other")
    await fixed(every_db, "vacuum.stale_statistics", "public.My table")


async def test_a_partitioned_table_is_never_analysed_by_autovacuum(every_db):
    await every_db.execute(
        f"CREATE TABLE t (a int) PARTITION BY LIST (a); "
        f"CREATE TABLE t1 PARTITION OF t DEFAULT {OFF};"
        "INSERT INTO t SELECT generate_series(1, 5000)"
    )
    await settled(every_db, "t1", "n_live_tup >= 5000")
    await every_db.execute("ANALYZE t1")
    await settled(every_db, "t1", "n_mod_since_analyze = 0 AND analyze_count > 0")
    await fixed(every_db, "vacuum.stale_statistics", "public.t")


async def test_statistics_that_are_out_of_date(every_db):
    await filled(every_db)
    assert await verdicts(every_db.dsn, CHECKS) == set()
    await every_db.execute("INSERT INTO t SELECT generate_series(1, 5000)")
    await settled(every_db, "t", "n_mod_since_analyze >= 5000")
    # autovacuum, which comes once a minute, had no time for it yet
    assert await verdicts(every_db.dsn, CHECKS, stale_minimum_seconds=600.0) == set()
    await fixed(every_db, "vacuum.stale_statistics", "public.t", stale_minimum_seconds=0.0)


async def test_a_restored_database_needs_one_analyze(db):
    tables = 25
    await db.execute(
        "".join(
            f"CREATE TABLE t{n} (a int) {OFF}; INSERT INTO t{n} SELECT generate_series(1, 1500);"
            for n in range(tables)
        )
    )
    await settled(db, f"t{tables - 1}", "n_live_tup >= 1500")
    [found] = await find(db.dsn, CHECKS, "vacuum.stale_statistics")
    assert found.evidence["tables"].value == tables
    assert found.fix.sql == "ANALYZE;"
    await fixed(db, "vacuum.stale_statistics", f"database {db.name}")


async def test_statistics_lost_in_an_upgrade_are_missed_although_nothing_changed(db):
    """What pg_upgrade leaves: row counts in pg_class, no counters, no column statistics."""
    await filled(db)
    await db.execute("DELETE FROM pg_statistic WHERE starelid = 't'::regclass")
    await db.execute("SELECT pg_stat_reset_single_table_counters('t'::regclass)")
    await settled(db, "t", "last_analyze IS NULL")
    await fixed(db, "vacuum.stale_statistics", "public.t")


async def test_counters_lost_in_a_crash_are_not_a_fault(db):
    await filled(db)
    await db.execute("SELECT pg_stat_reset_single_table_counters('t'::regclass)")
    await settled(db, "t", "last_analyze IS NULL")
    assert await verdicts(db.dsn, CHECKS) == set()


async def test_dead_rows(every_db):
    await every_db.execute(
        f"CREATE TABLE t (a int, b int) {OFF}; INSERT INTO t SELECT g, 0 FROM"
        " generate_series(1, 20000) g; CREATE INDEX ON t (b)"
    )
    await every_db.execute("VACUUM ANALYZE t")
    await every_db.execute("UPDATE t SET b = 1")
    await settled(every_db, "t", "n_dead_tup >= 20000")
    await every_db.execute("ANALYZE t")
    await settled(every_db, "t", "n_dead_tup >= 20000 AND n_mod_since_analyze = 0")
    await fixed(every_db, "vacuum.dead_tuples", "public.t")


async def test_a_bloated_table(every_db):
    await every_db.execute(
        f"CREATE TABLE t (id int, body text) {OFF};"
        "INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 20000) g"
    )
    limits = {"bloat_warning_wasted_bytes": 1024.0**2}
    await every_db.execute("VACUUM ANALYZE t")
    assert await verdicts(every_db.dsn, CHECKS, **limits) == set()
    await every_db.execute("DELETE FROM t WHERE id % 10 <> 0")
    await every_db.execute("VACUUM ANALYZE t")
    await settled(every_db, "t", "n_dead_tup = 0 AND n_mod_since_analyze = 0")
    [found] = await find(every_db.dsn, CHECKS, "bloat.table", **limits)
    exact = await every_db.fetchval("SELECT sum(pg_column_size(t.*) + 4) FROM t")
    assert abs(found.evidence["needed_estimate"].value - exact) < 0.2 * exact
    assert found.fix.lock == "ACCESS EXCLUSIVE"
    await fixed(every_db, "bloat.table", "public.t", **limits)


async def test_a_low_fillfactor_is_not_bloat(db):
    await db.execute(
        "CREATE TABLE t (id int, body text) WITH (fillfactor = 30);"
        "INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 20000) g; ANALYZE t"
    )
    assert not await find(db.dsn, CHECKS, "bloat.table", bloat_warning_wasted_bytes=1024.0**2)


async def test_a_cache_that_is_too_small_for_its_work(majors):
    """shared_buffers of 16 MB and a table half as large again; the advice is followed."""
    async with throwaway(binaries=majors[15], settings={"shared_buffers": "16MB"}) as cluster:
        dsn = cluster.dsn()
        limits = {"cache_minimum_reads": 1000.0}
        connection = await asyncpg.connect(dsn)
        await connection.execute(
            "CREATE TABLE t AS SELECT g, repeat('x', 1000) FROM generate_series(1, 24000) g"
        )
        await connection.execute("VACUUM ANALYZE t")
        await connection.close()

        async def work(times: int) -> None:
            """Scans of a cache as warm as it gets, counted from then on."""
            worker, watcher = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
            await worker.execute("SELECT count(*) FROM t")
            await worker.execute("SELECT pg_stat_clear_snapshot(), pg_stat_force_next_flush()")
            await worker.execute("SELECT pg_stat_reset()")
            pages = await worker.fetchval("SELECT relpages FROM pg_class WHERE relname = 't'")
            for _ in range(times):
                await worker.execute("SELECT count(*) FROM t")
            await worker.close()

            async def counted():
                return await watcher.fetchval(
                    "SELECT blks_hit + blks_read >= $1 FROM pg_stat_database"
                    " WHERE datname = current_database()",
                    pages * times,
                )

            await eventually(counted)
            await watcher.close()

        await work(10)
        [found] = await find(dsn, CHECKS, "cache.hit_ratio", **limits)
        assert (found.subject, found.severity) == ("shared_buffers", Severity.warning)
        assert found.evidence["shared_buffers"].value == 16 * 1024**2
        assert "shared_buffers" in found.fix.advice
        assert not await find(dsn, CHECKS, "cache.hit_ratio")  # too small a sample
        cluster.configure({"shared_buffers": "128MB"})
        await cluster.restart()
        await work(10)
        assert not await find(dsn, CHECKS, "cache.hit_ratio", cache_minimum_reads=1.0)


async def test_a_role_without_rights_is_told_what_is_hidden(db, plain_dsn):
    await db.execute(
        f"CREATE TABLE t (id int, body text) {OFF};"
        "INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 20000) g"
    )
    await db.execute("VACUUM ANALYZE t")
    await db.execute("SELECT pg_stat_reset_single_table_counters('t'::regclass)")
    await settled(db, "t", "last_analyze IS NULL")
    findings, hidden = await run(plain_dsn, CHECKS, bloat_warning_wasted_bytes=1.0)
    assert findings == []
    assert "whether the planner knows 1 table" in {h.what for h in hidden}
    assert any(h.what.startswith("the bloat of ") for h in hidden)
    await db.execute("GRANT SELECT ON t TO plain")
    _, hidden = await run(plain_dsn, CHECKS)
    assert hidden == []


async def test_healthy_tables_and_a_standby_have_no_verdict(every_db, primary_standby):
    await every_db.execute(
        "CREATE TABLE t (a int PRIMARY KEY, b text);"
        "INSERT INTO t SELECT g, 'x' || g FROM generate_series(1, 5000) g"
    )
    await every_db.execute("ANALYZE")
    await settled(every_db, "t", "n_mod_since_analyze = 0 AND analyze_count > 0")
    assert await verdicts(every_db.dsn, CHECKS) == set()
    assert await verdicts(primary_standby.standby.dsn(), CHECKS) == set()
