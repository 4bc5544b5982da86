"""`filban top` against real servers, and on a real (pseudo) terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal as signals
import subprocess
import sys
import termios
from collections.abc import AsyncIterator

import asyncpg
import pytest

from filban.cluster import throwaway
from filban.errors import RightsMissing
from filban.pg import session
from filban.profile.top import look, rates, signal

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()=>][0-9A-Za-z]?)")
PATIENCE_SECONDS = 60


class Terminal:
    """A command on a terminal of its own; `text` is what it has printed, without colours."""

    def __init__(self, *args: str, lines: int = 24, columns: int = 100) -> None:
        self._mine, other = pty.openpty()
        termios.tcsetwinsize(self._mine, (lines, columns))
        self.before = termios.tcgetattr(self._mine)
        environment = {**os.environ, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "filban", *args],
            stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(other)
        os.set_blocking(self._mine, False)
        self.raw = ""

    @property
    def text(self) -> str:
        with contextlib.suppress(BlockingIOError, OSError):
            while content := os.read(self._mine, 65536):
                self.raw += content.decode(errors="replace")
        return _ESCAPES.sub("", self.raw)

    async def shows(self, *words: str) -> str:
        """Wait until all of `words` have been printed since the last key."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(word in self.text for word in words):
                assert self.process.poll() is None, self.text
                await asyncio.sleep(0.02)
        return self.text

    def press(self, keys: str) -> None:
        self._forget()
        os.write(self._mine, keys.encode())

    def resize(self, lines: int, columns: int) -> None:
        self._forget()
        termios.tcsetwinsize(self._mine, (lines, columns))
        self.process.send_signal(signals.SIGWINCH)

    def _forget(self) -> None:
        _ = self.text  # what was printed before
        self.raw = ""

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.process.poll() is None:
                _ = self.text  # a full terminal would hold it
                await asyncio.sleep(0.02)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._mine)


@contextlib.contextmanager
def terminal(*args: str, **size: int):
    opened = Terminal(*args, **size)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
async def queue(db) -> AsyncIterator[dict[str, int]]:
    """One that idles in its transaction, two that wait behind it; name -> pid."""
    await db.execute("CREATE TABLE a (i int PRIMARY KEY, v int); INSERT INTO a VALUES (1, 0)")
    opened, waiting = {}, []
    for name in ("root", "first", "second"):
        opened[name] = await asyncpg.connect(db.dsn, server_settings={"application_name": name})
    await opened["root"].execute("BEGIN; UPDATE a SET v = 1 -- who took it")
    for name in ("first", "second"):
        waiting.append(asyncio.create_task(opened[name].execute("UPDATE a SET v = 2")))
        pid = opened[name].get_server_pid()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await db.fetchval(
                "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted", pid
            ):
                await asyncio.sleep(0.01)
    yield {name: connection.get_server_pid() for name, connection in opened.items()}
    for connection in opened.values():
        connection.terminate()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_look_on_every_major(every_db):
    async with session(every_db.dsn) as opened:
        before = await look(opened)
        await every_db.execute("CREATE TABLE t AS SELECT generate_series(1, 10000)")
        await asyncio.sleep(0.01)
        found = rates(before, await look(opened))
    assert found.wal_bytes > 0
    has_io = opened.server.major >= 16
    assert (found.disk_read_bytes is not None) == has_io


async def test_a_queue_is_seen_and_its_root_named(db, queue):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "filban", "top", db.dsn, "--json", stdout=subprocess.PIPE
    )
    found = json.loads((await process.communicate())[0])
    assert process.returncode == 0
    [tree] = [t for t in found["blocking"] if t["root"] == f"pid {queue['root']}"]
    assert tree["root_state"] == "idle in transaction"
    assert "who took it" in tree["root_query"]
    assert tree["waiting"] == 2
    states = {s["application"]: s["wait_event_type"] for s in found["sessions"]}
    assert (states["first"], states["second"]) == ("Lock", "Lock")


