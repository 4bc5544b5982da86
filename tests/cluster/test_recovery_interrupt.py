"""Ctrl-C and kill -9 in the middle of a drill or a restore: what is left, and who cleans it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from shelves import World, world

from conftest import elsewhere
from filban.cluster import clean_leftovers, leftovers
from filban.cluster.places import cache_dir

SEED = 1123
WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def here(majors):
    async def make(here: World) -> World:
        await here.execute("CREATE TABLE public.t AS SELECT g AS n FROM generate_series(1, 100) g")
        await here.backup("B1", "--compress=gzip:1")
        await here.execute("INSERT INTO public.t VALUES (101)")
        await here.archived()
        return here

    with elsewhere() as run:
        manager = world(majors[15])
        started = run(manager.__aenter__())
        try:
            yield run(make(started))
        finally:
            run(manager.__aexit__(None, None, None))


def begin(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "filban", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def until(seen: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    """Wait for it, or for the end of the program: a fast machine may be done first."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not seen() and running.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def recorded(pid: int) -> list[Path]:
    """Scratch directories that a living program has noted as its own."""
    found = []
    for file in cache_dir("running").glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(file.read_text())
            if known["pid"] == pid:
                found.append(Path(known["base"]))
    return found


def scratch_of(pid: int) -> list[Path]:
    """Scratch copies that belong to a program, by its leftover record once it is dead."""
    return [left.base for left in leftovers() if left.parent_pid == pid]


def test_ctrl_c_in_a_restore_leaves_an_empty_place(here: World):
    into = here.shelf.root.parent / "interrupted"
    running = begin("restore", "--repo", here.shelf.root, "-D", into)
    until(lambda: (into / "base").exists(), running)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=WAIT_SECONDS)
    assert running.returncode == 3, told
    assert not into.exists()
    assert not into.with_name("interrupted.restoring").exists()


def test_kill_in_a_restore_is_cleaned_by_the_next(here: World):
    into = here.shelf.root.parent / "killed"
    running = begin("restore", "--repo", here.shelf.root, "-D", into)
    until(lambda: (into / "base").exists(), running)
    running.kill()
    running.communicate()
    assert into.exists()
    again = begin("restore", "--repo", here.shelf.root, "-D", into)
    _, told = again.communicate(timeout=WAIT_SECONDS)
    assert again.returncode == 0, told
    assert "interrupted restore" in told
    assert (into / "PG_VERSION").exists()


def test_ctrl_c_in_a_drill_removes_the_copy(here: World):
    running = begin("backup", "drill", here.dsn, "--repo", here.shelf.root)
    until(lambda: any((base / "data").exists() for base in recorded(running.pid)), running)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=WAIT_SECONDS)
    assert running.returncode == 3, told
    assert recorded(running.pid) == []


async def killed_at(here: World, seconds: float) -> None:
    running = begin("backup", "drill", here.dsn, "--repo", here.shelf.root)
    await asyncio.sleep(seconds)
    running.kill()
    running.communicate()
    bases = scratch_of(running.pid)
    await clean_leftovers()
    assert not any(base.exists() for base in bases)
    assert scratch_of(running.pid) == []
    # The primary has kept nothing of it: no lock, no session.
    for _ in range(200):
        if not await here.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'filban' "
            "AND pid <> pg_backend_pid()"
        ):
            return
        await asyncio.sleep(0.05)
    pytest.fail("a session of the killed drill is still there")


async def test_kill_in_a_drill_is_cleaned_by_whoever_comes_next(here: World):
    chance = random.Random(SEED)
    for _ in range(2):
        await killed_at(here, chance.uniform(0.5, 3))


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_kill_in_a_drill_at_fifty_instants(here: World):
    chance = random.Random(SEED)
    for _ in range(50):
        await killed_at(here, chance.uniform(0, 4))
