"""Restoring to each kind of target; what cannot be reached is refused before anything is done."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from shelves import FileShelf, World, world

from conftest import elsewhere
from filban.backup.plain import PlainShelf
from filban.backup.restore.targets import RecoveryTarget, from_options
from filban.backup.verify.check import verify
from filban.cluster import Cluster, free_port, run_program
from filban.errors import ClusterBusy, NotGood, UsageError
from filban.flows.restore import look, restore
from filban.pg import Limits, connection, parse
from filban.pg.lsn import parse_lsn


class Marked:
    """A repository with rows 1 to 5 of public.t and where each of them was committed."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.shelf: FileShelf = here.shelf
        self.lsn: dict[int, str] = {}
        self.xid: dict[int, str] = {}
        self.time: dict[int, datetime] = {}

    async def insert(self, number: int) -> None:
        async with connection(parse(self.here.dsn), Limits(read_only=False)) as session:
            self.xid[number] = await session.fetchval(
                "INSERT INTO public.t VALUES ($1) RETURNING pg_current_xact_id()::text", number
            )
            self.lsn[number] = await session.fetchval("SELECT pg_current_wal_flush_lsn()::text")
            self.time[number] = await session.fetchval("SELECT clock_timestamp()")
            await session.execute(f"SELECT pg_create_restore_point('after {number}')")


async def marked(here: World) -> Marked:
    await here.execute("CREATE TABLE public.t (n int)")
    found = Marked(here)
    await found.insert(1)
    await here.backup("B1", "--compress=gzip:1")
    for number in (2, 3):
        await found.insert(number)
    await here.backup("B2", "--compress=server-lz4")
    for number in (4, 5):
        await found.insert(number)
    await here.archived()
    return found


@pytest.fixture(scope="module")
def repository(majors):
    with elsewhere() as run:
        manager = world(majors[15])
        here = run(manager.__aenter__())
        try:
            yield run(marked(here))
        finally:
            run(manager.__aexit__(None, None, None))


@pytest.fixture
def into(repository: Marked, request: pytest.FixtureRequest) -> Path:
    """A directory that the server user reaches; the throwaway's removal takes it along."""
    name = "".join(c if c.isalnum() else "_" for c in request.node.name)
    return repository.shelf.root.parent / f"r_{name}"[:60]


async def rows(data_dir: Path) -> list[int]:
    """Start what was restored as its owner would, and read."""
    cluster = Cluster.open(data_dir)
    cluster.configure({"listen_addresses": "", "port": free_port()})
    await cluster.start()
    try:
        async with connection(parse(cluster.dsn_socket())) as session:
            assert await session.fetchval("SHOW archive_mode") == "off"
            assert not await session.fetchval("SELECT pg_is_in_recovery()")
            found = await session.fetch("SELECT n FROM public.t ORDER BY n")
            return [r[0] for r in found]
    finally:
        await cluster.stop()


async def restored(repository: Marked, target: RecoveryTarget, into: Path, **kwargs: Any):
    found = await look(repository.shelf, target, **kwargs)
    return await restore(repository.shelf, found, into)


async def test_to_the_newest(repository: Marked, into: Path):
    done = await restored(repository, from_options(latest=True), into)
    assert await rows(into) == [1, 2, 3, 4, 5]
    assert done.look.plan.backup.label == "B2"
    assert done.look.commits_lost == 0
    assert done.outcome.timeline == 2


async def test_to_a_time_in_another_zone(repository: Marked, into: Path):
    moment = repository.time[2].astimezone(timezone(timedelta(hours=3, minutes=30)))
    done = await restored(repository, from_options(to=moment.isoformat(sep=" ")), into)
    assert await rows(into) == [1, 2]
    assert done.look.plan.backup.label == "B1"  # the newer one ends behind the moment
    assert done.look.commits_lost == 3


async def test_to_an_lsn(repository: Marked, into: Path):
    done = await restored(repository, from_options(lsn=repository.lsn[4]), into)
    assert await rows(into) == [1, 2, 3, 4]
    assert done.look.plan.backup.label == "B2"


