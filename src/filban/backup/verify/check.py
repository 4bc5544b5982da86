"""The whole of a repository: every backup's files and chain, every segment, every window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from filban.backup.apart import Told, apart, ignored
from filban.backup.shelf import Shelf, Stored
from filban.backup.timeline import coverage
from filban.backup.timeline import read as wal
from filban.backup.timeline.coverage import Abandoned, Window
from filban.backup.verify import files, manifest
from filban.backup.verify.contents import DAMAGE
from filban.backup.verify.faults import Fault
from filban.backup.verify.manifest import Manifest, ManifestDamaged
from filban.backup.verify.recorded import Recorded
from filban.backup.verify.records import check_records
from filban.backup.verify.stored import Source
from filban.cluster.binaries import find_binaries
from filban.errors import BinariesNotFound, UsageError
from filban.finding import Quantity
from filban.pg.lsn import format_lsn

MANIFEST = b"backup_manifest"


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found. `bytes`: read and hashed, decompressed. `unchecked`: what could
    not be checked here and why, in sentences."""

    backups: tuple[Stored, ...]
    windows: tuple[Window, ...]
    abandoned: tuple[Abandoned, ...]
    faults: tuple[Fault, ...]
    bytes: int
    unchecked: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return not self.faults


async def verify(shelf: Shelf, only: str | None = None, on_bytes: Told = ignored) -> Verified:
    """Read everything once. `only`: one backup's label; its chain and the WAL are read as well.

    Raises UsageError's kin of the repository if it cannot be read; what is wrong with what it
    holds is a fault in the answer, never an error.
    """
    backups = list(await shelf.backups())
    wanted = _wanted(backups, await shelf.labels(), only)
    faults: list[Fault] = list(_chains(backups, wanted))
    done = 0
    for label in wanted:
        work = partial(_one, shelf, label, backups)
        found, size = await apart(work, partial(_further, on_bytes, done))
        faults += found
        done += size
    known = next((b.system_identifier for b in backups), None)
    segments = Recorded(shelf.wal(), "wal.damaged", "")
    reading = partial(wal.read, segments, system_identifier=known)
    archived = await apart(lambda told: reading(on_bytes=told), partial(_further, on_bytes, done))
    await apart(segments.rest)
    faults += archived.faults + segments.faults
    unchecked, broken = await _records(shelf, archived, backups)
    faults += broken
    windows = coverage.windows(archived.archive, backups)
    faults += _wal_faults(archived, backups, windows)
    split = coverage.abandoned(archived.archive)
    faults += map(_split, split)
    return Verified(
        tuple(backups), tuple(windows), tuple(split), tuple(_unique(faults)),
        done + archived.bytes, unchecked,
    )  # fmt: skip


async def _records(
    shelf: Shelf, archived: wal.Found, backups: Sequence[Stored]
) -> tuple[tuple[str, ...], list[Fault]]:
    """Where no digests were recorded, the WAL's own checksums are read by its major's program."""
    source, major = shelf.wal(), max(archived.majors, default=0)
    if all(source.digest(name) is not None for name, _ in source.names()):
        return (), []
    try:
        binaries = find_binaries(major, need=("pg_waldump",))
    except BinariesNotFound as error:
        return (f"the checksums inside the WAL: {error.message}",), []
    since = min((b.start_lsn for b in backups), default=0)
    return (), await check_records(shelf, archived.archive, binaries, since)


def _further(on_bytes: Told, before: int, done: int) -> None:
    on_bytes(before + done)


def _wanted(backups: Sequence[Stored], labels: Sequence[str], only: str | None) -> list[str]:
    """Labels to read: all, or one with what it builds on. Raises UsageError for an unknown one."""
    if only is None:
        return list(labels)
    if only not in labels:
        known = ", ".join(labels)
        raise UsageError(f"there is no backup {only}", hint=f"there are: {known}")
    chain = next((b.chain for b in backups if b.label == only), ())
    return [label for label in chain or (only,) if label in labels]


def _chains(backups: Sequence[Stored], wanted: Sequence[str]) -> Iterator[Fault]:
    here = {b.label for b in backups}
    for backup in backups:
        for needed in backup.chain:
            if backup.label in wanted and needed not in here:
                yield Fault("backup.chain", backup.label, f"it builds on {needed}, which is gone")


def _one(
    shelf: Shelf,
    label: str,
    backups: Sequence[Stored],
    on_bytes: Told,
) -> tuple[list[Fault], int]:
    """One backup's faults and its bytes. Blocking."""
    source = Recorded(shelf.contents(label), "backup.damaged", f"{label}/")
    try:
        known = _manifest(source)
    except (ManifestDamaged, *DAMAGE) as error:
        return [Fault("backup.manifest", label, str(error) or type(error).__name__)], 0
    try:
        faults = list(files.check_files(label, source, known, on_bytes))
        stored = next((b for b in backups if b.label == label), None)
        if stored is not None:
            faults += _same_backup(stored, known)
        source.rest(on_bytes)
        return [*faults, *source.faults], known.bytes
    finally:
        known.close()


def _manifest(source: Source) -> Manifest:
    with source.open(MANIFEST) as stream:
        return manifest.parse(stream)


def _same_backup(stored: Stored, known: Manifest) -> Iterator[Fault]:
    """What the catalogue says and what the manifest says are about the same backup."""
    if known.system_identifier not in (None, stored.system_identifier):
        yield Fault(
            "backup.foreign",
            stored.label,
            f"its manifest is of the cluster {known.system_identifier}, the catalogue says "
            f"{stored.system_identifier}",
        )
    ends = {(r.timeline, r.end) for r in known.wal_ranges}
    if ends and (stored.timeline, stored.end_lsn) not in ends:
        yield Fault(
            "backup.foreign",
            stored.label,
            "its manifest ends at "
            + " or ".join(f"{format_lsn(end)} on timeline {t}" for t, end in sorted(ends))
            + f", the catalogue says {format_lsn(stored.end_lsn)} on {stored.timeline}",
        )


def _wal_faults(
    archived: wal.Found, backups: Sequence[Stored], windows: Sequence[Window]
) -> Iterator[Fault]:
    """Holes from the oldest backup on, and backups that cannot become consistent."""
    since = min((b.start_lsn for b in backups), default=0)
    size = archived.archive.segment_bytes
    damaged = {f.subject for f in archived.faults}
    for place in coverage.holes(archived.archive, since):
        name = place.name(size)
        if name not in damaged:  # named already, with what is wrong with it
            yield Fault("wal.gap", name, "it is not there, and later ones are")
    usable = {w.backup for w in windows if w.is_usable}
    for backup in backups:
        if backup.label not in usable:
            yield Fault(
                "wal.gap",
                backup.label,
                f"the WAL from {format_lsn(backup.start_lsn)} to {format_lsn(backup.end_lsn)}, "
                "which it needs to become consistent, is not all there",
            )


def _split(one: Abandoned) -> Fault:
    return Fault(
        "wal.split",
        f"timeline {one.timeline}",
        f"it went on to {format_lsn(one.end)} after timeline {one.child} had left it at "
        f"{format_lsn(one.branched_at)}",
        {"behind": Quantity(one.bytes, "bytes")},
    )


def _unique(faults: Iterable[Fault]) -> Iterator[Fault]:
    seen: set[tuple[str, str]] = set()
    for fault in faults:
        if (fault.code, fault.subject) not in seen:
            seen.add((fault.code, fault.subject))
            yield fault
