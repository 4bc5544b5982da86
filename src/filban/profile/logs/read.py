"""Read logs and say what is in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from filban.errors import UsageError
from filban.profile.logs.analyse import Analysis
from filban.profile.logs.feed import Feed
from filban.profile.logs.frame import Unread
from filban.profile.logs.positions import HEAD, Positions, skip
from filban.profile.logs.rows import LogReport, Source
from filban.profile.logs.sources import BROKEN, STDIN, expand, open_log

# (name, bytes read so far, uncompressed)
OnBytes = Callable[[str, int], None]


def _silent(_name: str, _done: int) -> None:
    pass


class LogFile:
    """One input that is read piece by piece into an Analysis."""

    def __init__(self, name: str, analysis: Analysis, prefix: str | None) -> None:
        self.name = name
        self.skipped = ""
        self._analysis = analysis
        self._feed = Feed(prefix)
        self._unread = Unread()
        self._events = 0
        self._head = b""
        self._offset = 0  # what was read in earlier runs
        self._given = 0

    def begin(
        self, stream: BinaryIO, positions: Positions, open_again: Callable[[], BinaryIO] | None
    ) -> None:
        """Pass over what has been read before; standard input has no before."""
        self._head = _exactly(stream, HEAD)
        if open_again is not None:
            self._offset = positions.offset(self._head, open_again)
        if self._offset:
            self._feed.head = self._head
            # Of the head, what lies behind the offset is new.
            skip(stream, max(0, self._offset - len(self._head)))
            self.take(self._head[self._offset :])
        else:
            self.take(self._head)

    def take(self, data: bytes) -> None:
        self._given += len(data)
        for batch in self._feed.take(data):
            self._events += self._analysis.take(batch)
            self._unread.merge(batch.unread)

    def flush(self, *, half_lines: bool = False) -> None:
        """Look at what has come so far, up to the last whole line."""
        for batch in self._feed.finish(half_lines=half_lines):
            self._events += self._analysis.take(batch)
            self._unread.merge(batch.unread)

    def finish(self, positions: Positions, *, half_lines: bool = True) -> None:
        """The end of the file, for now."""
        self.flush(half_lines=half_lines)
        if self._offset and not self._feed.consumed:
            self.skipped = "read before"
        elif self._feed.unknown:
            self.skipped = "no log of PostgreSQL that filban knows, or no log_line_prefix found"
        elif self._feed.consumed:
            positions.read(self._head, self._feed.tail, self._offset + self._feed.consumed)

    @property
    def wanted(self) -> int:
        """How many bytes to read next."""
        return self._feed.wanted

    @property
    def given(self) -> int:
        return self._given

    def source(self) -> Source:
        reader = self._feed.reader
        prefix = getattr(reader, "prefix", None)
        return Source(
            name=self.name,
            format=reader.format if reader else "",
            prefix=prefix.text if prefix else None,
            bytes=self._given,
            events=self._events,
            unread=self._unread.count,
            samples=tuple(self._unread.samples),
            skipped=self.skipped,
        )


async def read_logs(
    arguments: Sequence[str],
    analysis: Analysis,
    *,
    prefix: str | None = None,
    positions: Positions | None = None,
    resumable: bool = False,
    on_bytes: OnBytes = _silent,
) -> LogReport:
    """The report on files, directories, globs and "-" (standard input), in the order of writing.

    prefix: log_line_prefix where it should not be found. positions: what earlier runs have read,
    updated in place. resumable: a last line without its end is left for the next run.
    Raises UsageError when an argument answers to nothing, or nothing in any of them is a log.
    """
    positions = positions if positions is not None else Positions()
    paths, left_out = expand(arguments)
    sources: list[Source] = []
    for path in paths:
        log = LogFile("standard input" if path == STDIN else str(path), analysis, prefix)
        await _read(log, path, positions, on_bytes)
        log.finish(positions, half_lines=not resumable)
        sources.append(log.source())
    analysis.finish()
    sources += [Source(str(path), "", None, 0, 0, 0, (), why) for path, why in left_out]
    _something(sources)
    return analysis.report(sources)


async def _read(log: LogFile, path: Path | str, positions: Positions, on_bytes: OnBytes) -> None:
    """A compressed file that is broken or cut off counts up to there."""
    again = None if path == STDIN else partial(open_log, path)
    stream = open_log(path)
    try:
        await asyncio.to_thread(log.begin, stream, positions, again)
        while data := await asyncio.to_thread(stream.read, log.wanted):
            await asyncio.to_thread(log.take, data)
            on_bytes(log.name, log.given)
    except BROKEN as error:
        log.skipped = f"not read to its end: {error}"
    finally:
        if path != STDIN:
            stream.close()


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data


def _something(sources: Sequence[Source]) -> None:
    if any(source.format or source.skipped == "read before" for source in sources):
        return
    first = sources[0] if sources else None
    why = f": {first.skipped}" if first and first.skipped else ""
    raise UsageError(
        f"nothing here is a log of PostgreSQL{why}",
        hint="for stderr with an unusual prefix give --prefix as SHOW log_line_prefix says it, "
        "or the server itself with --dsn",
    )


def load_positions(file: Path | None) -> Positions:
    """Of a state file, or empty."""
    return Positions.load(file) if file is not None else Positions()
