"""Each fault that other tools pass over with status 0: filban names it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shelves import FileShelf, World, world

from filban.backup.verify.check import verify

SEED = 20261123
FLIPS, FLIPS_BY_DEFAULT = 500, 25


@pytest.fixture(scope="module")
def pristine(majors, tmp_path_factory) -> Iterator[FileShelf]:
    """Two backups in three codecs and WAL behind them, made once and never touched."""
    from conftest import elsewhere

    root = tmp_path_factory.mktemp("pristine") / "shelf"

    async def make() -> FileShelf:
        async with world(majors[15]) as here:
            await here.execute("CREATE TABLE public.t AS SELECT g FROM generate_series(1, 999) g")
            await here.backup("PLAIN")
            await here.execute("INSERT INTO public.t SELECT 1")
            await here.backup("GZIP", "--compress=gzip:1")
            await here.backup("LZ4", "--compress=server-lz4")
            for _ in range(2):
                await here.execute("INSERT INTO public.t SELECT 1")
                await here.archived()
            shutil.copytree(here.shelf.root, root)
            shelf = FileShelf(root)
            shelf.taken = here.shelf.taken
            return shelf

    with elsewhere() as run:
        yield run(make())


@pytest.fixture
def shelf(pristine: FileShelf, tmp_path: Path) -> FileShelf:
    """A copy that a test may damage."""
    shutil.copytree(pristine.root, tmp_path / "shelf")
    copy = FileShelf(tmp_path / "shelf")
    copy.taken = list(pristine.taken)
    return copy


def flip(path: Path, offset: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def cut(path: Path, keep: float) -> None:
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * keep))


async def faults(shelf: FileShelf) -> list[tuple[str, str]]:
    return [(f.code, f.subject) for f in (await verify(shelf)).faults]


async def test_a_good_repository_has_no_fault(shelf: FileShelf):
    found = await verify(shelf)
    assert found.faults == ()
    assert {w.backup for w in found.windows} == {"PLAIN", "GZIP", "LZ4"}
    assert len({w.end for w in found.windows}) == 1
    shelf.note()
    assert await faults(shelf) == []


@pytest.mark.parametrize(
    ("label", "name"), [("PLAIN", "base.tar"), ("GZIP", "base.tar.gz"), ("LZ4", "base.tar.lz4")]
)
@pytest.mark.parametrize("keep", [0.0, 0.4, 0.99])
async def test_a_truncated_backup(shelf: FileShelf, label: str, name: str, keep: float):
    cut(shelf.file(label, name), keep)
    found = await faults(shelf)
    assert any(code in ("backup.damaged", "backup.missing") for code, _ in found)
    assert all(subject.startswith(label) for _, subject in found)


async def test_a_backup_whose_end_of_archive_is_cut_off(shelf: FileShelf):
    path = shelf.file("PLAIN", "base.tar")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1024)
    assert await faults(shelf) == [("backup.damaged", "PLAIN/base.tar")]


async def test_a_missing_container(shelf: FileShelf):
    shelf.file("GZIP", "base.tar.gz").unlink()
    found = await faults(shelf)
    assert ("backup.missing", "GZIP/global/pg_control") in found


async def test_a_changed_byte_in_a_file_names_the_file(shelf: FileShelf):
    path = shelf.file("PLAIN", "base.tar")
    offset = path.read_bytes().index(b"PG_VERSION") + 512  # the file behind its header
    flip(path, offset)
    ((code, subject),) = await faults(shelf)
    assert code == "backup.damaged"
    assert subject.endswith("PG_VERSION")


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
async def test_a_damaged_manifest(shelf: FileShelf, damage: str):
    path = shelf.file("LZ4", "backup_manifest")
    if damage == "flip":
        flip(path, path.stat().st_size // 2)
    elif damage == "gone":
        path.unlink()
    else:
        cut(path, 0.5 if damage == "cut" else 0)
    assert await faults(shelf) == [("backup.manifest", "LZ4")]


async def test_a_file_that_nobody_backed_up(shelf: FileShelf):
    import io
    import tarfile

    path = shelf.file("PLAIN", "base.tar")
    with tarfile.open(path, "a") as tar:
        entry = tarfile.TarInfo("base/planted")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"abc"))
    assert ("backup.extra", "PLAIN/base/planted") in await faults(shelf)


async def test_a_backup_whose_chain_is_broken(shelf: FileShelf):
    from dataclasses import replace

    shelf.taken[2] = replace(shelf.taken[2], chain=("GONE", "LZ4"))
    assert await faults(shelf) == [("backup.chain", "LZ4")]


def wal_faults() -> dict[str, tuple[Callable[[FileShelf, Path], None], str]]:
    def gone(_: FileShelf, path: Path) -> None:
        path.unlink()

    def truncated(_: FileShelf, path: Path) -> None:
        cut(path, 0.5)

    def empty(_: FileShelf, path: Path) -> None:
        cut(path, 0)

    def zeroed(_: FileShelf, path: Path) -> None:
        path.write_bytes(bytes(path.stat().st_size))

    def another(shelf: FileShelf, path: Path) -> None:
        shutil.copy(shelf.segments()[-1], path)

    return {
        "gone": (gone, "wal.gap"),
        "truncated": (truncated, "wal.truncated"),
        "empty": (empty, "wal.damaged"),
        "zeroed": (zeroed, "wal.damaged"),
        "another": (another, "wal.damaged"),
    }


@pytest.mark.parametrize("kind", list(wal_faults()))
async def test_a_segment_in_the_middle(shelf: FileShelf, kind: str):
    damage, code = wal_faults()[kind]
    path = shelf.segments()[-2]
    damage(shelf, path)
    found = await verify(shelf)
    assert [(f.code, f.subject) for f in found.faults] == [(code, path.name)]
    assert {w.gap for w in found.windows if w.gap} == {path.name}


async def test_a_flipped_bit_in_a_record_without_recorded_digests(shelf: FileShelf):
    """Its page headers are whole and nobody has noted its SHA-256: the record's own CRC tells."""
    path = shelf.segments()[-1]
    written = len(path.read_bytes().rstrip(b"\0"))
    chance = random.Random(SEED)
    for _ in range(5):
        offset = chance.randrange(64, min(written, 8000))
        flip(path, offset)
        found = await faults(shelf)
        assert [code for code, _ in found] == ["wal.damaged"], offset
        assert found[0][1] == path.name
        flip(path, offset)
    assert await faults(shelf) == []


