"""Receivers, slots, standbys: each fault planted, found, fixed as printed, and gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import asyncpg
import pytest
from planted import apply, eventually, find, run

from filban.cluster import throwaway
from filban.finding import Severity
from filban.replication import CHECKS


async def execute(cluster, sql: str) -> None:
    """Each statement in a transaction of its own, as ALTER SYSTEM wants it."""
    connection = await asyncpg.connect(cluster.dsn())
    try:
        for statement in filter(None, map(str.strip, sql.split(";"))):
            await connection.execute(statement)
    finally:
        await connection.close()


async def fetchval(cluster, sql: str):
    connection = await asyncpg.connect(cluster.dsn())
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def write(cluster, megabytes: int = 1) -> None:
    """So much WAL, and nothing else that stays."""
    await execute(
        cluster,
        f"SELECT pg_logical_emit_message(false, 'filban', repeat('x', {megabytes} * 1024 * 1024))",
    )


async def codes(cluster, **limits: float) -> set[tuple[str, str]]:
    findings, _ = await run(cluster.dsn(), CHECKS, **limits)
    return {(f.code, f.subject) for f in findings}


async def streams(pair) -> bool:
    sql = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    return bool(await fetchval(pair.primary, sql))


def seen(cluster, code: str, **limits: float):
    return lambda: find(cluster.dsn(), CHECKS, code, **limits)


def gone(cluster, code: str, **limits: float):
    async def check() -> bool:
        return not await find(cluster.dsn(), CHECKS, code, **limits)

    return check


# a primary with its standby


async def test_a_pair_in_health_has_no_finding(primary_standby):
    pair = primary_standby
    await eventually(lambda: streams(pair))

    async def quiet():
        return await codes(pair.primary) == await codes(pair.standby) == set()

    await eventually(quiet)
    for cluster in (pair.primary, pair.standby):
        assert not (await run(cluster.dsn(), CHECKS))[1]


async def test_a_paused_replay_is_seen_from_both_ends(primary_standby):
    pair = primary_standby
    await eventually(lambda: streams(pair))
    limits = {"replication_lag_warning_bytes": 2.0 * 1024**2}
    await execute(pair.standby, "SELECT pg_wal_replay_pause()")
    await write(pair.primary, 3)
    [lag] = await eventually(seen(pair.primary, "replication.lag", **limits))

    async def all_received():
        [lag] = await find(pair.primary.dsn(), CHECKS, "replication.lag", **limits)
        return lag.evidence["not_flushed"].value == 0

    await eventually(all_received)
    [lag] = await find(pair.primary.dsn(), CHECKS, "replication.lag", **limits)
    assert lag.severity == Severity.warning
    assert lag.evidence["behind"].value > 2 * 1024**2
    assert "is not replayed" in lag.why
    [worse] = await find(
        pair.primary.dsn(), CHECKS, "replication.lag", **limits, replication_lag_critical_bytes=1.0
    )
    assert worse.severity == Severity.critical
    assert not await find(pair.primary.dsn(), CHECKS, "replication.lag")
    assert {c for c, _ in await codes(pair.standby, **limits)} == {
        "replication.replay_paused",
        "replication.lag",
    }
    [paused] = await find(pair.standby.dsn(), CHECKS, "replication.replay_paused")
    assert paused.evidence["waiting"].value > 2 * 1024**2
    await apply(pair.standby, pair.standby.dsn(), paused.fix)
    await eventually(gone(pair.standby, "replication.replay_paused"))
    await eventually(gone(pair.standby, "replication.lag", **limits))
    await eventually(gone(pair.primary, "replication.lag", **limits))


async def test_a_frozen_receiver_is_heard_no_more(primary_standby):
    """Received minus replayed is zero all the while."""
    pair = primary_standby
    await eventually(lambda: streams(pair))
    pid = await fetchval(pair.standby, "SELECT pid FROM pg_stat_wal_receiver")
    limits = {"replication_silent_seconds": 1.5}
    os.kill(pid, signal.SIGSTOP)
    try:
        [found] = await eventually(seen(pair.standby, "replication.lag", **limits))
        assert found.evidence["receiver_pid"].value == pid
        assert not await find(pair.standby.dsn(), CHECKS, "replication.lag")
    finally:
        os.kill(pid, signal.SIGCONT)

    async def heard():
        await write(pair.primary)
        return not await find(pair.standby.dsn(), CHECKS, "replication.lag", **limits)

    await eventually(heard)


async def test_a_standby_without_a_receiver(primary_standby):
    pair = primary_standby
    await eventually(lambda: streams(pair))
    await pair.primary.stop()
    try:
        [found] = await eventually(seen(pair.standby, "replication.receiver_down"))
        assert found.severity == Severity.critical
        plain = pair.standby.dsn(user="plain")
        findings, hidden = await run(plain, CHECKS)
        assert [f.code for f in findings] == []
        assert [h.remedy for h in hidden] == ["grant pg_read_all_settings"]
    finally:
        await pair.primary.start()
    await eventually(gone(pair.standby, "replication.receiver_down"))


async def test_a_role_without_rights_does_not_see_how_far_anybody_is(primary_standby):
    pair = primary_standby
    await eventually(lambda: streams(pair))
    findings, hidden = await run(pair.primary.dsn(user="plain"), CHECKS)
    assert findings == []
    assert [(h.what, h.remedy) for h in hidden] == [
        ("how far 1 receivers of WAL are behind, and whether commits wait for one",
         "grant pg_monitor")
    ]  # fmt: skip
    _, hidden = await run(pair.standby.dsn(user="plain"), CHECKS)
    assert [h.what for h in hidden] == ["when the primary was last heard from"]


# commits that wait


@pytest.mark.parametrize("major", [15, 18])
async def test_commits_that_wait_for_nobody(majors, major):
    async with throwaway(binaries=majors[major]) as cluster:
        await execute(
            cluster,
            "ALTER SYSTEM SET synchronous_standby_names = 'ANY 2 (a, b, c)';"
            "SELECT pg_reload_conf()",
        )
        committing = await asyncpg.connect(cluster.dsn())

        async def hangs():
            return await fetchval(
                cluster, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )

        async def setting_is_read():
            return await fetchval(cluster, "SHOW synchronous_standby_names")

        await eventually(setting_is_read)
        task = asyncio.create_task(committing.execute("CREATE TABLE t ()"))
        await eventually(hangs)
        [found] = await find(cluster.dsn(), CHECKS, "replication.sync_missing")
        assert found.severity == Severity.critical
        assert {k: v.value for k, v in found.evidence.items()} == {
            "wanted": 2, "connected": 0, "receivers": 0, "waiting_commits": 1,
            "synchronous_standby_names": "ANY 2 (a, b, c)",
        }  # fmt: skip
        await apply(cluster, cluster.dsn(), found.fix)
        await task
        await eventually(gone(cluster, "replication.sync_missing"))
        await committing.close()


async def test_commits_that_do_not_wait(majors):
    settings = {"synchronous_standby_names": "a", "synchronous_commit": "local"}
    async with throwaway(binaries=majors[15], settings=settings) as cluster:
        assert await codes(cluster) == set()


async def test_a_synchronous_standby_that_is_there(primary_standby):
    pair = primary_standby
    await eventually(lambda: streams(pair))
    await execute(
        pair.primary, "ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()"
    )
    try:

        async def synchronous():
            sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            return await fetchval(pair.primary, sql)

        await eventually(synchronous)
        assert await codes(pair.primary) == set()
    finally:
        await execute(
            pair.primary,
            "ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()",
        )


# slots


async def test_a_slot_that_nobody_reads(every_db):
    cluster = every_db.cluster
    await execute(cluster, "SELECT pg_create_physical_replication_slot('left', true)")
    await write(cluster)
    [found] = await find(every_db.dsn, CHECKS, "slot.inactive")
    assert (found.subject, found.severity) == ("left", Severity.warning)
    assert found.evidence["retained"].value >= 1024**2
    assert not found.fix.reversible
    [worse] = await find(every_db.dsn, CHECKS, "slot.inactive", slot_critical_bytes=1024.0)
    assert worse.severity == Severity.critical
    [same] = await find(every_db.dsn_as("plain"), CHECKS, "slot.inactive")
    assert same.subject == "left"
    await apply(cluster, every_db.dsn, found.fix)
    assert await codes(cluster) == set()


async def test_a_slot_that_was_never_used_is_worth_knowing(db):
    await execute(db.cluster, "SELECT pg_create_physical_replication_slot('fresh')")
    [found] = await find(db.dsn, CHECKS, "slot.inactive")
    assert found.severity == Severity.info
    await apply(db.cluster, db.dsn, found.fix)
    assert await codes(db.cluster) == set()


@contextlib.asynccontextmanager
async def small(majors, major: int):
    """A cluster that may keep two segments for a slot."""
    settings = {
        "wal_level": "logical", "max_slot_wal_keep_size": "32MB",
        "min_wal_size": "32MB", "max_wal_size": "32MB",
    }  # fmt: skip
    async with throwaway(binaries=majors[major], settings=settings) as cluster:
        yield cluster


async def fill(cluster, segments: int) -> None:
    for _ in range(segments):
        await write(cluster)
        await execute(cluster, "SELECT pg_switch_wal()")


@pytest.mark.parametrize("major", [15, 18])
async def test_a_slot_on_its_way_to_being_lost(majors, major):
    async with small(majors, major) as cluster:
        await execute(
            cluster,
            "CREATE DATABASE other;SELECT pg_create_physical_replication_slot('behind', true)",
        )
        [fine] = await find(cluster.dsn(), CHECKS, "slot.inactive")
        assert fine.evidence["safe"].value > 0

        async def near():
            await fill(cluster, 1)
            return await find(cluster.dsn(), CHECKS, "slot.lost", slot_safe_percent=60)

        [found] = await eventually(near)
        assert found.severity in (Severity.warning, Severity.critical)
        await apply(cluster, cluster.dsn(), found.fix)
        await eventually(gone(cluster, "slot.lost", slot_safe_percent=60))

        await execute(
            cluster, "ALTER SYSTEM SET max_slot_wal_keep_size = '32MB'; SELECT pg_reload_conf()"
        )
        await fill(cluster, 4)
        await execute(cluster, "CHECKPOINT")
        [found] = await eventually(seen(cluster, "slot.lost"))
        assert (found.subject, found.severity) == ("behind", Severity.critical)
        assert found.evidence["wal_status"].value == "lost"
        assert await codes(cluster) == {("slot.lost", "behind")}
        await apply(cluster, cluster.dsn(), found.fix)
        assert await codes(cluster) == set()


async def test_a_logical_slot_of_another_database(majors):
    if not majors[15].has_library("test_decoding"):
        pytest.skip("this installation has no test_decoding")
    async with small(majors, 15) as cluster:
        await execute(cluster, "CREATE DATABASE other")
        other = await asyncpg.connect(cluster.dsn("other"))
        await other.execute("SELECT pg_create_logical_replication_slot('l', 'test_decoding')")
        await other.close()
        [found] = await find(cluster.dsn(), CHECKS, "slot.inactive")
        assert found.evidence["database"].value == "other"
        assert "vacuum" in found.why
        await apply(cluster, cluster.dsn(), found.fix)
        assert await codes(cluster) == set()


async def test_a_slot_left_on_a_standby(primary_standby):
    pair = primary_standby
    await execute(pair.standby, "SELECT pg_create_physical_replication_slot('left', true)")
    [found] = await find(pair.standby.dsn(), CHECKS, "slot.inactive")
    await apply(pair.standby, pair.standby.dsn(), found.fix)
    assert not await find(pair.standby.dsn(), CHECKS, "slot.inactive")
