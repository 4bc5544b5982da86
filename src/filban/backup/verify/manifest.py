"""PostgreSQL's backup_manifest, read by ourselves: any major's, streaming, in bounded memory.

pg_verifybackup refuses the manifests of other majors and reads plain directories only (before 18).
The format (backend/backup/backup_manifest.c; version 1 from 13 on, 2 from 17 on) is JSON with each
file on a line of its own; the last member is a SHA-256 over every byte before its line.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filban.pg.lsn import parse_lsn

VERSIONS = (1, 2)
_FILE_LINE = b'{ "'
_BATCH = 10_000


class ManifestDamaged(ValueError):
    """The manifest is not what PostgreSQL wrote; the message says how."""


@dataclass(frozen=True, slots=True)
class WalRange:
    """WAL that the backup needs to become consistent; LSNs as integers, `end` exclusive."""

    timeline: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file as it was backed up. `algorithm` and `checksum` are "" where it has none.

    `path` is relative to the data directory; bytes, because a name need not be UTF-8.
    """

    path: bytes
    size: int
    algorithm: str
    checksum: str


class Manifest:
    """A whole manifest: header members and its files, looked up by path.

    The files live in a SQLite database that spills to a temporary file, so that a million of them
    take no more memory than ten.
    """

    def __init__(self) -> None:
        self.version = 0
        self.system_identifier: int | None = None
        self.wal_ranges: tuple[WalRange, ...] = ()
        self.files = 0
        self.bytes = 0
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.executescript(
            "PRAGMA journal_mode = off; PRAGMA synchronous = off; PRAGMA cache_size = -8000;"
            "CREATE TABLE file (path BLOB PRIMARY KEY, size INTEGER, algorithm TEXT, "
            "checksum TEXT, seen INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
        )

    def close(self) -> None:
        self._database.close()

    def find(self, path: bytes) -> ManifestFile | None:
        row = self._database.execute(
            "SELECT path, size, algorithm, checksum FROM file WHERE path = ?", (path,)
        ).fetchone()
        return None if row is None else ManifestFile(*row)

    def __iter__(self) -> Iterator[ManifestFile]:
        rows = self._database.execute("SELECT path, size, algorithm, checksum FROM file")
        return (ManifestFile(*row) for row in rows)

    def mark(self, path: bytes) -> None:
        """This file was found in the backup."""
        self._database.execute("UPDATE file SET seen = 1 WHERE path = ?", (path,))

    def unseen(self) -> Iterator[ManifestFile]:
        """Files that nobody has marked."""
        rows = self._database.execute(
            "SELECT path, size, algorithm, checksum FROM file WHERE NOT seen ORDER BY path"
        )
        return (ManifestFile(*row) for row in rows)

    def _add(self, files: Iterable[ManifestFile]) -> None:
        rows = [(f.path, f.size, f.algorithm, f.checksum) for f in files]
        try:
            self._database.executemany(
                "INSERT INTO file (path, size, algorithm, checksum) VALUES (?, ?, ?, ?)", rows
            )
        except sqlite3.IntegrityError as error:
            raise ManifestDamaged("it names a file twice") from error
        self.files += len(rows)
        self.bytes += sum(row[1] for row in rows)


def read(path: Path) -> Manifest:
    """Read and check a manifest. Raises ManifestDamaged; OSError if it cannot be read."""
    with path.open("rb") as stream:
        return parse(stream)


def parse(stream: BinaryIO) -> Manifest:
    """The same from an open file; what was read is closed again if it is damaged."""
    manifest = Manifest()
    with contextlib.ExitStack() as stack:
        stack.callback(manifest.close)
        _parse(stream, manifest)
        stack.pop_all()
    return manifest


def _parse(stream: BinaryIO, manifest: Manifest) -> None:
    digest, outside = hashlib.sha256(), []
    batch: list[ManifestFile] = []
    for line in stream:
        if line.startswith(b'"Manifest-Checksum"'):
            outside.append(line)
            if stream.read(1):
                raise ManifestDamaged("something follows its end")
            break
        digest.update(line)
        if line.startswith(_FILE_LINE) and b'ath"' in line[:20]:
            batch.append(_file(line))
            if len(batch) == _BATCH:
                manifest._add(batch)  # noqa: SLF001 - our own, of this module
                batch = []
        else:
            outside.append(line)
    manifest._add(batch)  # noqa: SLF001
    _header(manifest, _json(b"".join(outside)), digest.hexdigest())


def _header(manifest: Manifest, document: dict[str, Any], digest: str) -> None:
    """What stands around the files; `digest` is that of every byte before the checksum's line."""
    if document.get("Manifest-Checksum") != digest:
        raise ManifestDamaged("its own checksum does not fit: it was changed or cut off")
    version = document.get("PostgreSQL-Backup-Manifest-Version")
    if version not in VERSIONS:
        raise ManifestDamaged(f"it has version {version}, and we know 1 and 2")
    manifest.version = version
    if "System-Identifier" in document:
        manifest.system_identifier = int(document["System-Identifier"])
    try:
        manifest.wal_ranges = tuple(
            WalRange(int(r["Timeline"]), parse_lsn(r["Start-LSN"]), parse_lsn(r["End-LSN"]))
            for r in document.get("WAL-Ranges", ())
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ManifestDamaged("its WAL ranges cannot be understood") from error


def _file(line: bytes) -> ManifestFile:
    entry = _json(line.strip().rstrip(b","))
    try:
        encoded = entry.get("Encoded-Path")
        path = bytes.fromhex(encoded) if encoded is not None else entry["Path"].encode()
        return ManifestFile(
            path, int(entry["Size"]), entry.get("Checksum-Algorithm", ""), entry.get("Checksum", "")
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise ManifestDamaged(f"a line of it cannot be understood: {line[:80]!r}") from error


def _json(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ManifestDamaged(f"it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ManifestDamaged("it is not a JSON object")
    return document
