"""Files: compressed, rotated, growing, named twice; and what is remembered of them."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import json
import lzma
import shutil
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from filban.errors import UsageError
from filban.profile.logs import (
    Analysis,
    Follower,
    LogReport,
    Positions,
    follow,
    following,
    read_logs,
)


def lines(first: int, last: int) -> str:
    return "".join(
        f"2026-11-23 09:{n // 60 % 60:02}:{n % 60:02}.{n % 1000:03} UTC [{n}] app@news LOG:  "
        f"duration: 1.000 ms  statement: SELECT {n}\n"
        for n in range(first, last)
    )


async def calls(*files: Path | str, positions: Positions | None = None) -> int:
    report = await read_logs(
        [str(f) for f in files], Analysis(), positions=positions, resumable=True
    )
    return report.calls


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "postgresql.log"
    file.write_text(lines(0, 100))
    return file


COMPRESSORS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
}


@pytest.mark.parametrize("ending", COMPRESSORS)
async def test_compressed(log, ending):
    packed = log.with_suffix(f".log.{ending}")
    packed.write_bytes(COMPRESSORS[ending](log.read_bytes()))
    log.unlink()
    assert await calls(packed) == 100
    nameless = packed.rename(packed.with_name("nameless"))
    assert await calls(nameless) == 100


# bzip2 and xz keep so much in one block that half of a small file may hold nothing.
@pytest.mark.parametrize("ending", ["gz", "zst", "lz4"])
async def test_a_broken_compressed_file_counts_up_to_there(ending, tmp_path):
    data = COMPRESSORS[ending](lines(0, 20_000).encode())
    broken = tmp_path / f"broken.log.{ending}"
    broken.write_bytes(data[: len(data) // 2])
    report = await read_logs([str(broken)], Analysis())
    assert 0 < report.calls < 20_000
    assert "not read to its end" in report.files[0].skipped


async def test_a_directory_and_a_glob(log):
    (log.parent / "postgresql-2.log").write_text(lines(100, 150))
    (log.parent / ".hidden").write_text(lines(0, 10))
    (log.parent / "notes.txt").write_text("nothing of interest\n")
    report = await read_logs([str(log.parent)], Analysis())
    assert report.calls == 150
    skipped = {Path(f.name).name: f.skipped for f in report.files if f.skipped}
    assert "no log of PostgreSQL" in skipped["notes.txt"]
    assert await calls(f"{log.parent}/postgresql*.log") == 150


async def test_no_file_and_no_log(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        await calls(tmp_path / "nothing")
    (tmp_path / "x").write_text("hello\n")
    with pytest.raises(UsageError, match="nothing here is a log"):
        await calls(tmp_path / "x")


async def test_the_same_file_twice_counts_once(log, tmp_path):
    copy = tmp_path / "copy.log"
    shutil.copy(log, copy)
    assert await calls(log, copy) == 100


async def test_only_what_is_new(log, tmp_path):
    state = tmp_path / "state"
    positions = Positions.load(state)
    assert await calls(log, positions=positions) == 100
    positions.save(state)

    positions = Positions.load(state)
    assert await calls(log, positions=positions) == 0
    with log.open("a") as file:
        file.write(lines(100, 130))
    assert await calls(log, positions=positions) == 30
    assert await calls(log, positions=positions) == 0


async def test_a_half_line_waits_for_its_end(log):
    positions = Positions()
    more = lines(100, 101)
    with log.open("a") as file:
        file.write(more[:60])
    assert await calls(log, positions=positions) == 100
    with log.open("a") as file:
        file.write(more[60:])
    assert await calls(log, positions=positions) == 1


@pytest.mark.parametrize("how", ["rename", "copytruncate", "compress", "compress and go on"])
async def test_a_rotated_log_is_not_counted_twice(log, how):
    positions = Positions()
    assert await calls(log, positions=positions) == 100
    with log.open("a") as file:
        file.write(lines(100, 110))
    rotated = log.with_name("postgresql.log.1")
    if how == "copytruncate":
        shutil.copy(log, rotated)
        log.write_text("")
    elif how == "rename":
        log.rename(rotated)
    else:
        rotated = rotated.with_suffix(".1.gz")
        rotated.write_bytes(gzip.compress(log.read_bytes()))
        log.unlink()
    expected = 10
    if how != "compress":
        log.write_text(lines(200, 205))
        expected += 5
    assert await calls(log.parent, positions=positions) == expected
    assert await calls(log.parent, positions=positions) == 0


async def test_a_state_file_of_something_else(tmp_path):
    file = tmp_path / "state"
    for text in ("hello", "[]", '{"version": 1}', '{"version": 7, "files": []}'):
        file.write_text(text)
        with pytest.raises(UsageError, match="not a state file"):
            Positions.load(file)
    Positions().save(file)
    assert json.loads(file.read_text()) == {"version": 1, "files": []}
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


async def test_the_same_events_in_three_files_of_one_stem(log):
    (log.with_suffix(".json")).write_text("{}\n")
    shutil.copy(log, log.with_suffix(".csv"))
    report = await read_logs([str(log.parent)], Analysis())
    assert report.calls == 100
    assert {f.skipped for f in report.files} >= {"the same events as postgresql.csv"}


async def _until(follower: Follower, wanted: int) -> LogReport:
    async with asyncio.timeout(30):
        async for report in follow(follower, every=0.01):
            if report.calls >= wanted:
                return report
    raise AssertionError


async def test_follow(log, monkeypatch):
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    follower = Follower([str(log.parent)], Analysis())
    assert (await _until(follower, 100)).calls == 100
    with log.open("a") as file:
        file.write(lines(100, 104))
        file.flush()
        assert (await _until(follower, 104)).calls == 104
        log.rename(log.with_name("postgresql.log.1"))
        file.write(lines(104, 106))  # the server goes on in the renamed file for a moment
    log.write_text(lines(300, 303))
    assert (await _until(follower, 109)).calls == 109
    assert follower.close().calls == 109


async def test_follow_needs_files():
    with pytest.raises(UsageError, match="needs files"):
        Follower(["-"], Analysis())
