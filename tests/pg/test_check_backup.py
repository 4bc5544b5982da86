"""The archiver: each fault planted, found, mended, and gone."""

from __future__ import annotations

import contextlib

import asyncpg
import pytest
from planted import eventually, find, run

from filban.backup import CHECKS
from filban.cluster import throwaway
from filban.finding import Severity

PLAIN = "CREATE ROLE plain LOGIN"


@contextlib.asynccontextmanager
async def archiving(binaries, command: str = "/bin/true"):
    settings = {"wal_level": "replica", "archive_mode": "on", "archive_command": command}
    async with throwaway(binaries=binaries, settings=settings) as cluster:
        yield cluster


async def execute(cluster, *statements: str) -> None:
    connection = await asyncpg.connect(cluster.dsn())
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def switch(cluster) -> None:
    """One more segment for the archiver."""
    await execute(
        cluster, "SELECT pg_logical_emit_message(false, 'filban', 'x')", "SELECT pg_switch_wal()"
    )


async def command(cluster, text: str) -> None:
    await execute(
        cluster, f"ALTER SYSTEM SET archive_command = '{text}'", "SELECT pg_reload_conf()"
    )


async def codes(cluster, **limits: float) -> set[str]:
    findings, _ = await run(cluster.dsn(), CHECKS, **limits)
    return {f.code for f in findings}


@pytest.mark.parametrize("major", [15, 18])
async def test_an_archive_command_that_fails(majors, major):
    async with archiving(majors[major], "/bin/false") as cluster:
        assert await codes(cluster) == set()
        await switch(cluster)
        [found] = await eventually(lambda: find(cluster.dsn(), CHECKS, "archive.failing"))
        assert found.severity == Severity.warning
        assert found.evidence["waiting_files"].value >= 1
        assert found.evidence["archived"].value == 0
        assert found.evidence["last_failed_file"].value in found.fix.advice
        [worse] = await find(
            cluster.dsn(), CHECKS, "archive.failing", archive_failing_critical_seconds=0
        )
        assert worse.severity == Severity.critical
        # the printed advice: mend what the command reports, the archiver tries again by itself
        await command(cluster, "/bin/true")

        async def gone():
            await switch(cluster)
            return not await codes(cluster)

        await eventually(gone)


@pytest.mark.parametrize("major", [15, 18])
async def test_archiving_without_a_command(majors, major):
    async with archiving(majors[major], "") as cluster:
        [found] = await find(cluster.dsn(), CHECKS, "archive.not_configured")
        assert found.severity == Severity.critical
        await command(cluster, "/bin/true")

        async def gone():
            return not await codes(cluster)

        await eventually(gone)


async def test_a_queue(majors):
    async with archiving(majors[15], "sleep 600") as cluster:
        for _ in range(3):
            await switch(cluster)
        assert await codes(cluster) == set()
        [found] = await find(cluster.dsn(), CHECKS, "archive.lag", archive_waiting_files=3)
        assert found.evidence["waiting"].value == 3 * 16 * 1024**2
        assert await codes(cluster, archive_waiting_seconds=0) == {"archive.lag"}
        assert await codes(cluster, archive_waiting_files=4) == set()


async def test_who_may_not_list_the_queue_is_told(majors):
    async with archiving(majors[15]) as cluster:
        await execute(cluster, PLAIN)
        findings, hidden = await run(cluster.dsn(user="plain"), CHECKS)
        assert findings == []
        assert [h.what for h in hidden] == ["how many WAL files wait to be archived"]
        await execute(cluster, "GRANT pg_monitor TO plain")
        assert (await run(cluster.dsn(user="plain"), CHECKS))[1] == []


async def test_without_archiving_nothing_is_said(every_db):
    assert await run(every_db.dsn, CHECKS) == ([], [])
    assert await run(every_db.dsn_as("plain"), CHECKS) == ([], [])


async def test_a_standby_archives_nothing_unless_told_to(majors):
    async with archiving(majors[15], "/bin/false") as cluster:
        standby = await cluster.standby()
        await switch(cluster)
        await eventually(lambda: find(cluster.dsn(), CHECKS, "archive.failing"))
        assert await run(standby.dsn(), CHECKS) == ([], [])
