"""Questions to the archived WAL before a restore: where a target is, when the last commit was."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filban.backup.restore import records
from filban.backup.restore.records import Record
from filban.backup.restore.targets import RecoveryTarget
from filban.backup.shelf import Shelf
from filban.backup.timeline import coverage
from filban.backup.timeline.coverage import Archive
from filban.backup.timeline.history import History
from filban.backup.timeline.segment import Place
from filban.cluster.binaries import Binaries
from filban.cluster.owner import server_user
from filban.cluster.places import scratch_root

_ENDS = ("COMMIT", "COMMIT_PREPARED", "ABORT", "ABORT_PREPARED")


@dataclass(frozen=True, slots=True)
class Reader:
    """The WAL of one line of descent, read by pg_waldump in a scratch directory."""

    shelf: Shelf
    archive: Archive
    line: History
    binaries: Binaries

    async def records(
        self, start: int, rmgrs: tuple[str, ...] = ("Transaction",)
    ) -> AsyncGenerator[Record]:
        """Records from the segment of LSN `start` to the first hole."""
        async for record in self._scan(self._places(start // self.archive.segment_bytes), rmgrs):
            if record.lsn >= start:
                yield record

    def bytes_from(self, start: int) -> int:
        """How much there is to read for `records(start)`."""
        return len(self._places(start // self.archive.segment_bytes)) * self.archive.segment_bytes

    async def locate(self, target: RecoveryTarget, since: int) -> Record | None:
        """The record at which recovery to a name or a transaction stops: the first that fits."""
        rmgrs = ("XLOG",) if target.kind == "name" else ("Transaction",)
        async for record in self.records(since, rmgrs):
            if target.kind == "name" and record.name == target.value:
                return record
            if target.kind == "xid" and record.xid == target.value and record.what in _ENDS:
                return record
        return None

    async def last_commit(self, since: int) -> datetime | None:
        """The newest commit's time by its server's clock; from the end backwards, so that one
        segment is mostly enough."""
        places = self._places(since // self.archive.segment_bytes)
        for first in range(len(places) - 1, -1, -1):
            newest = None
            async for record in self._scan(places[first : first + 2], ("Transaction",)):
                if record.what in _ENDS and record.time is not None:
                    newest = max(newest or record.time, record.time)
            if newest is not None:
                return newest
        return None

    def _places(self, number: int) -> list[Place]:
        found = []
        while (place := coverage.find(self.archive, self.line, number)) is not None:
            found.append(place)
            number += 1
        return found

    async def _scan(self, places: list[Place], rmgrs: tuple[str, ...]) -> AsyncGenerator[Record]:
        with scratch() as directory:
            size = self.archive.segment_bytes
            scan = records.scan(self.binaries, self.shelf.fetch_wal, places, size, directory, rmgrs)
            async with contextlib.aclosing(scan):
                async for record in scan:
                    yield record


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory of the server user for the block."""
    owner = server_user()
    path = Path(tempfile.mkdtemp(prefix="filban-wal-", dir=scratch_root(owner)))
    try:
        owner.take(path)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
