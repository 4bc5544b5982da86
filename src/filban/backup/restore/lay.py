"""Lay a backup out in a data directory: a full one, or a chain through pg_combinebackup; into an
empty directory, or over an old one whose equal files stay."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from filban.backup.apart import Told, apart, ignored
from filban.backup.restore import ground, unpack
from filban.backup.shelf import Shelf, Stored
from filban.backup.verify import manifest
from filban.backup.verify.contents import CHUNK, DAMAGE
from filban.backup.verify.files import digest_for
from filban.backup.verify.manifest import Manifest, ManifestDamaged, ManifestFile
from filban.backup.verify.stored import Directory, Source
from filban.cluster import Cluster, run_program
from filban.cluster.binaries import Binaries
from filban.cluster.owner import Owner
from filban.errors import ClusterBusy, DiskFull, NotGood, UsageError

MANIFEST = b"backup_manifest"


def manifest_of(source: Source) -> Manifest:
    """Raises NotGood if it is not there or damaged."""
    try:
        with source.open(MANIFEST) as stream:
            return manifest.parse(stream)
    except (ManifestDamaged, *DAMAGE) as error:
        raise NotGood(
            f"the backup's manifest cannot be trusted: {error}", hint="filban backup verify"
        ) from error


async def lay_out(
    shelf: Shelf,
    backup: Stored,
    into: Path,
    binaries: Binaries,
    owner: Owner,
    *,
    tablespaces: Mapping[str, Path] | None = None,
    delta: bool = False,
    on_bytes: Told = ignored,
) -> int:
    """Write the backup (its whole chain) into `into`; the bytes written.

    `into` and the tablespaces' places are empty directories of `owner`, or with `delta` the old
    cluster's. Raises NotGood for damage, DiskFull before anything is written if there is no room.
    """
    places = dict(tablespaces or {})
    source = shelf.contents(backup.label)
    _all_placed(source, places)
    known = await apart(lambda _: manifest_of(source))
    try:
        if not delta:
            _room(into, known.bytes)
        if len(backup.chain) > 1:
            return await _combined(shelf, backup, into, binaries, owner, places, on_bytes)
        keep = None
        if delta:
            keep = await apart(partial(_equal_files, into, places, known))
        work = partial(unpack.unpack, source, into, owner, places, keep=keep or frozenset())
        return await apart(lambda told: work(on_bytes=told), on_bytes)
    finally:
        known.close()


def tablespaces(shelf: Shelf, backup: Stored) -> list[str]:
    """OIDs of the tablespaces that need a place."""
    return sorted(unpack.tablespaces_of(shelf.contents(backup.label)))


def _all_placed(source: Source, places: Mapping[str, Path]) -> None:
    missing = sorted(set(unpack.tablespaces_of(source)) - set(places))
    if missing:
        raise UsageError(
            f"the backup has tablespaces without a place here: {', '.join(missing)}",
            hint=" ".join(f"--tablespace {oid}=/an/empty/directory" for oid in missing),
        )


def _room(into: Path, needed: int) -> None:
    free = unpack.room_for(into)
    if free < needed:
        raise DiskFull(
            f"{needed:,} bytes are needed below {into}, {free:,} are free",
            hint="restore to another disk; nothing was written",
        )


async def _combined(
    shelf: Shelf,
    backup: Stored,
    into: Path,
    binaries: Binaries,
    owner: Owner,
    places: Mapping[str, Path],
    on_bytes: Told,
) -> int:
    """pg_combinebackup (17 on) reads plain directories and writes the synthetic full backup."""
    program = binaries.program("pg_combinebackup")
    stage = into.with_name(f"{into.name}.chain")
    done = 0
    try:
        stage.mkdir(mode=0o700)
        owner.take(stage)
        parts: list[Path] = []
        for number, label in enumerate(backup.chain):
            part = stage / str(number)
            spaces = {oid: stage / f"{number}-{oid}" for oid in places}
            for path in (part, *spaces.values()):
                path.mkdir(mode=0o700)
                owner.take(path)
            work = partial(unpack.unpack, shelf.contents(label), part, owner, spaces)
            done += await apart(work, partial(_further, on_bytes, done))
            parts.append(part)
        moved = [f"-T{stage / f'{len(parts) - 1}-{oid}'}={p}" for oid, p in places.items()]
        await run_program(
            program,
            *parts,
            "--output",
            into,
            "--no-sync",
            "--no-manifest",
            *moved,
            as_owner_of=into,
        )
        return done
    finally:
        await asyncio.to_thread(shutil.rmtree, stage, ignore_errors=True)


def _further(on_bytes: Told, before: int, done: int) -> None:
    on_bytes(before + done)


async def old_cluster(into: Path, binaries: Binaries, backup: Stored) -> None:
    """Whether `into` may be overwritten: the same cluster's data directory, and nothing runs on it.

    Raises ClusterBusy, UsageError.
    """
    if Cluster.open(into, binaries=binaries).status().running:
        raise ClusterBusy(f"a server runs on {into}", hint="stop it first: pg_ctl stop -D …")
    whose = (await ground.control_data(binaries, into)).get("Database system identifier")
    if whose != str(backup.system_identifier):
        raise UsageError(
            f"{into} is the cluster {whose}, the backup is of {backup.system_identifier}",
            hint="--delta overwrites only the cluster that the backup was taken of",
        )


def _equal_files(
    into: Path, places: Mapping[str, Path], known: Manifest, on_bytes: Told
) -> frozenset[bytes]:
    """Remove what the backup does not have; the paths of files that are as they were. Blocking."""
    equal = set()
    for path, file in _files_of(into, places):
        on_bytes(0)
        entry = known.find(path)
        if entry is None:
            file.unlink()
        elif file.is_file() and not file.is_symlink() and _is_equal(file, entry):
            equal.add(path)
    return frozenset(equal)


def _files_of(into: Path, places: Mapping[str, Path]) -> Iterator[tuple[bytes, Path]]:
    for name, _ in Directory(into).names():
        if not name.startswith(b"pg_tblspc/"):
            yield name, into / os.fsdecode(name)
    for oid, place in places.items():
        for name, _ in Directory(place).names():
            yield b"pg_tblspc/" + oid.encode() + b"/" + name, place / os.fsdecode(name)


def _is_equal(file: Path, entry: ManifestFile) -> bool:
    if file.stat().st_size != entry.size:
        return False
    digest = digest_for(entry.algorithm)
    if digest is None:
        return False
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == entry.checksum
