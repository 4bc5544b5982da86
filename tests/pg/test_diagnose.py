"""`filban diagnose` on planted bottlenecks and on healthy servers. All of them: `-m long`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import bottlenecks as planted
import pytest

from conftest import (
    DEFAULT_MAJOR,
    PLAIN_ROLE,
    Database,
    fresh_database,
    lacking,
    running,
    settings_for,
)
from filban.cli.app import run
from filban.cluster import Binaries, Cluster, throwaway
from filban.finding import Finding, Severity
from filban.pg import session
from filban.profile import bottlenecks
from filban.profile.bottlenecks import Diagnosis, diagnose
from filban.profile.bottlenecks.collect import read
from filban.profile.bottlenecks.interval import change

SECONDS = 2.2
Scenario = Callable[[Database], contextlib.AbstractAsyncContextManager[None]]
# As a server in production: it waits for its disk.
DURABLE = {
    "fsync": True,
    "synchronous_commit": True,
    "full_page_writes": True,
    "deadlock_timeout": "200ms",
    "max_connections": 40,
}
# These stand for the rest, with those in tests of their own below.
DEFAULT_SUITE = {
    planted.hot_row: "lock_row",
    planted.planning: "planning",
    planted.dead_rows: "vacuum",
}
REST = {
    planted.missing_index: "seq_scan",
    planted.forgotten_transaction: "idle_in_transaction",
    planted.spills: "temp",
    planted.cpu: "cpu",
    planted.reports: "seq_scan",
    planted.jit: "jit",
    planted.round_trips: "client",
    planted.slow_copy: "client",
    planted.alter_queue: "lock_relation",
    planted.idle_before_alter: "idle_in_transaction",
    planted.advisory: "lock_advisory",
    planted.notify_queue: "lock_other",
    planted.bulk_inserts: "lock_extend",
    planted.deadlocks: "deadlock",
    planted.small_commits: "wal",
    planted.checkpoint_storm: "checkpoints",
    planted.churn: "connections",
    planted.exhausted: "connections",
}
HEALTHY = [planted.idle, planted.light_oltp, planted.indexed_reads, planted.batches,
           planted.one_forgotten]  # fmt: skip


@pytest.fixture(scope="module")
def server(majors: dict[int, Binaries]) -> Iterator[Cluster]:
    """A durable server of this module."""
    if DEFAULT_MAJOR not in majors:
        lacking(f"PostgreSQL {DEFAULT_MAJOR}")
    binaries = majors[DEFAULT_MAJOR]
    with running(binaries=binaries, settings=settings_for(binaries) | DURABLE) as cluster:
        asyncio.run(Database(cluster, "postgres").execute(f"CREATE ROLE {PLAIN_ROLE} LOGIN"))
        yield cluster


@pytest.fixture
async def busy(server: Cluster) -> AsyncIterator[Database]:
    """A fresh database with pg_stat_statements."""
    async with fresh_database(server) as database:
        await database.execute("CREATE EXTENSION pg_stat_statements")
        yield database


async def diagnosed(db: Database, scenario: Scenario) -> Diagnosis:
    async with scenario(db):
        return await diagnose(db.dsn, seconds=SECONDS)


def named(diagnosis: Diagnosis, expected: str) -> tuple[Finding, ...]:
    """The verdict is `expected`, and the first thing to do is about it."""
    verdict, findings = diagnosis.verdict, diagnosis.findings
    assert (verdict.state, verdict.bottleneck) == ("bottleneck", expected), diagnosis.report().facts
    assert findings[0].code == f"bottleneck.{expected}"
    assert len(findings) <= 3
    assert len({f.fingerprint for f in findings}) == len(findings)
    for finding in findings:
        assert finding.fix is not None
        assert finding.fix.sql or finding.fix.command or finding.fix.advice
        assert finding.evidence["share"].value is not None
    return findings


def name(scenario: Scenario) -> str:
    return scenario.__name__


@pytest.mark.parametrize("scenario", DEFAULT_SUITE, ids=name)
async def test_planted(busy: Database, scenario: Scenario):
    named(await diagnosed(busy, scenario), DEFAULT_SUITE[scenario])


@pytest.mark.long
@pytest.mark.parametrize("scenario", REST, ids=name)
async def test_planted_rest(busy: Database, scenario: Scenario):
    if scenario is planted.jit and not await busy.fetchval("SELECT pg_jit_available()"):
        lacking("JIT (llvmjit)")
    named(await diagnosed(busy, scenario), REST[scenario])


async def healthy(db: Database, scenario: Scenario) -> None:
    diagnosis = await diagnosed(db, scenario)
    assert diagnosis.verdict.state in ("healthy", "idle"), diagnosis.report().facts
    assert diagnosis.verdict.bottleneck is None
    assert diagnosis.findings == ()


async def test_healthy(busy: Database):
    await healthy(busy, planted.light_oltp)


@pytest.mark.long
@pytest.mark.parametrize("scenario", HEALTHY, ids=name)
async def test_all_healthy(busy: Database, scenario: Scenario):
    await healthy(busy, scenario)


@contextlib.asynccontextmanager
async def server_with(
    majors: dict[int, Binaries], major: int, **settings: object
) -> AsyncIterator[Database]:
    """A server of its own, with settings that need a restart."""
    if major not in majors:
        lacking(f"PostgreSQL {major}")
    known = settings_for(majors[major]) | DURABLE | settings
    async with (
        throwaway(binaries=majors[major], settings=known) as cluster,  # type: ignore[arg-type]
        fresh_database(cluster) as db,
    ):
        await db.execute("CREATE EXTENSION pg_stat_statements")
        yield db


@pytest.mark.long
async def test_reads_from_disk(majors: dict[int, Binaries]):
    """18 reads past the kernel's cache when told to: on 15 these reads would be memory's."""
    async with server_with(majors, 18, shared_buffers="1MB", debug_io_direct="data") as db:
        named(await diagnosed(db, planted.disk_reads), "io")


@pytest.mark.long
async def test_contention_inside_the_server(majors: dict[int, Binaries]):
    async with server_with(majors, DEFAULT_MAJOR, **{"pg_stat_statements.max": 100}) as db:
        first, *_ = named(await diagnosed(db, planted.all_different), "lwlock")
    assert first.subject == "LWLock:pg_stat_statements"


@pytest.mark.long
async def test_synchronous_standby(primary_standby):
    async with fresh_database(primary_standby.primary) as db:
        async with planted.frozen_standby(db, primary_standby.standby):
            diagnosis = await diagnose(db.dsn, seconds=SECONDS)
        first, *_ = named(diagnosis, "sync_replication")
        assert first.evidence["connected"].value == 1


@pytest.mark.long
async def test_replay_and_readers(primary_standby):
    standby = primary_standby.standby
    async with fresh_database(primary_standby.primary) as db:
        async with planted.reader_before_replay(db, standby):
            diagnosis = await diagnose(standby.dsn(db.name), seconds=SECONDS)
        named(diagnosis, "replay_conflict")


@pytest.mark.long
async def test_a_healthy_standby(primary_standby):
    standby = primary_standby.standby
    async with fresh_database(primary_standby.primary) as db, planted.light_oltp(db):
        await planted.replayed(db, standby)
        diagnosis = await diagnose(standby.dsn(db.name), seconds=SECONDS)
    assert diagnosis.verdict.state in ("healthy", "idle")
    assert diagnosis.findings == ()


async def test_the_index_that_is_missing_ends_it(busy: Database):
    """The fix that is printed is pasted, and the table is no longer in the way."""
    async with planted.missing_index(busy):
        first, *_ = named(await diagnose(busy.dsn, seconds=SECONDS), "seq_scan")
        assert first.subject == "public.accounts"
        assert first.fix is not None
        await busy.execute(first.fix.sql)
        await busy.execute("ANALYZE accounts")
        await asyncio.sleep(planted.STEADY_SECONDS)
        after = await diagnose(busy.dsn, seconds=SECONDS)
    assert after.verdict.bottleneck != "seq_scan"


@pytest.mark.long
async def test_who_makes_readers_queue(busy: Database):
    """The migration is what to cancel first: readers go on, though the report still runs."""
    async with planted.alter_queue(busy):
        first, second, *_ = named(await diagnose(busy.dsn, seconds=SECONDS), "lock_relation")
        assert "ALTER TABLE pages" in first.why
        assert "pg_sleep" in second.why
        assert first.fix is not None
        await busy.execute(first.fix.sql)
        after = await diagnose(busy.dsn, seconds=SECONDS)
    assert after.verdict.bottleneck != "lock_relation"


async def test_every_major(every_db: Database):
    """Counters of each version, and the queue for a lock in its words."""
    diagnosis = await diagnosed(every_db, planted.advisory)
    named(diagnosis, "lock_advisory")
    assert (
        diagnosis.report()
        .facts["server"]["version"]
        .startswith(str(every_db.cluster.binaries.major))
    )


async def test_without_pg_stat_statements(db: Database):
    diagnosis = await diagnosed(db, planted.spills)
    named(diagnosis, "temp")
    assert any("pg_stat_statements" in h.what for h in diagnosis.hidden)


async def test_without_rights(db: Database, plain_dsn: str):
    """A role that may not look at others' sessions says so, and gives no verdict."""
    async with planted.hot_row(db):
        diagnosis = await diagnose(plain_dsn, seconds=2.0)
    assert diagnosis.verdict.state == "unknown"
    assert any("other roles' sessions" in h.what for h in diagnosis.hidden)


