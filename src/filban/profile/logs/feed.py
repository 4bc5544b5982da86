"""Bytes in pieces -> batches of whole events."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from filban.profile.logs.frame import SCHEMA, Batch
from filban.profile.logs.sniff import SAMPLE_BYTES, Reader, reader_for

_MB = 1024 * 1024
# What is read and looked at at once, by format: some 20,000 events, so that polars' cost per
# operation does not matter, and all stays below 300 MB of memory.
PIECES = {"stderr": 4 * _MB, "csvlog": 7 * _MB, "jsonlog": 8 * _MB}
PIECE = 4 * _MB  # of other formats, which go through Python's own objects
FIRST = 1 * _MB  # while the format is not known
LONGEST = 16 * _MB  # an event longer than this is not waited for
TAIL = 1024


class Feed:
    """One file's bytes, in order. `consumed`: how many of them belong to events given out, `tail`
    the last TAIL of these."""

    def __init__(self, prefix: str | None = None) -> None:
        self.reader: Reader | None = None
        self.consumed = 0
        self.unknown = False  # it begins with something that is no log of PostgreSQL
        self.tail = b""
        self.head = b""  # the file's beginning, where reading does not start there
        self._prefix = prefix
        self._rest = b""

    @property
    def wanted(self) -> int:
        """How many bytes to read next."""
        return PIECES.get(self.reader.format, PIECE) if self.reader else FIRST

    def take(self, data: bytes) -> Iterator[Batch]:
        """Batches of the events that are whole now."""
        if self.reader is None:
            data, self._rest = self._rest + data, b""
            if len(data) < SAMPLE_BYTES or not self._recognised(data):
                self._rest = b"" if self.unknown else data
                return
        reader = self.reader
        if reader is None:
            return
        end = reader.cut(data, self._rest)
        whole = b"".join((self._rest, memoryview(data)[:end])) if end else b""
        self._rest = data[end:] if end else self._rest + data
        if len(self._rest) > LONGEST:
            whole, self._rest = whole + self._rest, b""
        if whole:
            yield self._read(reader, whole)

    def finish(self, *, half_lines: bool = True) -> Iterator[Batch]:
        """The rest. Without `half_lines`, a last line without its end stays for the next time."""
        end = len(self._rest) if half_lines else self._rest.rfind(b"\n") + 1
        if end and (self.reader or self._recognised(self._rest)) and self.reader:
            data, self._rest = self._rest[:end], self._rest[end:]
            yield self._read(self.reader, data)

    def _recognised(self, data: bytes) -> bool:
        if not self.unknown:
            beginning = self.head[: self.head.rfind(b"\n") + 1]
            self.reader = reader_for(beginning + data, self._prefix)
            self.unknown = self.reader is None
        return not self.unknown

    def _read(self, reader: Reader, data: bytes) -> Batch:
        self.consumed += len(data)
        self.tail = (self.tail + data[-TAIL:])[-TAIL:]
        return Batch(pl.DataFrame(schema=SCHEMA)) if data.isspace() else reader.read(data)