async def test_wal_that_a_backup_needs_to_become_consistent(shelf: FileShelf):
    """Nothing is behind the hole: it is no gap between segments, and the backup is worthless."""
    last = max(shelf.taken, key=lambda b: b.start_lsn)
    for path in shelf.segments():
        if int(path.name[16:], 16) >= last.start_lsn >> 24:
            path.unlink()
    assert ("wal.gap", "LZ4") in await faults(shelf)


async def test_wal_of_another_cluster(shelf: FileShelf):
    """Its first page is whole and says whose it is."""
    path = shelf.segments()[-2]
    flip(path, 24)  # XLogLongPageHeaderData.xlp_sysid
    assert await faults(shelf) == [("backup.foreign", path.name)]


async def test_a_backup_of_another_cluster(shelf: FileShelf):
    from dataclasses import replace

    other = shelf.taken[1]
    shelf.taken[1] = replace(other, end_lsn=other.end_lsn + 8)
    assert await faults(shelf) == [("backup.foreign", "GZIP")]


def places(shelf: FileShelf, count: int) -> list[tuple[Path, int, int]]:
    """Random bits, each file as likely as its size deserves, and each file at least once."""
    chance = random.Random(SEED)
    everything = [p for p in sorted(shelf.root.rglob("*")) if p.is_file() and p.suffix != ".sha256"]
    everything = [p for p in everything if p.stat().st_size]
    weights = [p.stat().st_size for p in everything]
    chosen = everything + chance.choices(everything, weights, k=count)
    chance.shuffle(chosen)
    return [(p, chance.randrange(p.stat().st_size), chance.randrange(8)) for p in chosen[:count]]


async def every_flip_is_found(shelf: FileShelf, count: int) -> None:
    shelf.note()
    kept = [b.label for b in shelf.taken]
    for path, offset, bit in places(shelf, count):
        flip(path, offset, bit)
        found = await verify(
            shelf, only=kept[0] if path.parent == shelf.wal_dir else path.parent.name
        )
        assert found.faults, f"bit {bit} of byte {offset} of {path} (seed {SEED})"
        named = {f.subject for f in found.faults}
        assert any(path.name in n or n.startswith(path.parent.name) for n in named), (path, named)
        flip(path, offset, bit)
    assert await faults(shelf) == []


async def test_a_flipped_bit_anywhere(shelf: FileShelf):
    await every_flip_is_found(shelf, FLIPS_BY_DEFAULT)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_flipped_bit_anywhere_500_times(shelf: FileShelf):
    await every_flip_is_found(shelf, FLIPS)


async def split(here: World) -> None:
    """A standby is promoted, and the old primary goes on: both archive."""
    standby = await here.primary.standby(settings={"archive_mode": "on"})
    await here.execute("INSERT INTO public.t SELECT 2")
    from filban.pg import Limits, connection, parse

    async with connection(parse(standby.dsn()), Limits(read_only=False)) as session:
        await session.fetchval("SELECT pg_promote()")
        await session.execute("INSERT INTO public.t SELECT 3")
        await session.execute("SELECT pg_switch_wal()")
    await here.execute("INSERT INTO public.t SELECT 4")
    await here.archived()
    import asyncio

    while not list(here.shelf.wal_dir.glob("00000002????????????????")):
        await asyncio.sleep(0.05)


async def test_a_split_brain_and_a_lost_history_file(majors):
    async with world(majors[15]) as here:
        await here.execute("CREATE TABLE public.t (g int)")
        await here.backup("B1", "--compress=server-lz4")
        await split(here)
        assert ("wal.split", "timeline 1") in await faults(here.shelf)
        (here.shelf.wal_dir / "00000002.history").unlink()
        assert ("wal.history", "00000002.history") in await faults(here.shelf)
