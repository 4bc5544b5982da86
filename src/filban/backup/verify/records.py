"""Every WAL record's own checksum, by pg_waldump: for archives that have recorded no digests.

Given an end that is a segment's, pg_waldump reaches it with status 0 unless a record before it is
broken; where a segment was switched early, the next record begins at that end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from filban.backup.restore.reading import scratch
from filban.backup.shelf import Shelf
from filban.backup.timeline.coverage import Archive
from filban.backup.timeline.segment import Place
from filban.backup.verify.faults import Fault
from filban.cluster import run_program
from filban.cluster.binaries import Binaries
from filban.pg.lsn import format_lsn, parse_lsn

# Segments on our disk at a time, and one more: the last record may go on there.
SEGMENTS_AT_A_TIME = 8
_BROKEN = re.compile(r"error in WAL record at (?P<after>[0-9A-F]+/[0-9A-F]+): (?P<how>.*)")
# "… in record at X", "invalid record length at X": where it is, rather than behind what.
_AT = re.compile(r" at (?P<lsn>[0-9A-F]+/[0-9A-F]+)")
_PAGE = re.compile(r"in (?:log segment|WAL segment) (?P<segment>[0-9A-F]{24})")


async def check_records(
    shelf: Shelf, archive: Archive, binaries: Binaries, since: int
) -> list[Fault]:
    """A fault for each stretch of consecutive segments in which a record is broken, from the
    segment of LSN `since` on. Raises what fetching a segment raises."""
    first = since // archive.segment_bytes
    faults: list[Fault] = []
    for run in _runs(p for p in sorted(archive.segments) if p.number >= first):
        for at in range(0, len(run), SEGMENTS_AT_A_TIME):
            batch = run[at : at + SEGMENTS_AT_A_TIME + 1]
            fault = await _check(shelf, batch, archive.segment_bytes, binaries)
            if fault is not None:
                faults.append(fault)
    return faults


def _runs(places: Iterable[Place]) -> list[list[Place]]:
    """Consecutive segments of one timeline each."""
    found: list[list[Place]] = []
    for place in places:
        if found and place == Place(found[-1][-1].timeline, found[-1][-1].number + 1):
            found[-1].append(place)
        else:
            found.append([place])
    return found


async def _check(
    shelf: Shelf, batch: Sequence[Place], size: int, binaries: Binaries
) -> Fault | None:
    with scratch() as directory:
        for place in batch:
            name = place.name(size)
            await shelf.fetch_wal(name, directory / name)
        done = await run_program(
            binaries.program("pg_waldump"), "--stats", f"--path={directory}",
            f"--timeline={batch[0].timeline}", f"--start={format_lsn(batch[0].number * size)}",
            f"--end={format_lsn((batch[-1].number + 1) * size)}",
            as_owner_of=directory, check=False,
        )  # fmt: skip
    if done.status == 0:
        return None
    return _fault(done.stderr, batch, size)


def _fault(said: str, batch: Sequence[Place], size: int) -> Fault | None:
    """None where there is nothing but the rest of an older record: not one begins here."""
    if "could not find a valid record" in said and len(batch) == 1:
        return None
    match = _BROKEN.search(said)
    how = match["how"] if match else said.strip().splitlines()[-1]
    page, at = _PAGE.search(how), _AT.search(how)
    if page is not None:
        return Fault("wal.damaged", page["segment"], how)
    where = at["lsn"] if at else match["after"] if match else None
    number = batch[0].number if where is None else parse_lsn(where) // size
    return Fault("wal.damaged", Place(batch[0].timeline, number).name(size), how)
