"""What a killed program leaves is found, named and removed; what lives is left alone."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest

from filban.cluster import Cluster, abandoned, leftovers, process, throwaway
from filban.cluster.places import cache_dir

# Starts a throwaway cluster with a standby, says where, and waits to be killed.
PROGRAM = """
import asyncio, sys
from filban.cluster import throwaway
async def main():
    async with throwaway() as cluster:
        standby = await cluster.standby()
        print(cluster.data_dir.parent, cluster.status().pid, standby.status().pid, flush=True)
        await asyncio.sleep(1000)
asyncio.run(main())
"""


@pytest.fixture
def program():
    """A running PROGRAM: the process, its base directory and the pids of its two postmasters."""
    child = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    try:
        base, *pids = child.stdout.readline().split()
        yield child, Path(base), [int(p) for p in pids]
    finally:
        child.kill()
        child.communicate()
        asyncio.run(abandoned.clean_leftovers())


def _at(base: Path):
    return [leftover for leftover in leftovers() if leftover.base == base]


async def test_a_killed_program_is_found_named_and_cleaned_at_the_next_start(program, caplog):
    child, base, pids = program
    assert not _at(base), "its program lives"
    child.kill()
    child.wait()
    assert all(process.alive(pid) for pid in pids)
    [left] = _at(base)
    assert sorted(left.postmasters) == sorted(pids)
    assert (left.parent_pid, str(base) in str(left)) == (child.pid, True)
    with caplog.at_level(logging.WARNING, "filban.cluster"):
        async with throwaway():
            assert not any(process.alive(pid) for pid in pids)
            assert not base.exists()
    assert str(base) in caplog.text
    assert all(str(pid) in caplog.text for pid in pids)
    assert not _at(base)


async def test_paused_servers_of_a_killed_program_are_removed_too(program):
    child, base, pids = program
    Cluster.open(base / "data").pause()
    child.kill()
    child.wait()
    await abandoned.clean_leftovers()
    assert not any(process.alive(pid) for pid in pids)
    assert not base.exists()


def test_an_interrupted_program_leaves_nothing(program):
    child, base, pids = program
    child.send_signal(signal.SIGINT)
    child.wait(timeout=60)
    assert not base.exists()
    assert not any(process.alive(pid) for pid in pids)
    assert not _at(base)


async def test_orphans_of_a_killed_postmaster_go_with_the_cluster():
    async with throwaway() as cluster:
        base = cluster.data_dir.parent
        connection = await asyncpg.connect(cluster.dsn())
        backend = await connection.fetchval("SELECT pg_backend_pid()")
        process.send([backend], signal.SIGSTOP)
        process.send([cluster.status().pid], signal.SIGKILL)
    connection.terminate()
    assert not process.alive(backend)
    assert not base.exists()


async def test_no_shared_memory_is_left_by_killed_clusters():
    async with throwaway() as cluster:
        lines = (cluster.data_dir / "postmaster.pid").read_text().splitlines()
        segment = int(lines[6].split()[1])
        await cluster.kill()
        assert process.shared_memory_users(segment) == 0
    assert process.shared_memory_users(segment) is None


async def test_keep_leaves_it_running_and_is_no_leftover():
    async with throwaway(keep=True) as cluster:
        pass
    base = cluster.data_dir.parent
    try:
        assert cluster.status().running
        assert not list(cache_dir("running").glob(f"{base.name.removeprefix('filban-')}.json"))
    finally:
        await cluster.remove()
        (base / ".filban-throwaway").unlink()
        base.rmdir()


async def test_an_exception_in_the_block_removes_even_what_was_to_be_kept():
    with pytest.raises(ZeroDivisionError):
        async with throwaway(keep=True) as cluster:
            raise ZeroDivisionError
    assert not cluster.data_dir.parent.exists()


# Judged by pid and start time


def _remember(base: Path, **changed: object) -> Path:
    """A state file for `base`, as of this very process, with changes."""
    state = cache_dir("running") / f"{base.name}.json"
    known = {"base": str(base), **abandoned._our_identity(), **changed}
    state.write_text(json.dumps(known))
    return state


@pytest.fixture
def base(tmp_path):
    """The directory of a throwaway cluster that never got further."""
    directory = tmp_path / f"filban-{random.randbytes(4).hex()}"
    directory.mkdir()
    (directory / ".filban-throwaway").write_text("")
    yield directory
    for state in cache_dir("running").glob(f"{directory.name}.*"):
        state.unlink()


def test_of_a_living_program(base):
    _remember(base)
    assert not _at(base)


@pytest.mark.parametrize("changed", [{"start_time": 1}, {"boot": "another"}, {"pid": 2**22 + 1}])
async def test_of_a_program_whose_pid_was_reused_or_that_is_gone(base, changed):
    state = _remember(base, **changed)
    assert _at(base)
    await abandoned.clean_leftovers()
    assert not base.exists()
    assert not state.exists()


def test_of_another_container_nothing_is_said(base):
    _remember(base, pid=2**22 + 1, pid_namespace="pid:[1]")
    assert not _at(base)


async def test_a_reused_postmaster_pid_is_never_signalled(base):
    data = base / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("15\n")
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        (data / "postmaster.pid").write_text(f"{bystander.pid}\n{data}\n")
        _remember(base, start_time=1)
        assert _at(base)[0].postmasters == ()
        await abandoned.clean_leftovers()
        assert not base.exists()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_directory_without_our_mark_is_never_removed(base):
    (base / ".filban-throwaway").unlink()
    (base / "precious").touch()
    state = _remember(base, start_time=1)
    assert not _at(base)
    assert (base / "precious").exists()
    assert not state.exists()


def test_a_damaged_state_file_is_dropped(base):
    state = _remember(base)
    state.write_text("{")
    leftovers()
    assert not state.exists()


# Cancelled at any instant


def _traces() -> set[str]:
    """Base directories, state files and half-made templates of this process."""
    ours = {
        p for p in cache_dir("running").glob("*.json") if f'"pid": {os.getpid()},' in p.read_text()
    }
    return {str(p) for p in [*ours, *cache_dir("templates").glob("half-*")]}


async def _cancel_after(delay: float, **kwargs) -> Path | None:
    """Start a throwaway cluster and cancel it `delay` seconds later."""
    before = _traces()
    seen: set[Path] = set()

    async def start():
        async with throwaway(**kwargs):
            await asyncio.sleep(1000)

    task = asyncio.create_task(start())
    deadline = asyncio.get_running_loop().time() + delay
    while asyncio.get_running_loop().time() < deadline:
        seen |= {
            Path(json.loads(Path(p).read_text())["base"])
            for p in _traces() - before
            if p.endswith("json")
        }
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _traces() == before
    for base in seen:
        assert not base.exists()
        assert not [p for p in process.everything() if str(base) in " ".join(process.arguments(p))]
    return next(iter(seen), None)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.12, 0.2])
async def test_cancelled_start(delay):
    await _cancel_after(delay)


@pytest.mark.parametrize("delay", [0.3])
async def test_cancelled_initdb(delay):
    await _cancel_after(delay, template_cache=False)


async def test_cancelled_making_of_a_template():
    with tempfile.TemporaryDirectory(dir="/tmp") as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FILBAN_CACHE", cache)
        await _cancel_after(0.4)


@pytest.mark.long
async def test_cancelled_at_many_instants():
    chance = random.Random(20261123)
    for _ in range(100):
        await _cancel_after(chance.uniform(0, 0.5))
