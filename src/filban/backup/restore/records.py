"""What WAL says, read by pg_waldump: commits with their times, restore points, dropped files."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filban.backup.timeline.segment import Place
from filban.cluster.binaries import Binaries
from filban.cluster.run import CompletedRun, failure, run_program
from filban.pg.lsn import format_lsn, parse_lsn

# Puts the named segment, decompressed, at the path.
Fetch = Callable[[str, Path], Awaitable[None]]
# Segments that are read at a time: bounds the disk and, as pg_waldump's lines are kept until it
# ends, the memory that a scan takes (64 MB of WAL hold at most half a million commits).
SEGMENTS_AT_A_TIME = 4
_LINE = re.compile(
    r"^rmgr: (?P<rmgr>\w+)\s+len \(rec/tot\):.*?, tx:\s*(?P<xid>\d+), "
    r"lsn: (?P<lsn>[0-9A-F]+/[0-9A-F]+), prev \S+ desc: (?P<what>\w+)\s?(?P<rest>.*)$"
)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC")
_RELS = re.compile(r"; rels:((?: [^\s;]+)+)")
# Where the scan of some segments ends: the next one is not in this batch, or not written yet.
_ENDS = re.compile(
    r"could not find file|invalid magic number|invalid record length|could not find a valid record|"
    r"unexpected pageaddr|contrecord|out-of-sequence|record with incorrect prev-link|"
    r"invalid resource manager|incorrect resource manager data checksum|no valid record"
)


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `time` is set for commits, aborts and restore points; `files` for commits that
    remove relations' files ("base/DATABASE/FILENODE"); `name` for restore points."""

    lsn: int
    xid: int
    what: str
    time: datetime | None = None
    files: tuple[str, ...] = ()
    name: str | None = None


def parse_line(line: str) -> Record | None:
    """One line of pg_waldump; None for a record that none of us asks for."""
    match = _LINE.match(line)
    if match is None:
        return None
    rest = match["rest"]
    moment, files = _TIME.search(rest), _RELS.search(rest)
    is_point = match["what"] == "RESTORE_POINT"
    return Record(
        lsn=parse_lsn(match["lsn"]),
        xid=int(match["xid"]),
        what=match["what"],
        time=None
        if moment is None
        else datetime.strptime(moment[1], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC),
        files=tuple(files[1].split()) if files else (),
        name=rest.strip() if is_point else None,
    )


async def scan(
    binaries: Binaries,
    fetch: Fetch,
    places: Sequence[Place],
    segment_bytes: int,
    scratch: Path,
    rmgrs: Sequence[str] = ("Transaction",),
) -> AsyncGenerator[Record]:
    """Records of some resource managers in consecutive segments, the oldest first.

    The segments may be of several timelines, a line of descent: pg_waldump looks for one timeline's
    names only, and they are given to it under the last one's. `fetch` gets the true names.
    `scratch`: an empty directory of the server user; it holds few segments at a time.
    Raises ProgramFailed, BinariesNotFound, and what `fetch` raises.
    """
    last, timeline = -1, places[-1].timeline if places else 0
    for first in range(0, len(places), SEGMENTS_AT_A_TIME):
        # One more than the batch: its last record may go on there.
        batch = places[first : first + SEGMENTS_AT_A_TIME + 1]
        files = [scratch / Place(timeline, p.number).name(segment_bytes) for p in batch]
        for place, file in zip(batch, files, strict=True):
            if not file.exists():
                await fetch(place.name(segment_bytes), file)
        start, end = batch[0].number * segment_bytes, (batch[-1].number + 1) * segment_bytes
        for record in await _dump(binaries, scratch, timeline, start, end, rmgrs):
            if record.lsn > last:
                last = record.lsn
                yield record
        for file in files[:SEGMENTS_AT_A_TIME]:
            file.unlink()


async def _dump(
    binaries: Binaries,
    scratch: Path,
    timeline: int,
    start: int,
    end: int,
    rmgrs: Sequence[str],
) -> list[Record]:
    """pg_waldump ends with an error where the WAL does: at a hole, and at the end of the batch."""
    found: list[Record] = []

    def take(line: str) -> None:
        record = parse_line(line)
        if record is not None:
            found.append(record)

    done: CompletedRun = await run_program(
        binaries.program("pg_waldump"), *(f"--rmgr={r}" for r in rmgrs),
        f"--path={scratch}", f"--timeline={timeline}",
        f"--start={format_lsn(start)}", f"--end={format_lsn(end)}",
        as_owner_of=scratch, on_line=take, env={"TZ": "UTC"}, check=False,
    )  # fmt: skip
    if done.status != 0 and not _ENDS.search(done.stderr):
        raise failure(done)
    return found
