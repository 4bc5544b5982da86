"""A backup's files as they were in the data directory; it lies as a directory or as tars."""

from __future__ import annotations

import contextlib
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from filban.backup.verify.ahead import Ahead
from filban.backup.verify.stored import Source, codec_of, inflated

# What a damaged tar or stream raises when it is read: tarfile's errors, gzip's (EOFError, OSError,
# zlib.error), lz4's (RuntimeError, EOFError), zstd's (OSError, ours).
DAMAGE = (tarfile.TarError, zlib.error, EOFError, RuntimeError, OSError)
CHUNK = 1 << 20
_TAR = re.compile(rb"(?P<which>base|pg_wal|\d+)\.tar")
_END_OF_TAR = 1024  # two blocks of zeros


@dataclass(frozen=True, slots=True)
class Content:
    """One file: its path in the data directory, its size, and its bytes, to be read before the
    next one is asked for. `size` is what the container says; `container` the object it lies in."""

    path: bytes
    size: int
    stream: BinaryIO
    container: bytes


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that a tar names: an empty one would be lost otherwise."""

    path: bytes


class Damaged(Exception):
    """A container (a tar, a compressed stream) is damaged: `name` is the object's."""

    def __init__(self, name: bytes, how: str) -> None:
        super().__init__(f"{name.decode(errors='replace')}: {how}")
        self.name = name
        self.how = how


def is_tar_format(source: Source) -> bool:
    """Whether the backup lies as tars, as `pg_basebackup --format=tar` writes them."""
    return any(_tar_name(name) is not None for name, _ in source.names())


def contents(source: Source) -> Iterator[Content | Folder | Damaged]:
    """Every file, in the order in which they lie. A container that breaks in the middle gives a
    `Damaged` in place of its rest, and the next one follows. Links to tablespaces are left out:
    they point to where those were on the old machine (see tablespace_map)."""
    if not is_tar_format(source):
        for name, size in source.names():
            with source.open(name) as stream:
                yield Content(name, size, stream, name)
        return
    for name, _ in source.names():
        which = _tar_name(name)
        if which == b"pg_wal":
            yield from _tar(source, name, b"pg_wal/")
        elif which is not None:
            yield from _tar(source, name, b"" if which == b"base" else b"pg_tblspc/%s/" % which)


def _tar_name(name: bytes) -> bytes | None:
    match = _TAR.fullmatch(codec_of(name)[0])
    return None if match is None else match["which"]


def _tar(source: Source, name: bytes, prefix: bytes) -> Iterator[Content | Folder | Damaged]:
    try:
        codec = codec_of(name)[1]
        with (
            source.open(name) as raw,
            inflated(raw, codec) as plain,
            contextlib.ExitStack() as stack,
        ):
            ahead = stack.enter_context(Ahead(plain)) if codec else plain
            yield from _members(_Tail(cast("BinaryIO", ahead)), prefix, name)
    except DAMAGE as error:
        yield Damaged(name, str(error) or type(error).__name__)


def _members(stream: _Tail, prefix: bytes, container: bytes) -> Iterator[Content | Folder]:
    whole = cast("BinaryIO", stream)  # tarfile only reads it
    with tarfile.open(
        fileobj=whole, mode="r|", bufsize=CHUNK, errors="surrogateescape", encoding="utf-8"
    ) as tar:
        while (member := tar.next()) is not None:
            cast("Any", tar).members = []  # it would keep every one of them in memory
            path = prefix + member.name.encode("utf-8", "surrogateescape").removeprefix(b"./")
            if member.isdir():
                yield Folder(path.rstrip(b"/"))
            elif member.isreg() and (data := tar.extractfile(member)) is not None:
                yield Content(path, member.size, cast("BinaryIO", data), container)
        end = cast("Any", tar).offset  # behind the last file
    while stream.read(CHUNK):  # to its end: the codec's own checksum stands there
        pass
    if stream.tail.strip(b"\0") or stream.read_bytes < end + _END_OF_TAR:
        raise tarfile.ReadError("it is cut off: the end of the archive is missing")


class _Tail:
    """Passes reads through, counts them and keeps the last kilobyte."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.tail = b""
        self.read_bytes = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.read_bytes += len(data)
        self.tail = data[-_END_OF_TAR:] if len(data) >= _END_OF_TAR else self.tail + data
        self.tail = self.tail[-_END_OF_TAR:]
        return data
