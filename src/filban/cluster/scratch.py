"""Throwaway clusters, and what is left of those whose program was killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filban.cluster import process
from filban.cluster.binaries import Binaries, find_binaries
from filban.cluster.cluster import Cluster
from filban.cluster.config import Setting, read_pid_file
from filban.cluster.owner import server_user
from filban.cluster.places import cache_dir, scratch_root

log = logging.getLogger("filban.cluster")

# For servers whose data nobody will miss: no fsync, little memory, and dynamic shared memory as
# files in the data directory, so that a killed server leaves none in /dev/shm.
THROWAWAY_SETTINGS: Mapping[str, Setting] = {
    "fsync": False,
    "shared_buffers": "16MB",
    "max_connections": 50,
    "dynamic_shared_memory_type": "mmap",
}
_PREFIX = "filban-"
_MARK = ".filban-throwaway"
_STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Leftover:
    """A throwaway cluster whose program died: its directory and the postmasters that still run."""

    base: Path
    state_file: Path
    parent_pid: int
    postmasters: tuple[int, ...]

    def __str__(self) -> str:
        pids = ", ".join(str(p) for p in self.postmasters)
        runs = f"with running postmasters (pid {pids})" if pids else "without a running server"
        return f"{self.base} {runs}, started by process {self.parent_pid}, which is gone"


@contextlib.asynccontextmanager
async def throwaway(
    *,
    major: int | None = None,
    binaries: Binaries | None = None,
    settings: Mapping[str, Setting] | None = None,
    hba: Sequence[str] = (),
    keep: bool = False,
    tcp: bool = True,
    checksums: bool = True,
    locale: str | None = None,
    template_cache: bool = True,
) -> AsyncIterator[Cluster]:
    """A running cluster in a temporary directory, stopped and removed at the end, with all its
    standbys; `keep` leaves it running. What killed programs have left is cleaned first."""
    await clean_leftovers()
    programs = binaries or find_binaries(major)
    base, state = _begin()
    try:
        cluster = await Cluster.create(
            base / "data", binaries=programs, settings={**THROWAWAY_SETTINGS, **(settings or {})},
            hba=hba, checksums=checksums, locale=locale, template_cache=template_cache, tcp=tcp,
        )  # fmt: skip
        await cluster.start()
        yield cluster
    except BaseException:
        await _remove(base, state)
        raise
    if keep:
        state.unlink(missing_ok=True)
    else:
        await _remove(base, state)


def leftovers() -> list[Leftover]:
    """Throwaway clusters of ours whose program has died. Nothing is touched."""
    found = (_judge(file) for file in sorted(cache_dir("running").glob("*.json")))
    return [leftover for leftover in found if leftover is not None]


async def clean_leftovers() -> list[Leftover]:
    """Stop and remove what `leftovers` finds, naming each in the log (`filban.cluster`)."""
    found = leftovers()
    for leftover in found:
        log.warning("removing a throwaway cluster that was left behind: %s", leftover)
        await _remove(leftover.base, leftover.state_file)
    return found


def _begin() -> tuple[Path, Path]:
    """The temporary directory and the file that remembers it: written first, so that there is no
    instant at which a kill leaves a directory that nobody knows."""
    owner = server_user()
    token = secrets.token_hex(5)
    base = scratch_root(owner) / f"{_PREFIX}{token}"
    state = cache_dir("running") / f"{token}.json"
    half = state.with_suffix(".half")
    half.write_text(json.dumps({"base": str(base), **_identity()}))
    half.rename(state)
    base.mkdir(mode=0o700)
    (base / _MARK).write_text(token)
    owner.take(base)
    return base, state


def _identity() -> dict[str, str | int | None]:
    pid = os.getpid()
    return {
        "pid": pid,
        "start_time": process.start_time(pid),
        "boot": process.boot_id(),
        "pid_namespace": process.pid_namespace(),
    }


def _judge(state_file: Path) -> Leftover | None:
    try:
        known = json.loads(state_file.read_text())
        base, pid = Path(known["base"]), int(known["pid"])
    except FileNotFoundError:
        return None  # removed by its program in this instant
    except (ValueError, KeyError, TypeError):
        state_file.unlink(missing_ok=True)
        return None
    if known.get("boot") == process.boot_id():
        if known.get("pid_namespace") != process.pid_namespace():
            return None  # another container's: we cannot see whether its program lives
        if process.start_time(pid) == known.get("start_time"):
            return None
    if not (base / _MARK).is_file():
        state_file.unlink(missing_ok=True)
        _remove_empty(base)
        return None
    return Leftover(base, state_file, pid, tuple(_postmasters(base)))


def _remove_empty(base: Path) -> None:
    with contextlib.suppress(OSError):  # killed between mkdir and the mark; or never made
        base.rmdir()


def _postmasters(base: Path) -> list[int]:
    """Living postmasters below a base directory: a pid counts only if it works in that very data
    directory, so that one that was reused never does."""
    found = []
    for file in base.glob("*/postmaster.pid"):
        known = read_pid_file(file.parent)
        if known is not None and process.working_directory(known.pid) == file.parent.resolve():
            found.append(known.pid)
    return found


async def _remove(base: Path, state: Path) -> None:
    """Stop every server below `base`, then remove it and the file that remembers it."""
    pids = _postmasters(base)
    process.send(pids, signal.SIGCONT)  # a paused one cannot stop
    process.send(pids, signal.SIGQUIT)
    if not await process.gone(pids, _STOP_SECONDS):
        process.send(pids, signal.SIGKILL)
    for directory in base.glob("*/PG_VERSION"):
        orphans = process.working_in(directory.parent)
        process.send(orphans, signal.SIGKILL)
        await process.gone(orphans, _STOP_SECONDS)
    await asyncio.to_thread(shutil.rmtree, base, ignore_errors=True)
    state.unlink(missing_ok=True)
