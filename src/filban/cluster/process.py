"""Processes of this machine, by what /proc says: which they are, who their children are.

A pid alone names nobody: it is reused. A process is identified by its pid and start time, a
postmaster by its working directory, which is its data directory.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
POLL_SECONDS = 0.02
_SERVER_NAMES = ("postgres", "postmaster")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name; [] if there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def alive(pid: int) -> bool:
    """Whether it runs; a zombie that nobody reaps (containers without init) does not."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in ("Z", "X")


def exists(pid: int) -> bool:
    """Whether the kernel still has the pid: for PostgreSQL, a zombie's is taken."""
    return bool(_stat(pid))


def start_time(pid: int) -> int | None:
    """When it started, in clock ticks since boot (field 22); None if it is gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def boot_id() -> str:
    """Names this boot of the kernel: pids and start times mean nothing across boots."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def pid_namespace() -> str:
    """Names the set of processes that we can see: another container has other ones."""
    return os.readlink(PROC / "self/ns/pid")


def working_directory(pid: int) -> Path | None:
    """Its working directory; None if it is gone or we may not look: another user's process, or as
    root in a container without CAP_SYS_PTRACE."""
    try:
        return Path(os.readlink(PROC / str(pid) / "cwd"))
    except OSError:
        return None


def arguments(pid: int) -> list[str]:
    """Its command line, which everybody may read; [] if it is gone."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return raw.rstrip(b"\0").decode(errors="replace").split("\0")


def everything() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def children(pid: int) -> list[int]:
    """Its direct children. PostgreSQL has no deeper ones, but for archive and restore commands."""
    return [p for p in everything() if (fields := _stat(p)) and int(fields[1]) == pid]


def descendants(pid: int) -> list[int]:
    """Its children, theirs, and so on."""
    below = children(pid)
    return below + [p for child in below for p in descendants(child)]


def working_in(directory: Path) -> list[int]:
    """Processes whose working directory is `directory`: a server's, orphaned backends included."""
    wanted = directory.resolve()
    return [pid for pid in everything() if working_directory(pid) == wanted and alive(pid)]


def is_postmaster(pid: int, data_dir: Path) -> bool:
    """Whether this process serves this data directory: it works there, or, where we may not look,
    it was told so by its arguments."""
    if not alive(pid):
        return False
    directory = working_directory(pid)
    if directory is not None:
        return directory == data_dir.resolve()
    return (
        looks_like_server(pid)
        and {str(data_dir), str(data_dir.resolve())} & set(arguments(pid)) != set()
    )


def looks_like_server(pid: int) -> bool:
    """Whether it is some postmaster or backend ("postgres: …" is a backend's title)."""
    name = (arguments(pid) or [""])[0]
    return Path(name).name in _SERVER_NAMES or name.startswith("postgres:")


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal all; those that are gone already are no matter."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


async def gone(pids: Iterable[int], timeout: float) -> bool:
    """Wait until none of them runs; False if `timeout` seconds have passed before."""
    left = list(pids)
    deadline = time.monotonic() + timeout
    while left := [pid for pid in left if alive(pid)]:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def shared_memory_users(segment: int) -> int | None:
    """How many processes have a System V segment attached; None if there is no such segment.

    PostgreSQL keeps a small one per data directory, whose id is in postmaster.pid, so that nobody
    starts there while a backend of a dead postmaster lives: the same proof serves us.
    """
    try:
        lines = (PROC / "sysvipc/shm").read_text().splitlines()[1:]
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if int(fields[1]) == segment:
            return int(fields[6])
    return None
