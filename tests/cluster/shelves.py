"""A repository as plain files: what pg_basebackup and `cp` leave. The proving half is tested on it,
so that a fault is put exactly where a test wants it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filban.backup.shelf import Stored
from filban.backup.timeline.segment import NAME
from filban.backup.verify import manifest
from filban.backup.verify.stored import Directory, Source
from filban.cluster import Binaries, Cluster, run_program, throwaway
from filban.cluster.owner import owner_of
from filban.errors import NotGood
from filban.pg import Limits, connection, parse

WAIT_SECONDS = 60.0


class Noted(Directory):
    """A directory with NAME.sha256 beside each object that somebody has noted."""

    def names(self) -> Iterator[tuple[bytes, int]]:
        return (n for n in super().names() if not n[0].endswith(b".sha256"))

    def digest(self, name: bytes) -> str | None:
        file = self.path / f"{os.fsdecode(name)}.sha256"
        return file.read_text() if file.exists() else None


class FileShelf:
    """ROOT/base/LABEL, ROOT/wal."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)
        self.taken: list[Stored] = []
        self.noted: list[Mapping[str, Any]] = []

    @property
    def wal_dir(self) -> Path:
        return self.root / "wal"

    async def backups(self) -> Sequence[Stored]:
        return [b for b in self.taken if (self.root / "base" / b.label).exists()]

    async def labels(self) -> Sequence[str]:
        return sorted(b.label for b in self.taken)

    def contents(self, label: str) -> Source:
        return Noted(self.root / "base" / label)

    def wal(self) -> Source:
        return Noted(self.wal_dir)

    def note(self) -> None:
        """Record every object's digest as it is now, as a repository does when it stores one."""
        for file in [p for p in self.root.rglob("*") if p.is_file() and p.suffix != ".sha256"]:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            file.with_name(f"{file.name}.sha256").write_text(digest)

    def restore_command(self) -> str:
        return f"cp {self.wal_dir}/%f %p"

    async def drills(self) -> Sequence[Mapping[str, Any]]:
        return self.noted

    async def note_drill(self, record: Mapping[str, Any]) -> None:
        self.noted.append(record)

    async def fetch_wal(self, name: str, into: Path) -> None:
        try:
            shutil.copy(self.wal_dir / name, into)
        except FileNotFoundError as error:
            raise NotGood(f"{name} is not there") from error
        os.chown(into, into.parent.stat().st_uid, -1)

    def segments(self) -> list[Path]:
        return sorted(p for p in self.wal_dir.iterdir() if NAME.fullmatch(p.name))

    def file(self, label: str, name: str) -> Path:
        return self.root / "base" / label / name


@dataclass
class World:
    """A primary that archives into a shelf."""

    primary: Cluster
    shelf: FileShelf

    @property
    def dsn(self) -> str:
        return self.primary.dsn()

    async def execute(self, *statements: str) -> None:
        async with connection(parse(self.dsn), Limits(read_only=False)) as session:
            for statement in statements:
                await session.execute(statement)

    async def fetchval(self, sql: str) -> Any:
        async with connection(parse(self.dsn), Limits(read_only=False)) as session:
            return await session.fetchval(sql)

    async def archived(self) -> None:
        """Until all WAL so far is in the archive."""
        wanted = await self.fetchval("SELECT pg_walfile_name(pg_switch_wal() - 1)")
        deadline = time.monotonic() + WAIT_SECONDS
        while not (self.shelf.wal_dir / wanted).exists():
            assert time.monotonic() < deadline, f"{wanted} was never archived"
            await asyncio.sleep(0.02)

    async def backup(self, label: str, *arguments: str, source: Cluster | None = None) -> Stored:
        """pg_basebackup in tar format, unless told otherwise."""
        cluster = source or self.primary
        into = self.shelf.file(label, "").parent / label
        began = datetime.now(UTC)
        await run_program(
            cluster.binaries.program("pg_basebackup"), "-D", into, "-d", cluster.dsn(),
            "-F", "t", "-X", "none", "-c", "fast", "--no-sync", *arguments,
        )  # fmt: skip
        known = manifest.read(into / "backup_manifest")
        last = known.wal_ranges[-1]
        known.close()
        whose = await self.fetchval("SELECT system_identifier FROM pg_control_system()")
        stored = Stored(
            label, last.timeline, known.wal_ranges[0].start, last.end, began, datetime.now(UTC),
            whose, cluster.binaries.major, known.bytes,
            chain=(label,), superuser=cluster.superuser,
        )  # fmt: skip
        self.shelf.taken.append(stored)
        await self.archived()
        return stored


@contextlib.asynccontextmanager
async def world(
    binaries: Binaries, *, checksums: bool = True, hba: Sequence[str] = (), **settings: Any
) -> AsyncIterator[World]:
    """A fresh primary with an archive, and nothing backed up yet."""
    wanted = {"wal_level": "replica", "archive_mode": "on", "max_wal_senders": 4, **settings}
    async with throwaway(
        binaries=binaries, settings=wanted, checksums=checksums, hba=hba
    ) as primary:
        root = primary.data_dir.parent / "shelf"
        for path in (root, root / "base", root / "wal"):
            path.mkdir()
            owner_of(primary.data_dir).take(path)
        target = root / "wal"
        primary.configure(
            {"archive_command": f"cp %p {target}/%f.half && mv {target}/%f.half {target}/%f"}
        )
        await primary.reload()
        yield World(primary, FileShelf(root))
