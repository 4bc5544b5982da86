"""A repository without an engine: what pg_basebackup and any archive_command have left.

Every directory with a backup_manifest is a base backup, its name the label; the WAL lies together
in one directory. Times and ends come from the backup history files (NAME.OFFSET.backup) that the
server archives with the WAL.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filban.backup.shelf import Stored
from filban.backup.timeline import segment
from filban.backup.verify import manifest
from filban.backup.verify.contents import DAMAGE, Content, contents
from filban.backup.verify.manifest import ManifestDamaged
from filban.backup.verify.stored import SUFFIXES, Directory, Source, codec_of, inflated
from filban.cluster.owner import owner_of
from filban.cluster.places import file_errors
from filban.errors import NotGood, UsageError
from filban.pg.lsn import parse_lsn

MANIFEST = "backup_manifest"
DRILLS = "drills.jsonl"
_DEEPEST = 3
_UNPACK = {".gz": "gzip -dc", ".lz4": "lz4 -dc", ".zst": "zstd -dc"}
_HISTORY = re.compile(
    r"START WAL LOCATION: (?P<start>\S+) .*?STOP WAL LOCATION: (?P<stop>\S+) "
    r".*?START TIME: (?P<began>[^\n]+)\n.*?STOP TIME: (?P<ended>[^\n]+)\n",
    re.DOTALL,
)
_BUILDS_ON = re.compile(r"^INCREMENTAL FROM LSN: (\S+)$", re.MULTILINE)
_UTC = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:UTC|GMT)$")


class PlainShelf:
    """See `filban.backup.shelf.Shelf`. Raises UsageError where there is no directory."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.name = str(root)
        if not self.root.is_dir():
            raise UsageError(f"there is no repository {root}", hint="give the directory's name")
        self._places = {p.name: p for p in _with_manifest(self.root, 0)}
        self._wal = _wal_directory(self.root, set(self._places.values()))

    async def backups(self) -> Sequence[Stored]:
        return await asyncio.to_thread(self._read)

    def _read(self) -> list[Stored]:
        times, page = _times(self.wal()), _first_page(self.wal())
        found = [
            (b, base)
            for name, path in self._places.items()
            if (b := _stored(name, path, times, page)) is not None
            for base in (_builds_on(Directory(path)),)
        ]
        return _chained(found)

    def contents(self, label: str) -> Source:
        if label not in self._places:
            raise UsageError(
                f"there is no backup {label} in {self.name}",
                hint="there are: " + ", ".join(sorted(self._places)),
            )
        return Directory(self._places[label])

    async def labels(self) -> Sequence[str]:
        """Every directory that looks like a backup, whole or not."""
        return sorted(self._places)

    def wal(self) -> Source:
        return Directory(self._wal)

    def restore_command(self) -> str:
        """Through the shell, as the server user; a segment that is still being received comes last:
        the server asks for it only when it is the newest."""
        where = shlex.quote(str(self._wal)).replace("%", "%%")
        cases = "".join(
            f'elif [ -f "$f{suffix}" ]; then {program} "$f{suffix}" > "%p"; '
            for suffix, program in _UNPACK.items()
        )
        return (
            f'f={where}/%f; if [ -f "$f" ]; then cp "$f" "%p"; {cases}'
            'elif [ -f "$f.partial" ]; then cp "$f.partial" "%p"; else exit 1; fi'
        )

    async def drills(self) -> Sequence[Mapping[str, Any]]:
        """From drills.jsonl in the repository; lines that are not whole are left out."""
        try:
            text = (self.root / DRILLS).read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [r for line in text.splitlines() if (r := _record(line)) is not None]

    async def note_drill(self, record: Mapping[str, Any]) -> None:
        path, line = self.root / DRILLS, json.dumps(dict(record)) + "\n"
        with file_errors(f"the drill cannot be noted in {path}"), path.open("a") as file:
            file.write(line)

    async def fetch_wal(self, name: str, into: Path) -> None:
        await asyncio.to_thread(self._fetch, name, into)

    def _fetch(self, name: str, into: Path) -> None:
        for suffix, codec in (("", ""), *SUFFIXES.items()):
            path = self._wal / f"{name}{suffix}"
            if path.exists():
                with path.open("rb") as raw, inflated(raw, codec) as plain, into.open("wb") as file:
                    shutil.copyfileobj(plain, file)
                owner_of(into.parent).take(into)
                return
        raise NotGood(f"WAL segment {name} is not in {self._wal}", hint="filban backup verify")


