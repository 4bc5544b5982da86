"""The cached template: made once, by whoever comes first, and again when it is damaged."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path

import asyncpg
import pytest

from filban.cluster import find_binaries, template, throwaway


@pytest.fixture(scope="module")
def cache():
    """A cache of this module's own, empty at first, that the server user can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name, pytest.MonkeyPatch.context() as patch:
        Path(name).chmod(0o755)
        patch.setenv("FILBAN_CACHE", name)
        yield Path(name)


@pytest.fixture
def initdbs(monkeypatch):
    """Counts how often initdb made a data directory."""
    calls = []
    really = template.initdb

    async def counted(*args, **kwargs):
        calls.append(args)
        await really(*args, **kwargs)

    monkeypatch.setattr(template, "initdb", counted)
    return calls


async def _works() -> None:
    async with throwaway() as cluster:
        connection = await asyncpg.connect(cluster.dsn())
        assert await connection.fetchval("SELECT count(*) FROM pg_class") > 0
        await connection.close()


@pytest.fixture
async def entry(cache):
    """The one template in the cache."""
    await _works()
    [stamp] = cache.glob("templates/*/whole.json")
    return stamp.parent


async def test_it_is_made_once(cache, initdbs):
    await asyncio.gather(_works(), _works(), _works())
    await _works()
    assert len(initdbs) == 1


def _truncate(entry: Path) -> None:
    (entry / "data" / "global" / "pg_control").write_bytes(b"")


def _lose_a_file(entry: Path) -> None:
    next((entry / "data" / "base" / "1").iterdir()).unlink()


def _spoil_the_stamp(entry: Path) -> None:
    (entry / "whole.json").write_text("{")


@pytest.mark.parametrize("damage", [_truncate, _lose_a_file, _spoil_the_stamp])
async def test_a_damaged_one_is_made_anew(entry, initdbs, damage):
    damage(entry)
    await _works()
    await _works()
    assert len(initdbs) == 1


async def test_what_a_killed_program_left_half_made_is_removed(entry):
    shutil.rmtree(entry)
    half = entry.with_name(f"half-{entry.name}-1234")
    (half / "data").mkdir(parents=True)
    await _works()
    assert not half.exists()
    assert (entry / "whole.json").exists()


async def test_the_copy_is_not_the_template(entry):
    async with throwaway() as one:
        connection = await asyncpg.connect(one.dsn())
        await connection.execute("CREATE TABLE only_here ()")
        await connection.close()
    async with throwaway() as two:
        connection = await asyncpg.connect(two.dsn())
        assert await connection.fetchval("SELECT to_regclass('only_here')") is None
        await connection.close()


async def test_the_stamped_control_file_satisfies_postgresql():
    """pg_controldata warns when the checksum does not fit."""
    binaries = find_binaries(need=["initdb", "postgres", "pg_controldata"])
    async with throwaway(binaries=binaries) as cluster:
        await cluster.stop()
        said = subprocess.run(
            [binaries.program("pg_controldata"), cluster.data_dir], capture_output=True, text=True
        )
        assert "WARNING" not in said.stdout + said.stderr


async def test_other_options_are_another_template(entry, initdbs):
    async with throwaway(checksums=False):
        pass
    assert len(initdbs) == 1
