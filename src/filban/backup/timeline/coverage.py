"""Which stretch of which timeline is there: pure, from segments and history files.

Recovery follows one line of descent: of each segment it takes the one of the newest timeline on
that line which had begun by then (XLogFileReadAnyTLI in xlogrecovery.c). A segment in which a
promotion happened is there twice, or only on the new timeline: both are whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from filban.backup.timeline.history import History
from filban.backup.timeline.segment import Place


class StartsAt(Protocol):
    """A backup as coverage needs it: the WAL from `start_lsn` to `end_lsn` makes it consistent."""

    @property
    def label(self) -> str: ...
    @property
    def timeline(self) -> int: ...
    @property
    def start_lsn(self) -> int: ...
    @property
    def end_lsn(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive has. `partial`: how far a segment that is still being received goes, as the
    LSN behind its last byte; the receiver's newest one."""

    segment_bytes: int
    segments: frozenset[Place]
    histories: Mapping[int, History]
    partial: Mapping[Place, int]

    def history(self, timeline: int) -> History | None:
        """None where its history file is missing; timeline 1 needs none."""
        return self.histories.get(timeline) or (History(1) if timeline == 1 else None)

    def timelines(self) -> list[int]:
        """Every timeline of which anything is there, ascending."""
        return sorted({p.timeline for p in (*self.segments, *self.partial)} | {*self.histories})


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` (the earliest point that `backup` can be restored to) to `end` (exclusive), on
    the way to `timeline`. `gap` names the first missing segment, if more WAL follows it."""

    backup: str
    timeline: int
    start: int
    end: int
    gap: str | None = None

    @property
    def is_usable(self) -> bool:
        """Whether the backup can become consistent at all."""
        return self.end >= self.start


@dataclass(frozen=True, slots=True)
class Abandoned:
    """WAL of `timeline` behind the point where `child` left it: a restore to `child` (what `latest`
    takes) does not have it. After a split brain these are rows that were committed."""

    timeline: int
    child: int
    branched_at: int
    end: int

    @property
    def bytes(self) -> int:
        return self.end - self.branched_at


def line_of(archive: Archive, history: History) -> Iterator[tuple[int, int, int | None]]:
    """(timeline, first, last segment or None) on the way to a timeline, the oldest first."""
    begin = 0
    for branch in history.ancestors:
        yield branch.timeline, begin, max(branch.end - 1, 0) // archive.segment_bytes
        begin = branch.end // archive.segment_bytes
    yield history.timeline, begin, None


def find(archive: Archive, history: History, number: int) -> Place | None:
    """The segment that recovery would read there, the newest timeline's first; else None."""
    for timeline, first, last in reversed(list(line_of(archive, history))):
        candidate = Place(timeline, number)
        if first <= number and (last is None or number <= last) and candidate in archive.segments:
            return candidate
    return None


def reach(archive: Archive, history: History, start: int) -> tuple[int, int | None]:
    """How far WAL goes without a hole from the LSN `start` on, and the first missing segment's
    number if there is more behind it."""
    number = start // archive.segment_bytes
    newest = max((p.number for p in archive.segments if _on(archive, history, p)), default=-1)
    while find(archive, history, number) is not None:
        number += 1
    end = number * archive.segment_bytes
    if newest > number:
        return end, number
    received = [archive.partial.get(Place(t, number)) for t, _, _ in line_of(archive, history)]
    return max([end, *(r for r in received if r is not None)]), None


def _on(archive: Archive, history: History, place: Place) -> bool:
    return any(
        place.timeline == timeline
        and first <= place.number
        and (last is None or place.number <= last)
        for timeline, first, last in line_of(archive, history)
    )


def windows(archive: Archive, backups: Iterable[StartsAt]) -> list[Window]:
    """Where each backup can be brought to, on every timeline that descends from its own."""
    found = []
    for backup in backups:
        for timeline in sorted({*archive.timelines(), backup.timeline}):
            history = archive.history(timeline) or (
                History(timeline) if timeline == backup.timeline else None
            )
            if history is None or not history.includes(backup.timeline, backup.end_lsn):
                continue
            end, missing = reach(archive, history, backup.start_lsn)
            gap = None
            if missing is not None:
                owner = history.timeline_at(missing * archive.segment_bytes)
                gap = Place(owner, missing).name(archive.segment_bytes)
            found.append(Window(backup.label, timeline, backup.end_lsn, end, gap))
    return found


def holes(archive: Archive, since: int = 0) -> list[Place]:
    """Segments that are missing between others, on the way to any timeline, from LSN `since` on."""
    missing: set[Place] = set()
    for timeline in archive.timelines():
        history = archive.history(timeline) or History(timeline)
        numbers = {p.number for p in archive.segments if _on(archive, history, p)}
        numbers = {n for n in numbers if n >= since // archive.segment_bytes}
        if not numbers:
            continue
        for number in range(min(numbers), max(numbers)):
            if number not in numbers:
                owner = history.timeline_at(number * archive.segment_bytes)
                missing.add(Place(owner, number))
    return sorted(missing)


def abandoned(archive: Archive) -> list[Abandoned]:
    """Timelines that went on after another one had left them.

    The segment in which a promotion happens is archived whole on the old timeline only if that one
    went on: the promoted server archives its own copy as NAME.partial.
    """
    found = []
    for history in archive.histories.values():
        parent = history.parent
        if parent is None:
            continue
        branch_segment = parent.end // archive.segment_bytes
        whole = [
            (p.number + 1) * archive.segment_bytes
            for p in archive.segments
            if p.timeline == parent.timeline and p.number >= branch_segment
        ]
        end = max(whole, default=0)
        if end > parent.end:
            found.append(Abandoned(parent.timeline, history.timeline, parent.end, end))
    return found
