"""What a build must not spoil: the disk it is written to, and those who follow the primary."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filban.errors import DiskFull, RightsMissing, StatementFailed
from filban.index.apply.plan import Step
from filban.index.apply.rows import Follower, Place, Table
from filban.pg import Query, Session
from filban.units import size

_PACKAGE = "filban.index.apply"
# A build writes the index, about as much into temporary files while it sorts, and as much WAL.
# Source: tuplesort spills what exceeds maintenance_work_mem; log_newpage of every page (nbtsort.c).
TIMES_ITS_SIZE = 3
# What stays free on a disk whatever we estimate: an estimate may be far off, a full disk is a stop.
RESERVE_RATIO = 0.05
# An index of a few columns is seldom larger than its table; where nothing is known that counts.
UNKNOWN_SIZE_RATIO = 1.0
POLL_SECONDS = 0.5

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Bounds:
    """max_lag_bytes: WAL that a standby may be behind. room_bytes: what may be written, for a
    server whose disk we cannot see. patience_seconds: how long to wait for standbys."""

    max_lag_bytes: int = 1024**3
    room_bytes: int | None = None
    patience_seconds: float = 1800.0


class Guard:
    """Looks at the disk and the standbys through a session of its own."""

    def __init__(self, session: Session, bounds: Bounds, place: Place, tell: Tell) -> None:
        self._session = session
        self._bounds = bounds
        self._disks = _disks(place)
        self._tell = tell

    @property
    def sees_the_disk(self) -> bool:
        """Whether the server runs on this machine, where its disk can be looked at."""
        return bool(self._disks)

    async def ready(self, step: Step, table: Table) -> None:
        """Check the room, then wait until standbys are near. Raises DiskFull, StatementFailed."""
        self._room(step, table)
        started = time.monotonic()
        said = ""
        while reason := await self.trouble():
            if time.monotonic() - started > self._bounds.patience_seconds:
                raise StatementFailed(
                    f"{step.index} was not begun: {reason}",
                    sqlstate="",
                    hint="wait until they follow again, or allow more with --max-lag",
                )
            if reason != said:
                self._tell(f"waiting: {reason}")
                said = reason
            await asyncio.sleep(POLL_SECONDS)

    async def trouble(self) -> str | None:
        """What speaks against writing on, at this moment; None when nothing does."""
        for disk in self._disks:
            free, reserve = disk.free(), disk.reserve()
            if free is not None and free < reserve:
                return (
                    f"{disk.path} has {size(free)} left, less than the reserve of {size(reserve)}"
                )
        for follower in await self._followers():
            if follower.in_danger:
                return f"{follower.name} is about to lose WAL that it still needs"
            if (follower.lag_bytes or 0) > self._bounds.max_lag_bytes:
                return f"{follower.name} is {size(follower.lag_bytes or 0)} behind"
        return None

    def _room(self, step: Step, table: Table) -> None:
        known = step.size_bytes
        expected = known if known is not None else int(table.size_bytes * UNKNOWN_SIZE_RATIO)
        self.require(step.index, expected * TIMES_ITS_SIZE)

    def require(self, index: str, needed: int) -> None:
        """Raises DiskFull when there is no room for so many bytes."""
        room = self._bounds.room_bytes
        if room is not None and needed > room:
            raise DiskFull(
                f"{index} needs about {size(needed)} while it is built, and --room allows "
                f"{size(room)}",
                hint="allow more, or take it out of the plan",
            )
        for disk in self._disks:
            free = disk.free()
            if free is not None and free - needed < disk.reserve():
                raise DiskFull(
                    f"{index} needs about {size(needed)} while it is built, and {disk.path} "
                    f"has {size(free)} free, of which {size(disk.reserve())} are a reserve",
                    hint="make room there, or take it out of the plan",
                )

    async def _followers(self) -> list[Follower]:
        try:
            return await self._session.rows(Query(_PACKAGE, "followers"), Follower)
        except RightsMissing:  # a managed service may hide them altogether
            return []


class _Disk:
    """A directory of the server's on this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def free(self) -> int | None:
        with contextlib.suppress(OSError):
            return shutil.disk_usage(self.path).free
        return None

    def reserve(self) -> int:
        with contextlib.suppress(OSError):
            return int(shutil.disk_usage(self.path).total * RESERVE_RATIO)
        return 0


def _disks(place: Place) -> list[_Disk]:
    """The tablespace's and the WAL's, if the server runs on this machine."""
    if place.data_directory is None:
        return []
    data = Path(place.data_directory)
    if not _serves_here(data, place.started_at_epoch):
        return []
    paths = {Path(place.tablespace) if place.tablespace else data, data / "pg_wal"}
    return [_Disk(path) for path in sorted(paths)]


def _serves_here(data: Path, started_at: float) -> bool:
    """Whether this very server holds that directory: a container's or another host's may have the
    same name, but not a postmaster.pid with the same second of its start (its third line)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return abs(int(lines[2]) - started_at) <= 1.0
    except (OSError, ValueError, IndexError):
        return False