async def test_to_just_before_a_transaction(repository: Marked, into: Path):
    done = await restored(repository, from_options(xid=repository.xid[3], exclusive=True), into)
    assert await rows(into) == [1, 2]
    assert done.look.commits_lost == 3


async def test_to_a_transaction(repository: Marked, into: Path):
    await restored(repository, from_options(xid=repository.xid[3]), into)
    assert await rows(into) == [1, 2, 3]


async def test_to_a_name(repository: Marked, into: Path):
    await restored(repository, from_options(name="after 4"), into)
    assert await rows(into) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "target",
    [
        from_options(to="2001-01-01 00:00Z"),
        from_options(to="2999-01-01 00:00Z"),
        from_options(lsn="FF/0"),
        from_options(lsn="0/10"),
        from_options(name="never made"),
        from_options(xid="4000000000"),
    ],
    ids=str,
)
async def test_what_cannot_be_reached_is_refused_at_once(
    repository: Marked, into: Path, target: RecoveryTarget
):
    with pytest.raises(UsageError) as refused:
        await restored(repository, target, into)
    assert refused.value.hint
    assert not into.exists()


async def test_a_target_before_the_end_of_the_only_backup(repository: Marked, into: Path):
    with pytest.raises(UsageError, match="cannot be reached") as refused:
        await restored(repository, from_options(lsn=repository.lsn[2]), into, label="B2")
    assert "what can be reached" in refused.value.hint


async def test_a_directory_that_is_not_empty(repository: Marked, into: Path):
    into.mkdir()
    (into / "precious").write_text("mine")
    with pytest.raises(ClusterBusy, match="not empty"):
        await restored(repository, from_options(), into)
    assert (into / "precious").read_text() == "mine"


async def test_a_recovery_that_does_not_reach_its_target_leaves_nothing(
    repository: Marked, into: Path
):
    """The archive loses a segment between the look and the restore."""
    found = await look(repository.shelf, from_options(name="after 5"))
    last = repository.shelf.segments()[-1]
    hidden = last.rename(last.with_suffix(".hidden"))
    try:
        with pytest.raises(NotGood, match="did not reach"):
            await restore(repository.shelf, found, into)
    finally:
        hidden.rename(last)
    assert not into.exists()
    assert not into.with_name(f"{into.name}.restoring").exists()


async def test_damaged_wal_is_no_end_of_wal(repository: Marked, into: Path):
    """PostgreSQL promotes without an error at a bad record: the later commits are missing."""
    found = await look(repository.shelf, from_options(latest=True))
    victim = repository.shelf.segments()[-1]
    good = victim.read_bytes()
    at = parse_lsn(repository.lsn[4]) % len(good) + 8  # in the record behind row 4
    try:
        victim.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(NotGood, match=r"damaged WAL|before the end"):
            await restore(repository.shelf, found, into)
    finally:
        victim.write_bytes(good)
    assert not into.exists()


async def test_a_hole_is_not_passed_over_by_latest(repository: Marked, into: Path):
    victim = repository.shelf.segments()[-2]
    hidden = victim.rename(victim.with_suffix(".hidden"))
    try:
        with pytest.raises(NotGood):
            await restored(repository, from_options(latest=True), into)
    finally:
        hidden.rename(victim)
    assert not into.exists()


async def test_delta_keeps_equal_files_and_removes_others(repository: Marked, into: Path):
    await restored(repository, from_options(name="after 4"), into)
    (into / "base" / "stray").write_text("left behind")
    kept = into / "base" / "1" / "PG_VERSION"
    inode = kept.stat().st_ino
    kept.chmod(0o600)
    before = kept.stat().st_mtime_ns
    found = await look(repository.shelf, from_options(latest=True))
    await restore(repository.shelf, found, into, delta=True)
    assert not (into / "base" / "stray").exists()
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (inode, before)
    assert await rows(into) == [1, 2, 3, 4, 5]


