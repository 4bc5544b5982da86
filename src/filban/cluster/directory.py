"""Directories of a cluster: claimed for it, emptied when its making fails, short for sockets."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from filban.cluster.owner import Owner, owner_of
from filban.cluster.places import SOCKET_DIR_MAX, file_errors, scratch_root
from filban.errors import ClusterBusy, ClusterError

# Below the range from which Linux hands out ports to clients (32768 up, ip_local_port_range), so
# that an outgoing connection cannot take ours between the look and the bind.
PORTS = range(20000, 32768)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at this moment."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            # As PostgreSQL binds: a port that is only in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise ClusterError(f"no port of {PORTS.start} to {PORTS.stop - 1} is free", hint="stop servers")


@contextlib.contextmanager
def claimed(path: Path, owner: Owner) -> Iterator[None]:
    """Make `path` an empty directory of `owner` for the block; as it was before if that fails.

    Raises ClusterBusy if it is not empty, ClusterError if `owner` does not get there.
    """
    with file_errors(f"{path} cannot be used as a data directory"):
        if path.exists() and any(path.iterdir()):
            raise ClusterBusy(f"{path} is not empty", hint="use another directory, or empty it")
        before = path.stat() if path.exists() else None
        _make(path, owner)
    try:
        if not owner.reaches(path):
            raise ClusterError(
                f"the user {owner.name}, who the server would run as, does not get to {path}",
                hint=f"use a directory that {owner.name} can reach, below /var or /tmp",
            )
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            beside(path, "socket").rmdir()
        _empty(path)
        if before is None:
            path.rmdir()
        else:
            path.chmod(before.st_mode & 0o7777)
            owner.give_back(path, before.st_uid, before.st_gid)
        raise


def _make(path: Path, owner: Owner) -> None:
    for parent in [p for p in reversed(path.parents) if not p.exists()]:
        parent.mkdir(mode=0o755)
        owner.take(parent)
    path.mkdir(exist_ok=True)
    owner.take(path)
    path.chmod(0o700)  # PostgreSQL refuses what others can read


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def beside(data_dir: Path, kind: str) -> Path:
    """DATA_DIR.kind: what belongs to a cluster lies beside its data directory, not in it, where
    base backups would take it along."""
    return data_dir.with_name(f"{data_dir.name}.{kind}")


def socket_dir(data_dir: Path) -> Path:
    """DATA_DIR.socket, made; a directory with a shorter name where that is too long for a socket
    (or has a comma or space, which unix_socket_directories reads as a list)."""
    owner = owner_of(data_dir)
    path = beside(data_dir, "socket")
    if len(str(path).encode()) > SOCKET_DIR_MAX or re.search(r"""[,\s"']""", str(path)):
        name = hashlib.sha256(str(path).encode()).hexdigest()[:12]
        path = scratch_root(owner) / f"filban-socket-{name}"
    with file_errors(f"the socket directory {path} cannot be made"):
        path.mkdir(mode=0o755, exist_ok=True)
        if path.lstat().st_uid not in (owner.uid, os.geteuid()):
            raise ClusterBusy(f"{path} is somebody else's", hint="remove it, or set TMPDIR")
        owner.take(path)
    return path


def free_sibling(data_dir: Path) -> Path:
    """A name beside a data directory for a standby of it."""
    names = (f"{data_dir.name}-standby{n}" for n in range(1, 1000))
    return next(p for n in names if not (p := data_dir.with_name(n)).exists())
