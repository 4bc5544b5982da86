"""Bytes in pieces -> batches of whole events."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from filban.profile.logs.frame import SCHEMA, Batch
from filban.profile.logs.sniff import SAMPLE_BYTES, Reader, reader_for

# What is read at once: large enough for polars' columns, small enough for 300 MB of memory in all.
BLOCK = 8 * 1024 * 1024
# An event longer than this is not waited for.
LONGEST = 2 * BLOCK
TAIL = 1024


class Feed:
    """One file's bytes, in order. `consumed`: how many of them belong to events given out, `tail`
    the last TAIL of these."""

    def __init__(self, prefix: str | None = None) -> None:
        self.reader: Reader | None = None
        self.consumed = 0
        self.unknown = False  # it begins with something that is no log of PostgreSQL
        self.tail = b""
        self._prefix = prefix
        self._waiting = b""

    def take(self, data: bytes) -> Iterator[Batch]:
        """Batches of the events that are whole now."""
        self._waiting += data
        if self.reader is None and len(self._waiting) < SAMPLE_BYTES:
            return
        reader = self._recognise()
        if reader is None:
            return
        end = reader.cut(self._waiting)
        if end == 0 and len(self._waiting) > LONGEST:
            end = len(self._waiting)
        if end:
            yield self._read(reader, end)

    def finish(self, *, half_lines: bool = True) -> Iterator[Batch]:
        """The rest. Without `half_lines`, a last line without its end stays for the next time."""
        end = len(self._waiting) if half_lines else self._waiting.rfind(b"\n") + 1
        reader = self._recognise() if end else None
        if reader is not None:
            yield self._read(reader, end)

    def _recognise(self) -> Reader | None:
        if self.reader is None and not self.unknown:
            self.reader = reader_for(self._waiting, self._prefix)
            self.unknown = self.reader is None
        if self.unknown:
            self.consumed += len(self._waiting)
            self._waiting = b""
        return self.reader

    def _read(self, reader: Reader, end: int) -> Batch:
        data, self._waiting = self._waiting[:end], self._waiting[end:]
        self.consumed += end
        self.tail = (self.tail + data[-TAIL:])[-TAIL:]
        return reader.read(data) if data.strip() else Batch(pl.DataFrame(schema=SCHEMA))