async def test_a_signal_hits_the_session_that_was_meant_and_no_other(db, queue):
    async with session(db.dsn) as opened:
        [first] = [s for s in (await look(opened)).sessions if s.pid == queue["first"]]
        stale = type(first)(
            **{n: getattr(first, n) for n in first.__slots__ if n != "backend_start"},
            backend_start=opened.server.started_at,
        )
        assert not await signal(opened, "terminate", stale)
        assert await db.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", first.pid)
        assert await signal(opened, "terminate", first)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while first.pid in {s.pid for s in (await look(opened)).sessions}:
                await asyncio.sleep(0.01)
        assert not await signal(opened, "cancel", first)


async def test_a_plain_role_is_told_what_it_may_not(db, queue):
    async with session(db.dsn_as("plain")) as opened:
        found = await look(opened)
        [root] = [s for s in found.sessions if s.pid == queue["root"]]
        assert (root.hidden, root.state, root.query) == (True, None, None)
        assert any(w.pid == queue["first"] for w in found.waits)
    with terminal("top", db.dsn_as("plain"), "--filter", str(queue["first"])) as screen:
        await screen.shows("not visible to this role: grant pg_monitor", str(queue["first"]))
        screen.press("k")
        await screen.shows(f"terminate pid {queue['first']}? y / n")
        screen.press("y")
        await screen.shows(f"plain may not terminate pid {queue['first']}")
        assert await db.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", queue["first"]
        )


async def test_rights_are_missing_in_words(db, queue):
    async with session(db.dsn_as("plain")) as opened:
        [first] = [s for s in (await look(opened)).sessions if s.pid == queue["first"]]
        for verb in ("cancel", "terminate"):
            with pytest.raises(RightsMissing):
                await signal(opened, verb, first)


async def test_the_screen_shows_signals_resizes_and_gives_the_terminal_back(db, queue):
    with terminal("top", db.dsn, "--interval", "0.5") as screen:
        await screen.shows(f"pid {queue['root']} root", "└─ pid", "Lock:", "idle in transaction")
        screen.press("/second\r")
        await screen.shows("filter: second")
        screen.press("\r")
        await screen.shows("UPDATE a SET v = 2", "Enter back")
        screen.press("\r")
        await screen.shows("Lock:")
        screen.press("c")
        await screen.shows(f"cancel the statement of pid {queue['second']}? y / n")
        screen.press("y")
        await screen.shows(f"cancelled pid {queue['second']}")
        screen.resize(40, 150)
        await screen.shows("database", "client")
        screen.press("q")
        assert await screen.ended() == 0
        assert termios.tcgetattr(screen._mine) == screen.before
        assert "\x1b[?1049l" in screen.raw  # back from the alternate screen
        assert "\x1b[?25h" in screen.raw  # with its cursor


@pytest.mark.parametrize("how", [signals.SIGINT, signals.SIGTERM, signals.SIGHUP], ids=str)
async def test_however_it_ends_the_terminal_is_given_back(db, how):
    with terminal("top", db.dsn) as screen:
        await screen.shows("connections", "tps")
        screen.process.send_signal(how)
        assert await screen.ended() == 3
        assert termios.tcgetattr(screen._mine) == screen.before
        assert "\x1b[?1049l" in screen.raw


async def test_a_server_that_goes_away_is_waited_for(majors):
    async with throwaway(binaries=majors[15]) as cluster:
        with terminal("top", cluster.dsn(), "--interval", "0.5") as screen:
            await screen.shows("connections", "tps")
            await cluster.stop()
            await screen.shows("server gone since")
            await cluster.start()
            await screen.shows("it answers again")
            screen.press("q")
            assert await screen.ended() == 0


async def test_on_a_standby(primary_standby):
    async with session(primary_standby.standby.dsn()) as opened:
        found = await look(opened)
    assert found.counters.replay_behind_bytes is not None
    async with session(primary_standby.primary.dsn()) as opened:
        async with asyncio.timeout(PATIENCE_SECONDS):  # it reports after its first replay
            while (replicas := (await look(opened)).replicas)[0].behind_bytes is None:
                await asyncio.sleep(0.05)
    assert [r.state for r in replicas] == ["streaming"]


async def test_without_a_terminal_it_says_what_to_do(db):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "filban", "top", db.dsn,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert b"--once" in error
