"""Start a postmaster that survives us, and say in a sentence why one did not start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from pathlib import Path

from filban.cluster import process
from filban.cluster.binaries import Binaries
from filban.cluster.config import PidFile, read_pid_file
from filban.cluster.owner import owner_of
from filban.cluster.places import file_errors
from filban.cluster.run import clean_environment
from filban.errors import ClusterBusy, ClusterError, DiskFull, ProgramFailed

LOG_TAIL_LINES = 15
_ACCEPTING = ("ready", "standby")
# The shell ends at once, so that the postmaster is init's child and not ours: it outlives us, and
# nobody has to wait for it. A session of its own keeps the terminal's Ctrl-C away from it.
_LAUNCH = '"$@" </dev/null >&2 & echo $!'
_QUIT_SECONDS = 10.0
# Idle backends notice at once that their postmaster is dead, busy ones when they next look.
ORPHAN_SECONDS = 5.0
# A server writes at least one WAL segment of the default size when it starts.
_ROOM_TO_START = 16 * 1024 * 1024


class PortTaken(ClusterBusy):
    """Somebody took the port between our look and the server's bind."""


# What the server says at FATAL (wordings of 14 to 18), which error that is, and what to do.
_REASONS: tuple[tuple[str, type[ClusterError], str], ...] = (
    (
        r"no space left on device|disk quota exceeded",
        DiskFull,
        "free some space there (df -h, df -i)",
    ),
    (
        r"could not bind|could not create any (TCP/IP|Unix-domain) sockets|address already in use",
        PortTaken,
        "another server has this port or socket: stop it, or configure another port",
    ),
    (
        r"has wrong ownership|must be started by the user that owns",
        ClusterError,
        "the data directory belongs to another user: chown -R it, or start as its owner",
    ),
    (
        r"data directory .* has invalid permissions",
        ClusterError,
        "chmod 700 the data directory",
    ),
    (
        r"initialized by PostgreSQL version|incompatible with server",
        ClusterError,
        "use the programs of the version in its PG_VERSION file: --bin-dir, or install that one",
    ),
    (
        r"lock file .*postmaster.pid.* already exists",
        ClusterBusy,
        "if that process is no server on this directory, remove its postmaster.pid",
    ),
    (
        r"pre-existing shared memory block",
        ClusterBusy,
        "processes of its former server are still alive: end them, then start again",
    ),
    (
        r"could not (create|map|resize) (anonymous )?shared memory|could not create semaphores",
        ClusterError,
        "the machine gives less shared memory than asked for: lower shared_buffers, "
        "max_connections or huge_pages",
    ),
    (
        r"could not access file .*: No such file|could not load library",
        ClusterError,
        "a library in shared_preload_libraries is not installed for this version",
    ),
    (
        r"could not access the server configuration file",
        ClusterError,
        "Debian keeps it under /etc/postgresql: start such a cluster with pg_ctlcluster",
    ),
    (
        r"unrecognized configuration parameter|configuration file .* contains errors|"
        r"invalid value for parameter|is outside the valid range",
        ClusterError,
        "correct the setting named above (postgresql.auto.conf overrides postgresql.conf)",
    ),
    (
        r"could not locate (a valid|required) checkpoint|invalid checkpoint record|"
        r"requested timeline|required WAL|must be ended",
        ClusterError,
        "the data directory is not a whole copy, or the WAL that it needs is missing",
    ),
)


def same_version(binaries: Binaries, data_dir: Path) -> None:
    """Raises ClusterError when the files are another major's: the server itself may stumble over a
    setting first, and say that."""
    made_by = (data_dir / "PG_VERSION").read_text().strip()
    if made_by != str(binaries.major):
        raise ClusterError(
            f"the data directory {data_dir} is PostgreSQL {made_by}'s, incompatible with the "
            f"programs of {binaries.major}",
            hint="use the programs of the version in its PG_VERSION file: --bin-dir, or install "
            "that one",
        )


async def clear_the_way(data_dir: Path) -> None:
    """Remove the lock files of a dead server that would keep PostgreSQL from starting.

    It takes a postmaster for alive while its pid is: of a zombie that nobody reaps (containers
    without init), or of another program that got the pid since. We remove the files only with the
    proof that PostgreSQL itself relies on: nobody uses the dead server's shared memory.
    Raises ClusterBusy while backends of the dead server live.
    """
    known = read_pid_file(data_dir)
    if known is None or process.is_postmaster(known.pid, data_dir):
        return
    if known.shared_memory_id is not None:
        await _without_users(data_dir, known.shared_memory_id)
    if process.exists(known.pid) and not process.looks_like_server(known.pid):
        (data_dir / "postmaster.pid").unlink(missing_ok=True)
    if known.socket_dir is not None and known.port is not None:
        lock = Path(known.socket_dir) / f".s.PGSQL.{known.port}.lock"
        if _second_line(lock) == known.data_dir:  # as in postmaster.pid: whose it is
            lock.unlink(missing_ok=True)


