"""What is left of throwaway clusters whose program was killed: found, named, removed.

Every throwaway cluster has a small file in the cache that names its directory and its program, by
pid and start time, from before the directory exists until after it is gone. A program that dies
in between is noticed by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from filban.cluster import process, startup
from filban.cluster.config import read_pid_file
from filban.cluster.owner import server_user
from filban.cluster.places import cache_dir, file_errors, scratch_root
from filban.cluster.run import run_program

log = logging.getLogger("filban.cluster")

_MARK = ".filban-throwaway"
_ORPHAN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Leftover:
    """A throwaway cluster whose program died: its directory and the postmasters that still run."""

    base: Path
    state_file: Path
    parent_pid: int
    postmasters: tuple[int, ...]

    def __str__(self) -> str:
        pids = ", ".join(str(p) for p in self.postmasters)
        runs = f"with running servers (pid {pids})" if pids else "without a running server"
        return f"{self.base} {runs}, started by process {self.parent_pid}, which is gone"


def leftovers() -> list[Leftover]:
    """Throwaway clusters of ours whose program has died. No cluster is touched."""
    found = (_judge(file) for file in sorted(cache_dir("running").glob("*.json")))
    return [leftover for leftover in found if leftover is not None]


async def clean_leftovers() -> list[Leftover]:
    """Stop and remove what `leftovers` finds, naming each in the log `filban.cluster`."""
    found = leftovers()
    for leftover in found:
        log.warning("removing a throwaway cluster that was left behind: %s", leftover)
        await remove(leftover.base, leftover.state_file)
    return found


def begin() -> tuple[Path, Path]:
    """A new temporary directory and the file that remembers it, which is written first: there is
    no instant at which a kill leaves a directory that nobody knows."""
    owner = server_user()
    token = secrets.token_hex(5)
    base = scratch_root(owner) / f"filban-{token}"
    state = cache_dir("running") / f"{token}.json"
    half = state.with_suffix(".half")
    with file_errors("a temporary directory cannot be made"):
        half.write_text(json.dumps({"base": str(base), **_our_identity()}))
        half.rename(state)
        base.mkdir(mode=0o700)
        (base / _MARK).write_text(token)
        owner.take(base)
    return base, state


async def remove(base: Path, state: Path) -> None:
    """Stop every server below `base`, then remove it and the file that remembers it."""
    await startup.end(_postmasters(base))
    for data_dir in _data_dirs(base):
        orphans = process.working_in(data_dir)  # backends of a postmaster that was killed
        process.send(orphans, signal.SIGKILL)
        await process.gone(orphans, _ORPHAN_SECONDS)
        await _remove_shared_memory(data_dir)
    await asyncio.to_thread(shutil.rmtree, base, ignore_errors=True)
    forget(state)


def forget(state: Path) -> None:
    """The cluster is to be kept: it is nobody's leftover."""
    state.unlink(missing_ok=True)


def _our_identity() -> dict[str, str | int | None]:
    pid = os.getpid()
    return {
        "pid": pid,
        "start_time": process.start_time(pid),
        "boot": process.boot_id(),
        "pid_namespace": process.pid_namespace(),
    }


def _judge(state_file: Path) -> Leftover | None:
    """The leftover that this file remembers; None if its program lives or nothing is left."""
    try:
        known = json.loads(state_file.read_text())
        base, pid = Path(known["base"]), int(known["pid"])
    except FileNotFoundError:
        return None  # its program has just ended
    except (ValueError, KeyError, TypeError):
        state_file.unlink(missing_ok=True)  # nothing that we could act on
        return None
    if _lives(known, pid):
        return None
    if (base / _MARK).is_file():
        return Leftover(base, state_file, pid, tuple(_postmasters(base)))
    with contextlib.suppress(OSError):
        base.rmdir()  # killed between mkdir and the mark, if it is there at all
    state_file.unlink(missing_ok=True)
    return None


def _lives(known: dict[str, object], pid: int) -> bool:
    """Whether its program still runs. Another container's we cannot see: it counts as living."""
    if known.get("boot") != process.boot_id():
        return False
    if known.get("pid_namespace") != process.pid_namespace():
        return True
    return process.alive(pid) and process.start_time(pid) == known.get("start_time")


def _data_dirs(base: Path) -> list[Path]:
    return [version.parent for version in base.glob("*/PG_VERSION")]


def _postmasters(base: Path) -> list[int]:
    """Living postmasters below `base`: a pid counts only if that process serves that very data
    directory, so that one that was reused never does."""
    known = ((d, read_pid_file(d)) for d in _data_dirs(base))
    return [pid.pid for d, pid in known if pid is not None and process.is_postmaster(pid.pid, d)]


async def _remove_shared_memory(data_dir: Path) -> None:
    """A postmaster that was killed leaves a System V segment, which only its next start would
    remove; the machine has 4096 of them in all."""
    known = read_pid_file(data_dir)
    segment = known.shared_memory_id if known else None
    if segment is not None and process.shared_memory_users(segment) == 0:
        await run_program("ipcrm", "-m", str(segment), as_owner_of=data_dir, check=False)
