"""Read an archive of WAL: every segment's name, size and first page, every history file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from filban.backup.apart import Told, ignored
from filban.backup.timeline import history, segment
from filban.backup.timeline.coverage import Archive
from filban.backup.timeline.history import History
from filban.backup.timeline.segment import FirstPage, Place
from filban.backup.verify.contents import CHUNK, DAMAGE
from filban.backup.verify.faults import Fault
from filban.backup.verify.stored import Source, codec_of, inflated

_PARTIAL = b".partial"
_DEFAULT_SEGMENT_BYTES = 16 << 20  # initdb's; only for an archive without any readable segment
_HISTORY_MAX = 1 << 20


@dataclass(slots=True)
class Found:
    """What an archive has, and what is wrong with it. `bytes` is what was read, decompressed."""

    archive: Archive
    faults: list[Fault] = field(default_factory=list)
    system_identifiers: Counter[int] = field(default_factory=Counter)
    majors: set[int] = field(default_factory=set)
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Segment:
    name: str
    page: FirstPage | None
    size: int
    problem: str | None
    partial: bool


def read(
    source: Source,
    *,
    system_identifier: int | None = None,
    whole: bool = True,
    on_bytes: Told = ignored,
) -> Found:
    """Look at every segment. `whole` reads each to its end (a compressed one has to be read to know
    whether it is cut off); without it only the first page.

    `system_identifier`: whose WAL it has to be; None takes what most of the segments say.
    """
    segments, histories, faults = [], {}, []
    done = 0
    for path, size in source.names():
        on_bytes(done)
        done += size
        name, codec, partial = _names(path)
        if segment.NAME.fullmatch(name):
            segments.append(_segment(source, path, size, name, codec, partial, whole))
        elif match := segment.HISTORY_NAME.fullmatch(name):
            timeline = int(match[1], 16)
            try:
                histories[timeline] = _history(source, path, codec, timeline)
            except (ValueError, *DAMAGE) as error:
                faults.append(Fault("wal.history", name, str(error) or type(error).__name__))
    return _judged(segments, histories, faults, system_identifier)


def _names(path: bytes) -> tuple[str, str, bool]:
    """The bare name, the codec and whether it is still being received; pg_receivewal writes
    NAME.partial, NAME.gz.partial; the server archives NAME.partial, which we may compress."""
    name, codec = codec_of(path.rpartition(b"/")[2])
    partial = name.endswith(_PARTIAL)
    name = name.removesuffix(_PARTIAL)
    if not codec:
        name, codec = codec_of(name)
    return name.decode("ascii", "replace"), codec, partial


def _segment(
    source: Source, path: bytes, size: int, name: str, codec: str, partial: bool, whole: bool
) -> _Segment:
    page: FirstPage | None = None
    length = 0
    try:
        with source.open(path) as raw, inflated(raw, codec) as plain:
            head = _exactly(plain, segment.HEADER_BYTES)
            length = len(head)
            page = segment.first_page(head)
            if whole and codec:
                while chunk := plain.read(CHUNK):
                    length += len(chunk)
            else:
                length = size if not codec else page.segment_bytes
    except (ValueError, *DAMAGE) as error:
        return _Segment(name, page, length, str(error) or type(error).__name__, partial)
    return _Segment(name, page, length, None, partial)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size and (chunk := stream.read(size - len(data))):
        data += chunk
    return data


def _history(source: Source, path: bytes, codec: str, timeline: int) -> History:
    with source.open(path) as raw, inflated(raw, codec) as plain:
        return history.parse(timeline, plain.read(_HISTORY_MAX).decode())


def _judged(
    segments: list[_Segment],
    histories: dict[int, History],
    faults: list[Fault],
    expected: int | None,
) -> Found:
    pages = [s.page for s in segments if s.page is not None]
    sizes, systems = (
        Counter(p.segment_bytes for p in pages),
        Counter(p.system_identifier for p in pages),
    )
    size = sizes.most_common(1)[0][0] if sizes else _DEFAULT_SEGMENT_BYTES
    whose = expected or (systems.most_common(1)[0][0] if systems else None)
    good: set[Place] = set()
    partial: dict[Place, int] = {}
    for one in segments:
        found = list(_faults(one, size, whose, histories))
        faults += found
        if found:
            continue
        place = segment.place(one.name, size)
        if one.partial:
            partial[place] = place.number * size + min(one.size, size)
        else:
            good.add(place)
    faults += _missing_histories({p.timeline for p in (*good, *partial)}, histories)
    majors = {m for p in pages if (m := segment.major_of(p.magic)) is not None}
    archive = Archive(size, frozenset(good), histories, partial)
    return Found(archive, faults, systems, majors, sum(s.size for s in segments))


def _faults(
    one: _Segment, size: int, whose: int | None, histories: dict[int, History]
) -> Iterator[Fault]:
    """What is wrong with one segment; at most one fault."""
    try:
        place = segment.place(one.name, size)
    except ValueError as error:
        yield Fault("wal.damaged", one.name, str(error))
        return
    page = one.page
    if page is None or (one.problem is not None and not one.partial):
        kind = "wal.truncated" if one.size < size and page is not None else "wal.damaged"
        if not (one.partial and one.size == 0):
            yield Fault(kind, one.name, one.problem or "it has no page header")
    elif page.system_identifier != whose:
        yield Fault(
            "backup.foreign",
            one.name,
            f"it is of the cluster {page.system_identifier}, and the others are of {whose}",
        )
    elif one.size != size and not one.partial:
        yield Fault(
            "wal.truncated", one.name, f"it has {one.size:,} bytes and should have {size:,}"
        )
    elif page.start != place.number * size or not _descends(page.timeline, place, histories):
        yield Fault(
            "wal.damaged",
            one.name,
            f"it holds timeline {page.timeline} from byte {page.start:,} on, which is not its name",
        )


def _descends(timeline: int, place: Place, histories: dict[int, History]) -> bool:
    """The first page of the segment in which a promotion happened is still the old timeline's."""
    if timeline == place.timeline:
        return True
    known = histories.get(place.timeline)
    if known is None:
        return timeline < place.timeline
    return any(b.timeline == timeline for b in known.ancestors)


def _missing_histories(timelines: set[int], histories: dict[int, History]) -> Iterator[Fault]:
    named = {b.timeline for h in histories.values() for b in h.ancestors}
    for timeline in sorted((timelines | named) - {1} - set(histories)):
        yield Fault(
            "wal.history",
            f"{timeline:08X}.history",
            f"there is WAL of timeline {timeline} and no history file",
        )
