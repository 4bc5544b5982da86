"""Sessions that wait on a real server, live and from a recording."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from conftest import Database
from filban.errors import UsageError
from filban.pg import session
from filban.profile.waits import (
    Recorder,
    Sample,
    at_work,
    blocking,
    recorded,
    sample,
    samples,
    span,
    summarise,
)


class Incident:
    """Sessions that are named, hold locks and wait for each other."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.pids: dict[str, int] = {}
        self._stack = contextlib.AsyncExitStack()
        self._waiting: list[asyncio.Task[str]] = []

    async def __aenter__(self) -> Incident:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        await self._stack.aclose()

    async def who(self, name: str) -> asyncpg.Connection:
        connection = await asyncpg.connect(self.db.dsn, server_settings={"application_name": name})
        self._stack.callback(connection.terminate)
        self.pids[name] = connection.get_server_pid()
        return connection

    async def holds(self, name: str, sql: str) -> None:
        """In a transaction that stays open."""
        await (await self.who(name)).execute(f"BEGIN; {sql}")

    async def waits(self, name: str, sql: str, *, after: str = "SELECT 1") -> None:
        connection = await self.who(name)
        await connection.execute(f"BEGIN; {after}")
        self._waiting.append(asyncio.create_task(connection.execute(sql)))
        async with self.db.connection() as control:
            async with asyncio.timeout(60):
                while not await control.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted", self.pids[name]
                ):
                    await asyncio.sleep(0.01)

    def lines(self, tree: str) -> list[tuple[int, str]]:
        """(depth, application) of each line of a tree."""
        names = {f"pid {pid} ": name for name, pid in self.pids.items()}
        return [
            (line[: line.index("pid ")].replace("└─", "  ").count("   "), name)
            for line in tree.splitlines()
            for pid, name in names.items()
            if pid in line
        ]


@pytest.fixture
async def incident(db: Database) -> AsyncIterator[Incident]:
    async with db.connection() as connection:
        await connection.execute(
            "CREATE TABLE a (i int PRIMARY KEY, v int); INSERT INTO a SELECT g, 0 FROM"
            " generate_series(1, 5) g; CREATE TABLE b AS TABLE a"
        )
    async with Incident(db) as scripted:
        yield scripted


async def seen(db: Database) -> Sample:
    async with session(db.dsn) as opened:
        return await sample(opened)


def trees(incident: Incident, one: Sample) -> list[list[tuple[int, str]]]:
    found = blocking(one)
    assert found is not None
    return [incident.lines(tree) for tree in found.trees]


async def test_several_waiters_behind_one_that_idles_in_its_transaction(db, incident):
    await incident.holds("root", "UPDATE a SET v = 1 WHERE i = 1")
    await incident.waits("first", "UPDATE a SET v = 2 WHERE i = 1")
    await incident.waits("second", "UPDATE a SET v = 3 WHERE i = 1")
    one = await seen(db)
    assert trees(incident, one) == [[(0, "root"), (1, "first"), (2, "second")]]
    text = blocking(one).trees[0]
    assert "idle in transaction" in text.splitlines()[0]
    assert "UPDATE a SET v = 1 WHERE i = 1" in text.splitlines()[0]  # the statement that took it
    assert blocking(one).waiting == 2


async def test_three_levels_and_a_tree_of_its_own(db, incident):
    await incident.holds("root", "UPDATE a SET v = 1 WHERE i = 1")
    await incident.waits(
        "middle", "UPDATE a SET v = 1 WHERE i = 1", after="UPDATE a SET v = 1 WHERE i = 2"
    )
    await incident.waits("leaf", "UPDATE a SET v = 1 WHERE i = 2")
    await incident.holds("other", "LOCK TABLE b")
    await incident.waits("reader", "SELECT * FROM b")
    assert trees(incident, await seen(db)) == [
        [(0, "root"), (1, "middle"), (2, "leaf")],
        [(0, "other"), (1, "reader")],
    ]


async def test_readers_queue_behind_ddl_that_waits_itself(db, incident):
    await incident.holds("report", "SELECT * FROM a")
    await incident.waits("migration", "ALTER TABLE a ADD COLUMN w int")
    await incident.waits("page", "SELECT * FROM a")
    assert trees(incident, await seen(db)) == [[(0, "report"), (1, "migration"), (2, "page")]]


async def test_an_idle_session_that_kept_an_advisory_lock_is_the_root(db, incident):
    await (await incident.who("cron")).execute("SELECT pg_advisory_lock(7)")
    await incident.waits("worker", "SELECT pg_advisory_lock(7)")
    assert trees(incident, await seen(db)) == [[(0, "cron"), (1, "worker")]]


async def test_a_prepared_transaction_is_named(db, incident):
    connection = await incident.who("app")
    await connection.execute("BEGIN; UPDATE a SET v = 1 WHERE i = 1; PREPARE TRANSACTION 'left'")
    try:
        await incident.waits("late", "UPDATE a SET v = 2 WHERE i = 1")
        assert blocking(await seen(db)).trees[0].startswith("prepared left")
    finally:
        await connection.execute("ROLLBACK PREPARED 'left'")


async def test_nobody_waits(db):
    assert blocking(await seen(db)) is None


