"""Write a stored backup into a data directory, streaming, as the server user's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from filban.backup.apart import Told, ignored
from filban.backup.verify.contents import CHUNK, DAMAGE, Content, Damaged, Folder, contents
from filban.backup.verify.stored import Source
from filban.cluster.owner import Owner
from filban.cluster.places import file_errors
from filban.errors import NotGood, UsageError

_TABLESPACES = b"pg_tblspc/"
_MAP = "tablespace_map"


def unpack(
    source: Source,
    into: Path,
    owner: Owner,
    tablespaces: Mapping[str, Path] | None = None,
    on_bytes: Told = ignored,
    keep: frozenset[bytes] = frozenset(),
) -> int:
    """Write every file of a backup into the empty directory `into`; the bytes written.

    tablespaces: where each tablespace goes, by its OID; empty directories that exist. `on_bytes` is
    told how many bytes there are so far. `keep`: paths that are there already and stay as they are.
    Blocking: run it in a thread.
    Raises NotGood for a damaged container, DiskFull, UsageError for a tablespace without a place.
    """
    places = dict(tablespaces or {})
    done = 0
    with file_errors(f"the backup cannot be written into {into}"):
        for item in contents(source):
            if isinstance(item, Damaged):
                raise NotGood(
                    f"the backup is damaged: {item}", hint="filban backup verify says what else is"
                )
            if isinstance(item, Content) and item.path in keep:
                continue
            path = _place(into, item.path, places)
            if isinstance(item, Folder):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                owner.take(path)
                continue
            done = _write(item, path, owner, done, on_bytes)
        _map_tablespaces(into, places, owner)
    return done


def _place(into: Path, path: bytes, places: Mapping[str, Path]) -> Path:
    """Where a file of the backup goes; a name that would leave the directory is refused."""
    parts = os.fsdecode(path).split("/")
    if ".." in parts or path.startswith(b"/"):
        raise NotGood(f"the backup has a file outside of its directory: {os.fsdecode(path)}")
    if path.startswith(_TABLESPACES) and len(parts) > 1:
        if parts[1] not in places:
            raise UsageError(
                f"the tablespace {parts[1]} has no place on this machine",
                hint=f"--tablespace {parts[1]}=/an/empty/directory",
            )
        return places[parts[1]].joinpath(*parts[2:])
    return into.joinpath(*parts)


def _write(item: Content, path: Path, owner: Owner, done: int, on_bytes: Told) -> int:
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True)
        owner.take(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        while chunk := _chunk(item):
            file.write(chunk)
            done += len(chunk)
            on_bytes(done)
    owner.take(path)
    return done


def _chunk(item: Content) -> bytes:
    """What the container gives next; its damage is no error of the disk that we write to."""
    try:
        return item.stream.read(CHUNK)
    except DAMAGE as error:
        name = os.fsdecode(item.container)
        raise NotGood(
            f"the backup is damaged: {name}: {error}", hint="filban backup verify says what else is"
        ) from error


def _map_tablespaces(into: Path, places: Mapping[str, Path], owner: Owner) -> None:
    """The links, and tablespace_map, from which the server makes them again at its first start."""
    for oid, place in places.items():
        link = into / "pg_tblspc" / oid
        link.unlink(missing_ok=True)
        link.symlink_to(place)
        owner.take(link)
    if places and (into / _MAP).exists():
        lines = "".join(f"{oid} {_escaped(place)}\n" for oid, place in places.items())
        (into / _MAP).write_text(lines)
        owner.take(into / _MAP)


def _escaped(path: Path) -> str:
    """As read_tablespace_map() of xlogrecovery.c unescapes it."""
    return str(path).replace("\\", "\\\\").replace("\n", "\\\n").replace("\r", "\\\r")


def tablespaces_of(source: Source) -> dict[str, int]:
    """OIDs of the tablespaces that a backup has, with the stored bytes of each."""
    found: dict[str, int] = {}
    for name, size in source.names():
        text = os.fsdecode(name)
        head = text.split(".")[0]
        if head.isdigit() and "/" not in text:
            found[head] = found.get(head, 0) + size
        elif text.startswith("pg_tblspc/"):
            oid = text.split("/")[1]
            found[oid] = found.get(oid, 0) + size
    return found


def room_for(path: Path) -> int:
    """Free bytes where `path` is or will be."""
    there = next(p for p in (path, *path.parents) if p.exists())
    return shutil.disk_usage(there).free
