"""A drill finds what is not good, says at which step, and never raises for it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from shelves import FileShelf, World, world

from conftest import elsewhere
from filban.config import Assertion
from filban.errors import ClusterBusy, UsageError
from filban.flows.drill.equality import moment
from filban.flows.drill.rows import Options, Result
from filban.flows.drill.run import drill
from filban.pg import parse

MARK = b"a text that stands in one row only"


@pytest.fixture(scope="module")
def here(majors) -> Iterator[World]:
    async def make(here: World) -> World:
        await here.execute(
            "CREATE TABLE public.t (id int PRIMARY KEY, note text)",
            "INSERT INTO public.t SELECT g, 'note ' || g FROM generate_series(1, 2000) g",
            f"INSERT INTO public.t VALUES (0, '{MARK.decode()}')",
            "VACUUM (FREEZE) public.t",
        )
        await here.backup("B1")
        return here

    with elsewhere() as run:
        manager = world(majors[15])
        started = run(manager.__aenter__())
        try:
            yield run(make(started))
        finally:
            run(manager.__aexit__(None, None, None))


@pytest.fixture
def shelf(here: World) -> Iterator[FileShelf]:
    """The repository; its backup is put back as it was."""
    kept = here.shelf.file("B1", "base.tar").with_suffix(".kept")
    shutil.copy(here.shelf.file("B1", "base.tar"), kept)
    yield here.shelf
    kept.replace(here.shelf.file("B1", "base.tar"))


def change(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert len(old) == len(new)
    assert old in data
    path.write_bytes(data.replace(old, new))


async def failing(here: World, shelf: FileShelf, options: Options | None = None) -> Result:
    result = await drill(shelf, parse(here.dsn), options or Options(equality="full"))
    assert not result.passed
    (finding, *_) = result.findings()
    assert finding.code == "drill.failed"
    assert finding.subject.startswith(("B1", str(shelf.root)))
    return result


def failed(result: Result) -> list[str]:
    return [step.name for step in result.steps if step.ok is False]


async def test_a_row_that_is_not_the_primarys(majors):
    """A change that leaves the structure whole, in a cluster without checksums: only the comparison
    with the primary sees it."""
    async with world(majors[15], checksums=False) as bare:
        await bare.execute(
            "CREATE TABLE public.t (id int PRIMARY KEY, note text)",
            f"INSERT INTO public.t VALUES (0, '{MARK.decode()}')",
            "VACUUM (FREEZE) public.t",
        )
        await bare.backup("B1")
        change(bare.shelf.file("B1", "base.tar"), MARK, MARK.upper())
        for mode in ("full", "sample"):
            options = Options(equality=mode, manifest=False)
            result = await failing(bare, bare.shelf, options)
            assert failed(result) == ["equality"]
            assert "public.t" in result.findings()[0].title
            assert [s.name for s in result.steps if s.ok is None] == ["checksums"]


async def test_checksums_and_manifest_find_it_as_well(here: World, shelf: FileShelf):
    change(shelf.file("B1", "base.tar"), MARK, MARK.upper())
    result = await failing(here, shelf, Options(equality=None, amcheck=False, dump=False))
    assert set(failed(result)) == {"checksums", "manifest"}


async def test_an_assertion_that_does_not_hold(here: World, shelf: FileShelf):
    options = Options(
        equality=None,
        amcheck=False,
        dump=False,
        assertions=(
            Assertion("holds", "SELECT count(*) = 2001 FROM public.t"),
            Assertion("fails", "SELECT count(*) = 7 FROM public.t"),
            Assertion("is no SQL", "SELEKT"),
        ),
    )
    result = await failing(here, shelf, options)
    assert failed(result) == ["assertion fails", "assertion is no SQL"]


async def test_wal_that_is_missing(here: World, shelf: FileShelf):
    """The segment in which the backup begins."""
    victim = shelf.wal_dir / f"{1:08X}{0:08X}{shelf.taken[0].start_lsn >> 24:08X}"
    hidden = victim.rename(victim.with_suffix(".hidden"))
    try:
        result = await failing(here, shelf)
    finally:
        hidden.rename(victim)
    assert failed(result) == ["look"]


async def test_a_truncated_backup(here: World, shelf: FileShelf):
    path = shelf.file("B1", "base.tar")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    result = await failing(here, shelf)
    assert failed(result) == ["files"]


async def test_an_archive_that_stands_still(
    here: World, shelf: FileShelf, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("filban.flows.drill.run.ARCHIVE_SECONDS", 0.5)
    command = await here.fetchval("SHOW archive_command")
    here.primary.configure({"archive_command": "false"})
    await here.primary.reload()
    try:
        await here.execute("INSERT INTO public.t VALUES (-1, 'not archived')")
        result = await drill(shelf, parse(here.dsn), Options())
    finally:
        here.primary.configure({"archive_command": command})
        await here.primary.reload()
        await here.execute("DELETE FROM public.t WHERE id = -1")
        await here.archived()
    assert failed(result) == ["archive"]


async def test_writers_that_never_pause(here: World):
    """The lock is not waited for behind a long transaction: nobody queues behind us for long."""
    writer = await asyncpg.connect(here.dsn)
    try:
        async with writer.transaction():
            await writer.execute("UPDATE public.t SET note = note WHERE id = 1")
            with pytest.raises(ClusterBusy, match="never free of writers"):
                async with moment(parse(here.dsn), tries=2):
                    pass
            other = await asyncpg.connect(here.dsn)
            try:
                await asyncio.wait_for(
                    other.execute("UPDATE public.t SET note = note WHERE id = 2"), timeout=30
                )
            finally:
                await other.close()
    finally:
        await writer.close()


async def test_a_table_that_is_not_there(here: World, shelf: FileShelf):
    with pytest.raises(UsageError, match=r"public\.nothing"):
        await drill(shelf, parse(here.dsn), Options(tables=("public.nothing",)))


async def test_nothing_is_left_behind(here: World, shelf: FileShelf):
    from filban.cluster import leftovers
    from filban.cluster.owner import server_user
    from filban.cluster.places import scratch_root

    root = scratch_root(server_user())
    before = set(root.glob("filban-*"))
    change(shelf.file("B1", "base.tar"), MARK, MARK.upper())
    await failing(here, shelf, Options(equality=None, amcheck=False, dump=False))
    ours = set(root.glob("filban-*")) - before
    assert not [p for p in ours if (p / "data" / "filban_recovery_hba.conf").exists()]
    assert not leftovers() or all(left.base not in ours for left in leftovers())
