"""A backup's files against its manifest: each one there, each one the same, none besides."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import Protocol

from filban.backup.apart import Told, ignored
from filban.backup.verify.contents import CHUNK, DAMAGE, Content, Damaged, Folder, contents
from filban.backup.verify.faults import Fault
from filban.backup.verify.manifest import Manifest, ManifestFile
from filban.backup.verify.stored import Source
from filban.errors import ExtraMissing
from filban.finding import Quantity

# What pg_basebackup writes without naming it in the manifest (pg_verifybackup.c: ignore lists).
_UNNAMED = frozenset(
    {b"backup_manifest", b"postgresql.auto.conf", b"recovery.signal", b"standby.signal"}
)
_UNNAMED_BELOW = (b"pg_wal/",)


class _Digest(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def hexdigest(self) -> str: ...


def check_files(
    label: str, source: Source, manifest: Manifest, on_bytes: Told = ignored
) -> Iterator[Fault]:
    """Read every file of the backup once and hold it against the manifest.

    `label` names the backup in the faults; `on_bytes` is told how many bytes were read so far.
    """
    done = 0
    for item in contents(source):
        if isinstance(item, Damaged):
            yield Fault("backup.damaged", _subject(label, item.name), item.how)
            continue
        if isinstance(item, Folder):
            continue
        known = manifest.find(item.path)
        if known is None:
            if not _may_be_unnamed(item.path):
                yield Fault("backup.extra", _subject(label, item.path), "it is not in the manifest")
            continue
        manifest.mark(item.path)
        fault = _compare(label, item, known, on_bytes, done)
        if fault is not None:
            yield fault
        done += item.size
        on_bytes(done)
    for missing in manifest.unseen():
        yield Fault(
            "backup.missing",
            _subject(label, missing.path),
            f"it had {missing.size:,} bytes",
            {"expected": Quantity(missing.size, "bytes")},
        )


def _compare(
    label: str, item: Content, known: ManifestFile, on_bytes: Told, before: int
) -> Fault | None:
    subject = _subject(label, item.path)
    if item.size != known.size:
        return Fault(
            "backup.damaged",
            subject,
            f"it has {item.size:,} bytes and had {known.size:,}",
            {"found": Quantity(item.size, "bytes"), "expected": Quantity(known.size, "bytes")},
        )
    digest = digest_for(known.algorithm)
    if digest is None:
        return None
    try:
        while chunk := item.stream.read(CHUNK):
            digest.update(chunk)
            before += len(chunk)
            on_bytes(before)
    except DAMAGE as error:
        return Fault("backup.damaged", subject, f"it cannot be read: {error}")
    if digest.hexdigest() == known.checksum.lower():
        return None
    return Fault(
        "backup.damaged",
        subject,
        f"its {known.algorithm} is not the manifest's",
        {"bytes": Quantity(item.size, "bytes")},
    )


def digest_for(algorithm: str) -> _Digest | None:
    """A fresh digest by the manifest's name for it; None where it has none."""
    if algorithm in ("", "NONE"):
        return None
    if algorithm == "CRC32C":
        return _Crc32c()
    return hashlib.new(algorithm.lower())


class _Crc32c:
    """PostgreSQL writes the four bytes as they lie in memory (checksum_helper.c)."""

    def __init__(self) -> None:
        try:
            import google_crc32c
        except ImportError as error:
            raise ExtraMissing("google-crc32c", "ops") from error
        self._extend = google_crc32c.extend
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._extend(self._value, data)

    def hexdigest(self) -> str:
        return struct.pack("=I", self._value).hex()


def _may_be_unnamed(path: bytes) -> bool:
    return path in _UNNAMED or path.startswith(_UNNAMED_BELOW)


def _subject(label: str, path: bytes) -> str:
    return f"{label}/{path.decode(errors='backslashreplace')}"
