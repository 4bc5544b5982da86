"""Keep reading logs that are being written: `tail -F` with a report."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filban.errors import UsageError
from filban.profile.logs.analyse import Analysis
from filban.profile.logs.positions import Positions
from filban.profile.logs.read import LogFile
from filban.profile.logs.rows import LogReport, Source
from filban.profile.logs.sources import STDIN, expand, open_log

POLL_SECONDS = 1.0


@dataclass
class _Open:
    """A file under its name; after a rotation the name is another file's."""

    log: LogFile
    stream: BinaryIO
    identity: tuple[int, int]


class Follower:
    """Reads what is there, then what comes; files that appear in a directory or under a glob are
    taken in, and renamed, truncated or removed ones are read to their end first."""

    def __init__(
        self, arguments: Sequence[str], analysis: Analysis, *, prefix: str | None = None,
        positions: Positions | None = None,
    ) -> None:  # fmt: skip
        if STDIN in arguments:
            raise UsageError("--follow needs files", hint="a pipe is followed without it")
        self._arguments = arguments
        self._analysis = analysis
        self._prefix = prefix
        self._positions = positions if positions is not None else Positions()
        self._open: dict[Path, _Open] = {}
        self._done: list[Source] = []

    def poll(self) -> bool:
        """Take what is new; True if there was anything."""
        before = self._given()
        paths = [Path(path) for path in expand(self._arguments)[0]]
        for path, known in list(self._open.items()):
            if path not in paths or _replaced(path, known):
                self._close(path)
        for path in paths:
            if path not in self._open:
                self._begin(path)
            known = self._open[path]
            while data := known.stream.read(known.log.wanted):
                known.log.take(data)
            known.log.flush()
        return self._given() > before

    def _given(self) -> int:
        done = sum(source.bytes for source in self._done)
        return done + sum(known.log.given for known in self._open.values())

    def report(self) -> LogReport:
        """So far."""
        return self._analysis.report([*self._done, *(o.log.source() for o in self._open.values())])

    def close(self) -> LogReport:
        """The end: nothing waits any more."""
        for path in list(self._open):
            self._close(path)
        self._analysis.finish()
        return self.report()

    def _begin(self, path: Path) -> None:
        stream = open_log(path)
        status = os.stat(path)
        log = LogFile(str(path), self._analysis, self._prefix)
        log.begin(stream, self._positions, lambda: open_log(path))
        self._open[path] = _Open(log, stream, (status.st_dev, status.st_ino))

    def _close(self, path: Path) -> None:
        known = self._open.pop(path)
        with known.stream as stream:
            while data := stream.read(known.log.wanted):
                known.log.take(data)
        known.log.finish(self._positions, half_lines=False)
        self._done.append(known.log.source())


def _replaced(path: Path, known: _Open) -> bool:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return True
    if (status.st_dev, status.st_ino) != known.identity:
        return True
    return known.stream.seekable() and known.stream.tell() > status.st_size


async def follow(follower: Follower, *, every: float) -> AsyncIterator[LogReport]:
    """A report every `every` seconds in which something was written."""
    loop = asyncio.get_running_loop()
    due, changed = loop.time(), False
    while True:
        changed |= await asyncio.to_thread(follower.poll)
        if changed and loop.time() >= due:
            yield await asyncio.to_thread(follower.report)
            due, changed = loop.time() + every, False
        await asyncio.sleep(POLL_SECONDS)