async def test_delta_spares_another_cluster_and_a_running_one(
    repository: Marked, into: Path, pg: Cluster
):
    found = await look(repository.shelf, from_options())
    with pytest.raises(ClusterBusy, match="runs on"):
        await restore(repository.shelf, found, pg.data_dir, delta=True)
    other = await Cluster.create(into, durable=False)
    with pytest.raises(UsageError, match="is the cluster"):
        await restore(repository.shelf, found, other.data_dir, delta=True)


async def test_a_restore_that_was_killed_is_begun_again(repository: Marked, into: Path):
    into.mkdir()
    (into / "half").write_text("written")
    into.with_name(f"{into.name}.restoring").write_text("1")
    await restored(repository, from_options(), into)
    assert await rows(into) == [1, 2, 3, 4, 5]


async def test_clock_skew(repository: Marked, into: Path):
    """The catalogue's clock runs an hour ahead of the server's: the older backup is taken, and the
    log decides."""
    shelf = FileShelf(repository.shelf.root)
    shelf.taken = [
        replace(b, finished_at=b.finished_at + timedelta(hours=1)) for b in repository.shelf.taken
    ]
    moment = repository.time[4].astimezone(UTC)
    with pytest.raises(UsageError, match="cannot be reached"):
        await look(shelf, from_options(to=moment.isoformat(sep=" ")))
    shelf.taken[0] = repository.shelf.taken[0]
    found = await look(shelf, from_options(to=moment.isoformat(sep=" ")))
    assert found.plan.backup.label == "B1"
    await restore(shelf, found, into)
    assert await rows(into) == [1, 2, 3, 4]


async def test_a_tablespace_goes_where_it_is_told(majors, tmp_path: Path):
    async with world(majors[15]) as here:
        base = here.shelf.root.parent
        old, new = base / "space", base / "new_space"
        await run_program("mkdir", old, as_owner_of=base)
        await here.execute(
            f"CREATE TABLESPACE s LOCATION '{old}'", "CREATE TABLE public.t (n int) TABLESPACE s",
            "INSERT INTO public.t VALUES (7)",
        )  # fmt: skip
        await here.backup("B1", "--compress=gzip:1")
        oid = str(await here.fetchval("SELECT oid FROM pg_tablespace WHERE spcname = 's'"))
        found = await look(here.shelf, from_options())
        with pytest.raises(UsageError, match=oid):
            await restore(here.shelf, found, base / "r1")
        await restore(here.shelf, found, base / "r2", tablespaces={oid: new})
        assert (base / "r2" / "pg_tblspc" / oid).readlink() == new
        assert await rows(base / "r2") == [7]
        assert any(new.iterdir())


async def test_a_split_brain_needs_a_choice(majors):
    from test_verify_faults import split

    async with world(majors[15]) as here:
        await here.execute("CREATE TABLE public.t (n int)")
        await here.backup("B1", "--compress=server-lz4")
        await split(here)
        with pytest.raises(NotGood, match="two servers took commits"):
            await look(here.shelf, from_options())
        base = here.shelf.root.parent
        for timeline, wanted in ((1, [2, 4]), (2, [2, 3])):
            found = await look(here.shelf, from_options(), timeline=timeline)
            await restore(here.shelf, found, base / f"r{timeline}")
            assert await rows(base / f"r{timeline}") == wanted


async def test_a_backup_in_plain_format(majors):
    """Its empty directories are in no manifest and in no list of files."""
    async with world(majors[15]) as here:
        await here.execute("CREATE TABLE public.t (n int)", "INSERT INTO public.t VALUES (7)")
        await here.backup("PLAIN", "--format=plain")
        shelf = PlainShelf(here.shelf.root)
        assert (await verify(shelf)).faults == ()
        into = here.shelf.root.parent / "r"
        await restore(shelf, await look(shelf, from_options()), into)
        assert await rows(into) == [7]
        planted = here.shelf.file("PLAIN", "base") / "planted"
        planted.write_text("not backed up")
        assert [f.code for f in (await verify(shelf)).faults] == ["backup.extra"]
