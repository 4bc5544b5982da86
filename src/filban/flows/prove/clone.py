"""A clone of a running server: a fresh base backup, started on this machine, harmless.

It gets nothing of the source's configuration but what plans depend on: no archive, no standbys, no
subscriptions, no libraries that act by themselves. When filban is killed, the next start removes it
(see `filban.cluster.leftovers`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filban.cluster import Binaries, Cluster, abandoned, find_binaries, run_program
from filban.cluster.config import Setting, hba_text, write_file
from filban.errors import DiskFull, FilbanError, NotSupported, ProgramFailed
from filban.flows.progress import Progress, Step, step
from filban.pg import Limits, Query, Session, Target, connection, parse, session
from filban.pg.driver_errors import statement_errors
from filban.units import size

PACKAGE = "filban.flows.prove"
# Its own part of this machine's memory at most: the source may be a far larger machine.
MEMORY_RATIO = 0.25
# Left free beside the clone: the indexes that are tried, their sorts, the WAL.
SPARE_RATIO = 0.5
_PROGRESS = re.compile(r"\s*(\d+)/(\d+) kB")
# Libraries without which tables cannot be read; whatever else would be loaded stays out, as it may
# act by itself (pg_cron runs its jobs in every copy of a database).
_NEEDED_LIBRARIES = ("timescaledb", "citus", "pg_hint_plan")
_HARMLESS: dict[str, Setting] = {
    "archive_mode": False,
    "autovacuum": False,  # nothing moves between two executions but what we execute
    "fsync": False,
    "full_page_writes": True,  # counted in WAL as on the source
    "synchronous_standby_names": "",
    "max_logical_replication_workers": 0,
    "max_wal_senders": 0,
    "huge_pages": "off",
    "dynamic_shared_memory_type": "mmap",
    "track_io_timing": True,
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "logging_collector": False,
    "ssl": False,
}


@dataclass(frozen=True, slots=True)
class Size:
    """What there is to copy."""

    size_bytes: int
    superuser: str
    tablespaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clone:
    """A running copy. taken_at: when the copy began; seconds: what it took."""

    cluster: Cluster
    database: str
    taken_at: datetime
    seconds: float
    size_bytes: int
    jit: bool = True

    @property
    def target(self) -> Target:
        """Its superuser's."""
        return parse(self.cluster.dsn_socket(self.database))


@contextlib.asynccontextmanager
async def clone(target: Target, progress: Progress) -> AsyncIterator[Clone]:
    """A copy of the server, gone at the end of the block.

    target: a role that may replicate. Raises DiskFull, BinariesNotFound (no programs of the
    source's version here), ProgramFailed, NotSupported where no base backup can be taken.
    """
    async with session(target) as opened:
        what = await opened.row(Query(PACKAGE, "size"), Size)
        settings = await _settings(opened)
        major, database = opened.server.major, opened.server.database
    binaries = find_binaries(major)
    base, state = abandoned.begin()
    try:
        _room(base, what)
        with step(progress, "cloning the server", what.size_bytes, "bytes") as running:
            copy = await _copied(target, binaries, base, what, settings, running)
            running.summary = size(what.size_bytes)
            taken = datetime.now(UTC)
            jit = settings.get("jit") != "off"
            made = Clone(copy, database, taken, running.seconds, what.size_bytes, jit)
        yield made
    finally:
        await abandoned.remove(base, state)


def _room(base: Path, what: Size) -> None:
    free, needed = shutil.disk_usage(base).free, int(what.size_bytes * (1 + SPARE_RATIO))
    if free < needed:
        raise DiskFull(
            f"a clone needs about {size(needed)}, and {base.parent} has {size(free)} free",
            hint="set TMPDIR to a directory with more room",
        )


async def _copied(
    target: Target, binaries: Binaries, base: Path, what: Size, settings: dict[str, str], run: Step
) -> Cluster:
    data = base / "data"

    def said(line: str) -> None:
        if match := _PROGRESS.match(line):
            run.advance(int(match[1]) * 1024)

    places = [
        f"--tablespace-mapping={old}={base / f'space{n}'}" for n, old in enumerate(what.tablespaces)
    ]
    try:
        await run_program(
            binaries.program("pg_basebackup"), "-D", data, "-X", "stream", "-c", "fast",
            "--no-sync", "--progress", *places,
            env=target.at(target.addresses[0]).libpq_env(), on_line=said, as_owner_of=base,
        )  # fmt: skip
    except ProgramFailed as error:
        raise _no_backup(error) from error
    copy = Cluster(data, binaries, superuser=what.superuser, tcp=False)
    await asyncio.to_thread(_disarm, copy, settings)
    await copy.start()
    await _settle(parse(copy.dsn_socket()))
    return copy


def _no_backup(error: ProgramFailed) -> FilbanError:
    return NotSupported(
        f"the server cannot be cloned: {error.message}",
        hint="a proof needs a role with REPLICATION and a `host replication` line in pg_hba.conf "
        "for this machine; a managed server offers neither: restore one of its backups to a server "
        "of your own, and give that one's DSN",
    )


def _disarm(copy: Cluster, settings: dict[str, str]) -> None:
    """Only we connect to it, and it acts on nothing outside of its directory."""
    data = copy.data_dir
    for name in ("standby.signal", "recovery.signal"):
        (data / name).unlink(missing_ok=True)
    write_file(data / "postgresql.conf", "")  # the source's may include files and name paths
    write_file(data / "postgresql.auto.conf", "")
    write_file(data / "pg_hba.conf", hba_text(()))
    write_file(data / "pg_ident.conf", "")
    libraries = [
        name
        for name in re.split(r"[,\s]+", settings.pop("shared_preload_libraries", ""))
        if name in _NEEDED_LIBRARIES and copy.binaries.has_library(name)
    ]
    copy.configure({**settings, **_HARMLESS, "shared_preload_libraries": ",".join(libraries)})
    copy.own_address()


@dataclass(frozen=True, slots=True)
class _Setting:
    name: str
    value: str
    bytes: int | None


async def _settings(opened: Session) -> dict[str, str]:
    """What plans depend on, as the source has it; memory within what this machine can give."""
    rows = await opened.rows(Query(PACKAGE, "settings"), _Setting)
    most = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * MEMORY_RATIO)
    return {r.name: _bounded(r, most) if r.name == "shared_buffers" else r.value for r in rows}


def _bounded(setting: _Setting, most: int) -> str:
    return f"{most // 1024}kB" if (setting.bytes or 0) > most else setting.value


async def _settle(target: Target) -> None:
    """Prepared transactions of the source hold locks; event triggers would act on our DDL."""
    started = time.monotonic()
    limits = Limits(read_only=False, statement_timeout_ms=0)
    async with connection(target, limits) as opened:
        with statement_errors("preparing the clone"):
            while await opened.fetchval("SELECT pg_is_in_recovery()"):
                if time.monotonic() - started > 60:
                    raise NotSupported("the clone does not leave recovery", hint="see its log")
                await asyncio.sleep(0.05)
            databases = await opened.fetch(
                "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate"
            )
    for row in databases:
        async with connection(target.in_database(row["datname"]), limits) as opened:
            with statement_errors("preparing the clone"):
                for statement in await opened.fetch(Query(PACKAGE, "settle").text(14)):
                    await opened.execute(statement["sql"])
