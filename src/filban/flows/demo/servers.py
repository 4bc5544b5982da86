"""The demo's servers: a primary with a WAL archive, and a standby that streams from it."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from filban.cluster import Binaries, Cluster, find_all, find_binaries, throwaway
from filban.cluster.binaries import SERVER_PROGRAMS
from filban.cluster.owner import owner_of
from filban.errors import DiskFull
from filban.flows.demo.options import DemoOptions
from filban.pg import Limits, Query, connection, parse
from filban.units import size

PACKAGE = "filban.flows.demo"
DATABASE = "news"
SCHEMA = "filban_demo"  # as in own_schema.sql
STANDBY = "standby1"
STATEMENTS = "pg_stat_statements"
NEEDED = (*SERVER_PROGRAMS, "pg_basebackup")
EMBEDDED = ("merged", "pypi")
# Data, WAL and archive of the primary, the standby's copy, the backup and its restored clone:
# at most 2.8 GB with 200,000 articles on PostgreSQL 18, and a quarter more for slow archivers.
DISK_BYTES_PER_ARTICLE = 15_000
DISK_BYTES_FIXED = 500_000_000
# What a small production server has. Nothing here is unsafe: numbers measured with fsync off, or
# without an archive, would be another server's.
SETTINGS: Mapping[str, str | int | bool] = {
    "fsync": True,
    "shared_buffers": "256MB",
    "max_wal_size": "1GB",
    "wal_level": "replica",
    "archive_mode": True,
    "max_connections": 50,
}
# Ours are long statements (COPY, VACUUM, a digest of every table) on a server of our own.
OURS = Limits(statement_timeout_ms=0, lock_timeout_ms=60_000, read_only=False)


@dataclass(frozen=True, slots=True)
class Servers:
    """What runs. `base` holds everything; `contrib` says whether pg_stat_statements counts."""

    primary: Cluster
    standby: Cluster
    base: Path
    archive: Path
    contrib: bool

    @property
    def dsn(self) -> str:
        return self.primary.dsn(DATABASE)

    @property
    def standby_dsn(self) -> str:
        return self.standby.dsn(DATABASE)


def choose(bin_dir: Path | None) -> Binaries:
    """What was asked for, else what is installed here, else an embedded build.

    Raises BinariesNotFound with what to install.
    """
    if bin_dir is not None:
        return find_binaries(bin_dir=bin_dir, need=NEEDED)
    fitting = [b for b in find_all() if all(b.has(p) for p in NEEDED)]
    if not fitting:
        return find_binaries(need=NEEDED)  # says what is missing
    return min(fitting, key=lambda b: b.origin in EMBEDDED)  # the first of the preferred kind


@contextlib.asynccontextmanager
async def servers(options: DemoOptions, binaries: Binaries) -> AsyncIterator[Servers]:
    """A running primary and standby with an empty news database; gone at the end.

    With `options.keep` they stay, unless the block ended with an error or was cancelled.
    """
    contrib = binaries.has_library(STATEMENTS)
    settings = {**SETTINGS, **({"shared_preload_libraries": STATEMENTS} if contrib else {})}
    async with throwaway(binaries=binaries, settings=settings, keep=options.keep) as primary:
        base = primary.data_dir.parent
        _room(base, options.articles)
        archive = await _archive(primary)
        await _create_database(primary, contrib)
        standby = await primary.standby(name=STANDBY, slot=STANDBY)
        yield Servers(primary, standby, base, archive, contrib)


def _room(base: Path, articles: int) -> None:
    wanted = DISK_BYTES_FIXED + DISK_BYTES_PER_ARTICLE * articles
    free = shutil.disk_usage(base).free
    if free < wanted:
        raise DiskFull(
            f"{base.parent} has {size(free)} free and the demo needs {size(wanted)}",
            hint="free some space, set TMPDIR to a larger place, or give fewer --articles",
        )


async def _archive(primary: Cluster) -> Path:
    """A WAL archive beside the data directory, which the server writes from now on."""
    archive = primary.data_dir.with_name("archive")
    archive.mkdir(mode=0o700)
    owner_of(primary.data_dir).take(archive)
    folder = shlex.quote(str(archive)).replace("%", "%%")
    # Under another name until it is whole, so that a restore never reads half a segment.
    primary.configure(
        {
            "archive_command": f"test ! -f {folder}/%f && cp %p {folder}/.%f"
            f" && mv {folder}/.%f {folder}/%f"
        }
    )
    await primary.reload()
    return archive


async def _create_database(primary: Cluster, contrib: bool) -> None:
    async with connection(parse(primary.dsn()), OURS) as opened:
        await opened.execute(f"CREATE DATABASE {DATABASE}")
    async with connection(parse(primary.dsn(DATABASE)), OURS) as opened:
        await opened.execute(Query(PACKAGE, "own_schema").text(primary.binaries.major))
        if contrib:
            await opened.execute(f"CREATE EXTENSION {STATEMENTS} SCHEMA {SCHEMA}")