def _record(line: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _with_manifest(directory: Path, depth: int) -> Iterator[Path]:
    if (directory / MANIFEST).is_file():
        yield directory
    elif depth < _DEEPEST:
        for entry in sorted(directory.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                yield from _with_manifest(entry, depth + 1)


def _wal_directory(root: Path, backups: set[Path]) -> Path:
    """Where the segments lie, compressed or not. Raises UsageError for none or several."""
    found = []
    for parent, folders, files in os.walk(root):
        folders[:] = [f for f in folders if Path(parent, f) not in backups]
        if any(
            segment.NAME.match(codec_of(os.fsencode(f))[0].decode(errors="replace")) for f in files
        ):
            found.append(Path(parent))
    if len(found) != 1:
        raise UsageError(
            f"{root} has {'several directories' if found else 'no directory'} with WAL segments",
            hint="; ".join(map(str, found)) or "base backups and their archive lie below one root",
        )
    return found[0]


@dataclass(frozen=True, slots=True)
class _Times:
    start_lsn: int
    end_lsn: int
    began: datetime
    ended: datetime


def _times(wal: Source) -> dict[int, _Times]:
    """By the LSN at which a backup began; without files whose time zone is not UTC."""
    found = {}
    for name, _ in wal.names():
        bare, codec = codec_of(name)
        if not bare.endswith(b".backup"):
            continue
        try:
            with wal.open(name) as raw, inflated(raw, codec) as plain:
                match = _HISTORY.search(plain.read().decode(errors="replace"))
        except DAMAGE:
            continue  # the verifier says so
        began, ended = (_moment(match[part]) if match else None for part in ("began", "ended"))
        if match is not None and began is not None and ended is not None:
            start = parse_lsn(match["start"])
            # Whole seconds, cut off: the backup may have ended almost one later.
            found[start] = _Times(
                start, parse_lsn(match["stop"]), began, ended + timedelta(seconds=1)
            )
    return found


def _moment(text: str) -> datetime | None:
    match = _UTC.fullmatch(text.strip())
    return None if match is None else datetime.fromisoformat(match[1]).replace(tzinfo=UTC)


def _first_page(wal: Source) -> segment.FirstPage | None:
    """What the first readable segment says of its cluster."""
    for name, _ in wal.names():
        bare, codec = codec_of(name.rpartition(b"/")[2])
        if not segment.NAME.fullmatch(bare.decode(errors="replace")):
            continue
        try:
            with wal.open(name) as raw, inflated(raw, codec) as plain:
                return segment.first_page(plain.read(segment.HEADER_BYTES))
        except (ValueError, *DAMAGE):
            continue
    return None


def _stored(
    label: str, path: Path, times: dict[int, _Times], page: segment.FirstPage | None
) -> Stored | None:
    """None for a manifest that cannot be trusted: there is nothing to say about such a backup."""
    try:
        known = manifest.read(path / MANIFEST)
    except (ManifestDamaged, OSError):
        return None
    known.close()
    first, last = known.wal_ranges[0], known.wal_ranges[-1]
    noted = times.get(first.start)
    # Without a history file: the manifest is the last file that pg_basebackup writes.
    written = datetime.fromtimestamp((path / MANIFEST).stat().st_mtime, UTC)
    return Stored(
        label, last.timeline, first.start, last.end,
        noted.began if noted else written, noted.ended if noted else written,
        known.system_identifier or (page.system_identifier if page else 0),
        (segment.major_of(page.magic) if page else None) or 0, known.bytes,
    )  # fmt: skip


def _builds_on(source: Source) -> int | None:
    """The LSN at which the backup began that this one (17 on) is the difference to."""
    try:
        for item in contents(source):
            if isinstance(item, Content) and item.path == b"backup_label":
                match = _BUILDS_ON.search(item.stream.read().decode(errors="replace"))
                return parse_lsn(match[1]) if match else None
    except (ValueError, *DAMAGE):
        return None  # the verifier says so
    return None


def _chained(found: Sequence[tuple[Stored, int | None]]) -> list[Stored]:
    """The backups, the oldest first, each with its chain; "?" stands for one that is not here."""
    by_start = {b.start_lsn: b for b, _ in found}
    bases = {b.label: base for b, base in found}

    def chain(one: Stored) -> tuple[str, ...]:
        base = bases[one.label]
        if base is None:
            return (one.label,)
        below = by_start.get(base)
        return (*(chain(below) if below is not None and below is not one else ("?",)), one.label)

    ordered = sorted((b for b, _ in found), key=lambda b: (b.end_lsn, b.label))
    return [replace(b, chain=chain(b)) for b in ordered]