async def test_a_new_reset_counts_from_zero(conn, db: Database):
    """Somebody resets statistics meanwhile: what is left is small, never negative."""
    async with session(db.dsn) as opened:
        before = await read(opened)
        await conn.execute("SELECT pg_stat_reset_shared('wal')")
        after = await read(opened)
    wal = change(before.wal, after.wal)
    assert 0 <= wal.bytes <= after.wal.bytes


async def test_the_command(busy: Database, tmp_path):
    """Terminal, JSON and page; the exit code follows --fail-on."""
    page = tmp_path / "page.html"
    async with planted.forgotten_transaction(busy):
        status, text, _ = await filban("diagnose", busy.dsn, "--for", "2s", "--html", str(page))
        assert status == 0
        assert "pg_terminate_backend" in text
        assert "waiting for forgotten transactions" in text.lower()
        status, text, said = await filban(
            "diagnose", busy.dsn, "--for", "2", "--json", "--fail-on", "critical"
        )
    assert status == 1
    assert "watching" in said
    document = json.loads(text)
    assert document["facts"]["verdict"]["bottleneck"] == "idle_in_transaction"
    assert document["findings"][0]["severity"] == str(Severity.critical)
    assert set(document["facts"]) >= {
        "verdict", "interval_seconds", "samples", "session_time", "waits", "statements", "rates",
        "connections", "machine", "server", "not_visible",
    }  # fmt: skip
    assert "pg_terminate_backend" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("given", ["1s", "soon", "-3", "2d"])
def test_an_interval_that_cannot_be(given: str, capsys):
    assert run(["diagnose", "postgresql://127.0.0.1:1/x", f"--for={given}"]) == 2
    assert "filban: " in capsys.readouterr().err


async def filban(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "filban", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def test_each_bottleneck_has_its_code():
    assert set(bottlenecks.CODES) == {f"bottleneck.{name}" for name in bottlenecks.NAMES}
    assert {*DEFAULT_SUITE.values(), *REST.values()} <= set(bottlenecks.NAMES)