async def test_the_load_says_where_the_time_went(db, incident):
    await incident.holds("root", "UPDATE a SET v = 1 WHERE i = 1")
    await incident.waits("first", "UPDATE a SET v = 2 WHERE i = 1")
    sleeper = await incident.who("sleeper")
    sleeping = asyncio.create_task(sleeper.execute("SELECT pg_sleep(600)"))
    async with session(db.dsn) as opened:
        while not any(s.wait_event == "PgSleep" for s in (await sample(opened)).sessions):
            await asyncio.sleep(0.01)
        found = [one async for one in samples(opened, 0.5, 0.1)]
    sleeping.cancel()
    await asyncio.gather(sleeping, return_exceptions=True)
    ours = [
        Sample(one.at, tuple(s for s in one.sessions if s.database == db.name), one.waits)
        for one in found
    ]
    load = summarise(ours)
    assert load.samples >= 3
    assert load.sessions == pytest.approx(2)
    assert {s.name: s.sessions for s in load.by["event"]} == {
        "Lock:transactionid": 1, "Timeout:PgSleep": 1,
    }  # fmt: skip
    assert {s.name for s in load.by["application"]} == {"first", "sleeper"}
    assert load.idle_in_transaction == 1
    assert load.worst is not None
    assert load.worst.waiting == 1
    assert sum(s.share for s in load.by["class"]) == pytest.approx(1)


async def test_what_this_role_may_not_see_is_not_taken_for_idle(db, incident):
    await incident.holds("root", "UPDATE a SET v = 1 WHERE i = 1")
    async with session(db.dsn_as("plain")) as opened:
        one = await sample(opened)
    hidden = [s for s in one.sessions if s.pid == incident.pids["root"]]
    assert [s.hidden for s in hidden] == [True]
    assert not at_work(hidden[0])
    assert summarise([one]).hidden >= 1


async def test_our_own_sessions_are_not_part_of_the_load(db):
    async with session(db.dsn) as one, session(db.dsn) as other:
        await other.connection.execute("BEGIN")
        pids = {s.pid for s in (await sample(one)).sessions}
        assert other.connection.get_server_pid() not in pids


async def test_an_incident_is_replayed_from_its_recording(db, incident, tmp_path: Path):
    file = tmp_path / "it's a file.sqlite"
    quiet = await seen(db)
    await incident.holds("root", "UPDATE a SET v = 1 WHERE i = 1")
    await incident.waits("first", "UPDATE a SET v = 2 WHERE i = 1")
    busy = await seen(db)
    with Recorder(file, "test", timedelta(days=1)) as recorder:
        recorder.add(quiet)
        recorder.add(busy)
    assert [s.sessions for s in recorded(file)] == [quiet.sessions, busy.sessions]
    again = list(recorded(file, since=busy.at))[-1]
    assert trees(incident, again) == [[(0, "root"), (1, "first")]]
    assert blocking(again).at == busy.at
    assert span(file)[2] == 2


def at(second: int) -> Sample:
    return Sample(datetime(2026, 11, 23, 14, 0, second, tzinfo=UTC), ())


def test_a_recording_forgets_what_is_old(tmp_path: Path):
    file = tmp_path / "r"
    with Recorder(file, "test", timedelta(seconds=10)) as recorder:
        for second in range(0, 60, 5):
            recorder.add(at(second))
    assert [s.at.second for s in recorded(file)] == [45, 50, 55]
    assert file.stat().st_mode & 0o077 == 0  # statements may hold secrets


def test_a_killed_recorder_leaves_its_file_whole(tmp_path: Path):
    file = tmp_path / "r"
    code = (
        "import sys, datetime; from pathlib import Path; from filban.profile.waits import *;"
        "r = Recorder(Path(sys.argv[1]), 'x', datetime.timedelta(days=1));\n"
        "while True: r.add(Sample(datetime.datetime.now(datetime.UTC), ())); print('.', flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code, file], stdout=subprocess.PIPE) as process:
        for _ in range(20):
            process.stdout.read(2)
        process.kill()
    assert len(list(recorded(file))) >= 20
    with Recorder(file, "test", timedelta(days=1)) as recorder:
        recorder.add(at(1))


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to be one" * 9])
def test_another_file_is_refused(tmp_path: Path, content: bytes):
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"notes\.txt"):
        list(recorded(file))
    if content:
        with pytest.raises(UsageError, match=r"notes\.txt"):
            Recorder(file, "test", timedelta(days=1))
        assert file.read_bytes() == content
    with pytest.raises(UsageError, match="there is no file"):
        list(recorded(tmp_path / "nowhere"))


async def filban(*args: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "filban", *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


async def test_the_command_records_and_replays(db, incident, tmp_path: Path):
    file = tmp_path / "incidents"
    await incident.holds("root", "UPDATE a SET v = 1 WHERE i = 1")
    await incident.waits("first", "UPDATE a SET v = 2 WHERE i = 1")
    live = await filban("waits", db.dsn, "--for", "0.3s", "--every", "0.1s", "--record", str(file))
    assert live[0] == 0, live
    assert "who blocks whom" in live[1]
    moment = datetime.now(UTC).isoformat()
    code, out, _ = await filban("waits", "--replay", str(file), "--at", moment, "--json")
    assert code == 0
    facts = json.loads(out)["facts"]
    assert [len(tree) for tree in facts["blocking"]["trees"]] == [2]
    assert facts["by"]["application"][0]["name"] == "first"
    assert facts["samples"] >= 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--replay", "/nowhere/at/all"], "there is no file"),
        (["--at", "2026-11-23"], "--replay"),
        (["--replay", "x", "--at", "half past nine"], "not a date"),
        (["--for", "soon", "dbname=x"], "not a time"),
    ],
)
async def test_what_is_asked_wrongly_is_said_in_a_sentence(args: list[str], says: str):
    code, out, error = await filban("waits", *args)
    assert (code, out) == (2, "")
    assert says in error
    assert "Traceback" not in error