async def _without_users(data_dir: Path, segment: int) -> None:
    """Wait until backends have noticed that their postmaster is dead, which ends them."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while process.shared_memory_users(segment):
        if time.monotonic() > deadline:
            pids = " ".join(str(p) for p in process.working_in(data_dir))
            raise ClusterBusy(
                f"processes of the former server on {data_dir} still run, without a postmaster:"
                f" {pids or 'their pids cannot be seen'}",
                hint=f"end them first: kill -9 {pids}" if pids else "end them first, as root",
            )
        await asyncio.sleep(process.POLL_SECONDS)


def _second_line(path: Path) -> str | None:
    try:
        return path.read_text().splitlines()[1]
    except (OSError, IndexError):
        return None


async def launch(binaries: Binaries, data_dir: Path, log_file: Path) -> int:
    """Start `postgres` on the data directory as its owner; its pid. Output goes to `log_file`.

    A caller that is cancelled in between leaves no postmaster that it does not know of.
    """
    task = asyncio.ensure_future(_launch(binaries, data_dir, log_file))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():  # a matter of milliseconds, and worth more than haste
            await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            await end([task.result()])
        raise


async def _launch(binaries: Binaries, data_dir: Path, log_file: Path) -> int:
    owner = owner_of(data_dir)
    with file_errors(f"the log {log_file} cannot be opened"):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        log = os.open(log_file, flags, 0o600)
    # A pipe of our own: what uvloop makes is inherited by the postmaster, so it would never end.
    answer, given = os.pipe()
    os.set_blocking(answer, False)
    try:
        owner.take(log_file)
        shell = await asyncio.create_subprocess_exec(
            *owner.prefix(), "/bin/sh", "-c", _LAUNCH, "sh",
            str(binaries.program("postgres")), "-D", str(data_dir),
            stdin=asyncio.subprocess.DEVNULL, stdout=given, stderr=log,
            env=clean_environment(owner), cwd="/", start_new_session=True,
        )  # fmt: skip
        status = await shell.wait()
        with contextlib.suppress(BlockingIOError):  # it said nothing
            return int(os.read(answer, 32))
    finally:
        for descriptor in (log, answer, given):
            os.close(descriptor)
    raise ProgramFailed("postgres", status or 1, tail(log_file))


async def wait_ready(pid: int, data_dir: Path, log_file: Path, since: int, timeout: float) -> None:
    """Wait until the postmaster accepts connections. `since`: where its part of the log begins.

    Raises the error that explains it if it ends before; ClusterError after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        known = read_pid_file(data_dir)
        if known is not None and known.pid == pid and known.state in _ACCEPTING:
            return
        if not process.alive(pid):
            raise explanation(data_dir, log_file, since, known)
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the server on {data_dir} does not accept connections after {timeout:g} seconds;"
                f" the last lines of its log:\n{tail(log_file, since)}",
                hint="recovery may take longer: give more time, or look at the log",
            )
        await asyncio.sleep(process.POLL_SECONDS)


async def end(pids: list[int]) -> None:
    """End postmasters at once and wait for them and all that they have started; with force if they
    do not obey."""
    homes = {home for pid in pids if (home := process.working_directory(pid)) is not None}
    everyone = {p for pid in pids for p in (pid, *process.descendants(pid))}
    process.send(everyone, signal.SIGCONT)  # paused ones could not
    process.send(pids, signal.SIGQUIT)
    if not await process.gone(pids, _QUIT_SECONDS):
        process.send(everyone, signal.SIGKILL)
    # Children of the last moment end after their postmaster; a person's shell is none of them.
    everyone |= {p for h in homes for p in process.working_in(h) if process.looks_like_server(p)}
    if not await process.gone(everyone, _QUIT_SECONDS):
        process.send(everyone, signal.SIGKILL)
        await process.gone(everyone, _QUIT_SECONDS)


def explanation(
    data_dir: Path, log_file: Path, since: int, known: PidFile | None = None
) -> ClusterError:
    """The error that says, from its log, why a postmaster did not come up."""
    text = tail(log_file, since)
    collected = _newest_collected(data_dir)
    if "redirecting log output" in text and collected is not None:
        text = tail(collected)
    if not text and (free := _free_bytes(data_dir)) < _ROOM_TO_START:
        return DiskFull(
            f"PostgreSQL did not start on {data_dir} and could not even write its log:"
            f" {free} bytes are free there",
            hint=_REASONS[0][2],
        )
    message = f"PostgreSQL did not start on {data_dir}; the last lines of its log:\n{text}"
    for pattern, kind, hint in _REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            if known is not None and process.alive(known.pid):
                message += f"\npid {known.pid} is: {' '.join(process.arguments(known.pid))}"
            return kind(message, hint=hint)
    return ClusterError(message, hint=f"the whole log: {collected or log_file}")


def _free_bytes(path: Path) -> int:
    info = os.statvfs(path)
    return info.f_bavail * info.f_frsize


def _newest_collected(data_dir: Path) -> Path | None:
    """The logging collector's newest file, where it logs to the default directory."""
    files = [p for p in (data_dir / "log").glob("*") if p.is_file()]
    return max(files, key=lambda p: p.stat().st_mtime_ns, default=None)


def tail(log_file: Path, since: int = 0) -> str:
    """The last lines of a log, from byte `since` on; "" where there is none."""
    try:
        with log_file.open("rb") as file:
            file.seek(since)
            lines = file.read().decode(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-LOG_TAIL_LINES:])
