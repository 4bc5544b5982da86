"""Risky settings and checkpoints: each fault planted, found, fixed as printed, and gone."""

from __future__ import annotations

import asyncpg
import pytest
from planted import apply, eventually, find, run, verdicts

from filban.cluster import Cluster, throwaway
from filban.finding import Severity
from filban.tune import CHECKS
from filban.tune.settings import RISKS

SAFE = {"fsync": True}


async def until_gone(cluster: Cluster, code: str, **limits: float) -> None:
    async def gone():
        return not await find(cluster.dsn(), CHECKS, code, **limits)

    await eventually(gone)


@pytest.mark.parametrize("name", RISKS)
async def test_a_setting_that_must_be_on(control_cluster, name):
    control_cluster.configure({name: False})
    await control_cluster.reload()

    async def seen():
        return await find(control_cluster.dsn(), CHECKS, f"setting.{name}_off")

    try:
        [found] = await eventually(seen)
        assert found.subject == name
        assert found.severity >= Severity.warning
        assert await verdicts(control_cluster.dsn(), CHECKS) == {(found.code, name)}
        await apply(control_cluster, control_cluster.dsn(), found.fix)
        await until_gone(control_cluster, found.code)
    finally:
        control_cluster.configure({name: None if name != "fsync" else True})
        await control_cluster.reload()


@pytest.mark.parametrize(
    "plant",
    [
        "ALTER DATABASE {database} SET track_activities = off",
        "ALTER ROLE postgres SET track_activities = off",
        "ALTER ROLE postgres IN DATABASE {database} SET track_activities = off",
    ],
)
async def test_a_setting_of_a_database_or_a_role_is_reset_there(control, plant):
    await control.execute(plant.format(database=control.name))
    try:
        [found] = await find(control.dsn, CHECKS, "setting.track_activities_off")
        assert "RESET" in found.fix.sql
        await apply(control.cluster, control.dsn, found.fix)
        assert not await find(control.dsn, CHECKS, "setting.track_activities_off")
    finally:
        await control.execute("ALTER ROLE postgres RESET track_activities")


async def test_a_setting_that_waits_for_a_restart(majors):
    async with throwaway(binaries=majors[15], settings=SAFE) as cluster:
        connection = await asyncpg.connect(cluster.dsn())
        await connection.execute("ALTER SYSTEM SET max_connections = 60")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()

        async def seen():
            return await find(cluster.dsn(), CHECKS, "setting.pending_restart")

        [found] = await eventually(seen)
        assert (found.subject, found.severity) == ("max_connections", Severity.info)
        assert "Restart" in found.fix.advice
        await cluster.restart()
        assert not await seen()


async def test_a_large_table_without_autovacuum(every_db):
    limits = {"table_autovacuum_off_minimum_bytes": 8192.0}
    await every_db.execute(
        'CREATE TABLE "Big one" (a int) WITH (autovacuum_enabled = false);'
        'INSERT INTO "Big one" SELECT generate_series(1, 1000);'
        "CREATE TABLE small (a int) WITH (autovacuum_enabled = false);"
        "CREATE TABLE on_ (a int) WITH (autovacuum_enabled = true, fillfactor = 90)"
    )
    await every_db.execute("ANALYZE")
    [found] = await find(every_db.dsn, CHECKS, "setting.table_autovacuum_off", **limits)
    assert (found.subject, found.severity) == ("public.Big one", Severity.warning)
    assert not await find(every_db.dsn, CHECKS, "setting.table_autovacuum_off")
    await apply(every_db.cluster, every_db.dsn, found.fix)
    assert not await find(every_db.dsn, CHECKS, "setting.table_autovacuum_off", **limits)


@pytest.mark.parametrize("major", [15, 18])
async def test_checkpoints_that_wal_forces(majors, cluster_of, major):
    """The smallest max_wal_size, and several times as much WAL."""
    cluster_of(major)  # names what is missing
    small = {"max_wal_size": "32MB", "min_wal_size": "32MB", **SAFE, "fsync": False}
    async with throwaway(binaries=majors[major], settings=small) as cluster:
        connection = await asyncpg.connect(cluster.dsn())
        await connection.execute("CREATE TABLE t (a text)")
        shared = ("checkpointer", "wal") if major >= 17 else ("bgwriter", "wal")
        for target in shared:  # the template that clusters are copied from may be old
            await connection.execute("SELECT pg_stat_reset_shared($1)", target)
        view = "pg_stat_checkpointer" if major >= 17 else "pg_stat_bgwriter"
        column = "num_requested" if major >= 17 else "checkpoints_req"

        async def enough():
            await connection.execute(
                "INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 30000)"
            )
            return await connection.fetchval(f"SELECT {column} >= 3 FROM {view}")

        await eventually(enough)
        await connection.execute("TRUNCATE t")
        limits = {"checkpoint_minimum_window_seconds": 0.0, "checkpoint_minimum_count": 2.0}
        code = "checkpoint.too_frequent"

        async def seen():
            return await find(cluster.dsn(), CHECKS, code, **limits)

        [found] = await eventually(seen)
        assert found.subject == "max_wal_size"
        assert not await find(cluster.dsn(), CHECKS, code)  # not an hour yet
        await apply(cluster, cluster.dsn(), found.fix)
        await until_gone(cluster, code, **limits)
        await connection.close()


async def test_checkpoints_by_hand_are_not_the_fault_of_wal(majors):
    async with throwaway(binaries=majors[15]) as cluster:
        connection = await asyncpg.connect(cluster.dsn())
        for _ in range(15):
            await connection.execute("CHECKPOINT")
        limits = {"checkpoint_minimum_window_seconds": 0.0}
        assert not await find(cluster.dsn(), CHECKS, "checkpoint.too_frequent", **limits)
        await connection.close()


async def test_a_role_without_rights_sees_these_settings(control, control_cluster):
    control_cluster.configure({"full_page_writes": False})
    await control_cluster.reload()

    async def seen():
        findings, hidden = await run(control.dsn_as("plain"), CHECKS)
        assert hidden == []
        return {f.code for f in findings} == {"setting.full_page_writes_off"}

    try:
        await eventually(seen)
    finally:
        control_cluster.configure({"full_page_writes": None})
        await control_cluster.reload()


async def test_nothing_to_say_of_a_healthy_server_or_a_standby(control, primary_standby):
    assert await verdicts(control.dsn, CHECKS) == set()
    standby = primary_standby.standby.dsn()
    assert await verdicts(standby, CHECKS) <= {("setting.fsync_off", "fsync")}
