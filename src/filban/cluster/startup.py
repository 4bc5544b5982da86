"""Start a postmaster that survives us, and say in a sentence why one did not start."""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path

from filban.cluster import process
from filban.cluster.binaries import Binaries
from filban.cluster.config import PidFile, read_pid_file
from filban.cluster.owner import owner_of
from filban.cluster.run import clean_environment
from filban.errors import ClusterBusy, ClusterError, DiskFull, ProgramFailed

LOG_TAIL_LINES = 15
_ACCEPTING = ("ready", "standby")
# The shell ends at once, so that the postmaster is init's child and not ours: it outlives us, and
# nobody has to wait for it. A session of its own keeps the terminal's Ctrl-C away from it.
_LAUNCH = '"$@" </dev/null >&2 & echo $!'

# What the server says at FATAL, and what a person can do. Wordings of 14 to 18.
_HINTS: tuple[tuple[str, str], ...] = (
    (r"no space left on device|disk quota", "free some space there (df -h)"),
    (r"could not bind|address already in use|could not create any (TCP|Unix)",
     "another server has this port or socket: stop it, or configure another port"),
    (r"has wrong ownership|must be started by the user that owns",
     "the data directory belongs to another user: chown -R it, or start as its owner"),
    (r"invalid permissions", "chmod 700 the data directory"),
    (r"initialized by PostgreSQL version|database files are incompatible",
     "use the programs of the version in its PG_VERSION file: --bin-dir, or install that version"),
    (r"lock file .* already exists|is another postmaster",
     "another process has the pid in postmaster.pid; remove that file only if no server runs there"),
    (r"pre-existing shared memory|could not create shared memory|could not map anonymous",
     "processes of the former server are still alive, or shared_buffers is more than there is"),
    (r"unrecognized configuration parameter|configuration file .* contains errors|invalid value",
     "a setting is wrong: see the lines above it"),
    (r"could not access file .*: No such file", "a library in shared_preload_libraries is missing"),
    (r"could not locate a valid checkpoint|requested timeline|recovery",
     "the data directory is not a whole copy, or the WAL it needs is missing"),
)  # fmt: skip


class PortTaken(ClusterError):
    """Somebody took the port between our look and the server's bind."""


async def launch(binaries: Binaries, data_dir: Path, log_file: Path) -> int:
    """Start `postgres` on the data directory as its owner; its pid. Output goes to `log_file`."""
    owner = owner_of(data_dir)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    log = os.open(log_file, flags, 0o600)
    try:
        owner.take(log_file)
        shell = await asyncio.create_subprocess_exec(
            *owner.prefix(), "/bin/sh", "-c", _LAUNCH, "sh",
            str(binaries.program("postgres")), "-D", str(data_dir),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
            env=clean_environment(owner), cwd="/", start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(log)
    try:
        answer, _ = await shell.communicate()
    except asyncio.CancelledError:
        # The shell lives for a millisecond: hear it out, so that the postmaster is not lost.
        answer, _ = await shell.communicate()
        process.send([int(answer)] if answer.strip() else [], process.signal.SIGQUIT)
        raise
    if not answer.strip():
        raise ProgramFailed("postgres", shell.returncode or 1, tail(log_file))
    return int(answer)


async def wait_ready(pid: int, data_dir: Path, log_file: Path, since: int, timeout: float) -> None:
    """Wait until the postmaster accepts connections. `since`: where its part of the log begins.

    Raises what `why` says if it ends before; ClusterError if `timeout` seconds pass.
    """
    deadline = time.monotonic() + timeout
    while True:
        known = read_pid_file(data_dir)
        if known is not None and known.pid == pid and known.state in _ACCEPTING:
            return
        if not process.alive(pid):
            raise why(data_dir, log_file, since, known)
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the server on {data_dir} does not accept connections after {timeout:g} seconds;"
                f" the last lines of its log:\n{tail(log_file, since)}",
                hint="recovery may take longer: give more time, or look at the log",
            )
        await asyncio.sleep(process.POLL_SECONDS)


def why(data_dir: Path, log_file: Path, since: int, known: PidFile | None) -> ClusterError:
    """The error that explains, from its log, why a postmaster did not come up."""
    text = tail(log_file, since) or tail(newest_log(data_dir))
    hint = next((h for p, h in _HINTS if re.search(p, text, re.IGNORECASE)), f"see {log_file}")
    message = f"PostgreSQL did not start on {data_dir}; the last lines of its log:\n{text}"
    if hint is _HINTS[0][1]:
        return DiskFull(message, hint=hint)
    if hint is _HINTS[1][1]:
        return PortTaken(message, hint=hint)
    if known is not None and process.alive(known.pid) and "lock file" in text:
        return ClusterBusy(f"{message}\n(pid {known.pid}: {process.command(known.pid)})", hint=hint)
    return ClusterError(message, hint=hint)


def newest_log(data_dir: Path) -> Path | None:
    """The logging collector's newest file, where the server logs to the default directory."""
    files = [p for p in (data_dir / "log").glob("*") if p.is_file()]
    return max(files, key=lambda p: p.stat().st_mtime_ns, default=None)


def tail(log_file: Path | None, since: int = 0) -> str:
    """The last lines of a log, from byte `since` on."""
    if log_file is None or not log_file.exists():
        return ""
    with log_file.open("rb") as file:
        file.seek(since)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:])
