"""Where a backup's objects lie, and how they are opened: plain or compressed, in bounded memory.

`Source` is all that the verifier asks of a repository, so that a directory, an object store and an
encrypted repository read alike.
"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from filban.errors import ExtraMissing

# What pg_basebackup and pg_receivewal append, by codec.
SUFFIXES = {".gz": "gzip", ".lz4": "lz4", ".zst": "zstd"}


class Source(Protocol):
    """A flat set of named objects. Names are relative, `/` between their parts, fsencoded."""

    def names(self) -> Iterator[tuple[bytes, int]]:
        """Every object with its stored size in bytes."""
        ...

    def open(self, name: bytes) -> BinaryIO:
        """Read one from its beginning. Raises OSError."""
        ...

    def digest(self, name: bytes) -> str | None:
        """The SHA-256 (hex) of its stored bytes as recorded when it was stored; None where nobody
        has recorded it."""
        ...


class Directory:
    """A `Source` on this machine; links to tablespaces are followed, as the server does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Iterator[tuple[bytes, int]]:
        return self._below(os.fsencode(self.path), b"")

    def _below(self, directory: bytes, prefix: bytes) -> Iterator[tuple[bytes, int]]:
        with os.scandir(directory) as entries:
            listed = sorted(entries, key=lambda e: e.name)
        for entry in listed:
            name = prefix + entry.name
            is_tablespace = prefix == b"pg_tblspc/" and entry.is_dir()
            if entry.is_dir(follow_symlinks=False) or is_tablespace:
                yield from self._below(entry.path, name + b"/")
            else:
                yield name, entry.stat().st_size

    def open(self, name: bytes) -> BinaryIO:
        return open(os.path.join(os.fsencode(self.path), name), "rb")

    def digest(self, name: bytes) -> str | None:  # noqa: ARG002 - the protocol's
        """Nobody records anything about a plain directory."""
        return None


def codec_of(name: bytes) -> tuple[bytes, str]:
    """The name without its codec's suffix, and the codec ("" for none)."""
    stem, dot, suffix = name.rpartition(b".")
    codec = SUFFIXES.get("." + suffix.decode("ascii", "replace"), "") if dot else ""
    return (stem, codec) if codec else (name, "")


def inflated(stream: BinaryIO, codec: str) -> BinaryIO:
    """`stream` decompressed as it is read. What is damaged raises one of `DAMAGE` in a read.

    Raises ExtraMissing for a codec whose package is not here.
    """
    if codec == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if codec == "lz4":
        return _lz4(stream)
    if codec == "zstd":
        return _zstd(stream)
    return stream


def _lz4(stream: BinaryIO) -> BinaryIO:
    try:
        import lz4.frame  # type: ignore[import-untyped]
    except ImportError as error:
        raise ExtraMissing("lz4", "ops") from error
    return cast("BinaryIO", lz4.frame.open(stream, "rb"))


def _zstd(stream: BinaryIO) -> BinaryIO:
    try:
        import zstandard
    except ImportError as error:
        raise ExtraMissing("zstandard", "ops") from error
    reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
    return cast("BinaryIO", _Zstd(reader, zstandard.ZstdError))


class _Zstd(io.RawIOBase):
    """zstandard's reader with damage as an OSError, as gzip has it."""

    def __init__(self, reader: BinaryIO, damage: type[Exception]) -> None:
        self._reader = reader
        self._damage = damage

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self._reader.read(size)
        except self._damage as error:
            raise OSError(f"not zstd: {error}") from error
