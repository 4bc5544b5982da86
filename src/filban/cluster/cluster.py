"""A cluster: one data directory and the server processes that work on it."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from filban.cluster import config, process, startup
from filban.cluster.binaries import Binaries, find_binaries
from filban.cluster.config import Setting
from filban.cluster.owner import Owner, owner_of, server_user
from filban.cluster.places import SOCKET_DIR_MAX, scratch_root
from filban.cluster.run import run_program
from filban.cluster.template import InitOptions, from_template, initdb
from filban.errors import ClusterBusy, ClusterError, UsageError

StopMode = Literal["smart", "fast", "immediate"]

START_SECONDS = 60.0  # as pg_ctl waits
STOP_SECONDS = 60.0
# Below the range from which Linux hands out ports to clients (32768 up), so that an outgoing
# connection cannot take ours between the look and the bind.
PORTS = range(20000, 32768)
PORT_TRIES = 20
_STOP_SIGNALS = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """What runs on a data directory. `state`: "stopped", or postmaster.pid's "starting", "ready",
    "standby", "stopping". pid, port and socket_dir are None when it is stopped."""

    running: bool
    state: str
    pid: int | None = None
    port: int | None = None
    socket_dir: Path | None = None


class Cluster:
    """One data directory, its programs and where it listens.

    `port` and `socket_dir` are those of the running server, or what the files in the data
    directory say; `log_file` is where the postmaster's standard error goes.
    """

    def __init__(
        self, data_dir: Path, binaries: Binaries, *, superuser: str = "postgres", tcp: bool = True
    ) -> None:
        self.data_dir = data_dir
        self.binaries = binaries
        self.superuser = superuser
        self.log_file = data_dir.with_name(f"{data_dir.name}.log")
        self._own_port = False
        self._tcp = tcp

    def __repr__(self) -> str:
        return f"Cluster({str(self.data_dir)!r}, PostgreSQL {self.binaries.version_text})"

    @classmethod
    async def create(
        cls,
        data_dir: Path | str,
        *,
        binaries: Binaries | None = None,
        settings: Mapping[str, Setting] | None = None,
        hba: Sequence[str] = (),
        checksums: bool = True,
        superuser: str = "postgres",
        locale: str | None = None,
        encoding: str = "UTF8",
        template_cache: bool = True,
        tcp: bool = True,
    ) -> Cluster:
        """initdb a new cluster (from the cached template unless told otherwise), not started.

        It listens on a free port of 127.0.0.1 (with `tcp`) and on a Unix socket in
        `DATA_DIR.socket`; roles on this machine are trusted after the lines of `hba`.
        Raises ClusterBusy if the directory is not empty, BinariesNotFound, ProgramFailed, DiskFull.
        """
        programs = binaries or find_binaries()
        path = Path(data_dir).absolute()
        made = _claim(path, server_user())
        options = InitOptions(checksums, superuser, locale, encoding)
        try:
            await (from_template if template_cache else initdb)(programs, path, options)
            config.write_file(path / "pg_hba.conf", config.hba_text(hba))
            cluster = cls(path, programs, superuser=superuser, tcp=tcp)
            cluster.own_address()
            cluster.configure(settings or {})
        except BaseException:
            _empty(path, remove=made)
            raise
        return cluster

    @classmethod
    def open(cls, data_dir: Path | str, *, binaries: Binaries | None = None) -> Cluster:
        """An existing data directory; its PG_VERSION chooses the programs.

        Raises ClusterError where there is no cluster, BinariesNotFound for a version we lack.
        """
        path = Path(data_dir).absolute()
        try:
            version = (path / "PG_VERSION").read_text().strip()
        except PermissionError as error:
            raise config.not_ours(path) from error
        except OSError as error:
            raise ClusterError(
                f"{path} is not a PostgreSQL data directory: it has no PG_VERSION",
                hint="give the directory that initdb made (SHOW data_directory)",
            ) from error
        programs = binaries or find_binaries(int(version.split(".")[0]))
        tcp = config.read_setting(path, "listen_addresses") != ""
        return cls(path, programs, superuser="postgres", tcp=tcp)

    # Where it listens

    @property
    def port(self) -> int:
        return self.status().port or int(config.read_setting(self.data_dir, "port") or 5432)

    @property
    def socket_dir(self) -> Path:
        known = self.status().socket_dir
        if known is not None:
            return known
        value = config.read_setting(self.data_dir, "unix_socket_directories")
        return Path((value or "/var/run/postgresql").split(",")[0].strip())

    def dsn(
        self, database: str = "postgres", user: str | None = None, host: str | None = None
    ) -> str:
        """A URI over TCP on this machine; over the Unix socket for a cluster without TCP."""
        if not self._tcp and host is None:
            return self.dsn_socket(database, user)
        who, where = quote(user or self.superuser, safe=""), host or "127.0.0.1"
        return f"postgresql://{who}@{where}:{self.port}/{quote(database, safe='')}"

    def dsn_socket(self, database: str = "postgres", user: str | None = None) -> str:
        """A URI over the Unix socket."""
        who = quote(user or self.superuser, safe="")
        directory = quote(str(self.socket_dir), safe="")
        return f"postgresql://{who}@/{quote(database, safe='')}?host={directory}&port={self.port}"

    def own_address(self) -> None:
        """Give it a free port of 127.0.0.1 and a socket directory of its own, from the next start:
        what a copy of a running cluster needs first."""
        directory = _socket_dir(self.data_dir)
        self.configure(
            {
                "port": free_port(),
                "listen_addresses": "127.0.0.1" if self._tcp else "",
                "unix_socket_directories": str(directory),
            }
        )
        self._own_port = True

    # Start and stop

    def status(self) -> ClusterStatus:
        """What postmaster.pid says, held against the process of that pid."""
        known = config.read_pid_file(self.data_dir)
        if known is None or not _is_postmaster(known.pid, self.data_dir):
            return ClusterStatus(False, "stopped")
        where = Path(known.socket_dir) if known.socket_dir else None
        return ClusterStatus(True, known.state or "starting", known.pid, known.port, where)

    async def start(self, wait: bool = True, timeout: float = START_SECONDS) -> None:
        """Start it, if it does not run yet, and wait until it accepts connections.

        A port that we chose ourselves and somebody took since is replaced by another.
        Raises ClusterError (DiskFull, ClusterBusy …) with the last lines of its log and a hint.
        """
        for attempt in range(PORT_TRIES):
            if self.status().running:
                return
            try:
                await self._start_once(wait, timeout)
            except startup.PortTaken:
                if not self._own_port or attempt == PORT_TRIES - 1:
                    raise
                self.configure({"port": free_port()})
            else:
                return

    async def _start_once(self, wait: bool, timeout: float) -> None:
        self._remove_stale_pid_file()
        since = self.log_file.stat().st_size if self.log_file.exists() else 0
        pid = await startup.launch(self.binaries, self.data_dir, self.log_file)
        if not wait:
            return
        try:
            await startup.wait_ready(pid, self.data_dir, self.log_file, since, timeout)
        except BaseException:
            process.send([pid], signal.SIGQUIT)
            if not await process.gone([pid], STOP_SECONDS):
                process.send([pid, *process.children(pid)], signal.SIGKILL)
            raise

    def _remove_stale_pid_file(self) -> None:
        """A postmaster.pid whose pid another program has by now keeps PostgreSQL from starting.

        It is removed only with proof: no process at all works in this data directory.
        """
        known = config.read_pid_file(self.data_dir)
        if known is None or not process.alive(known.pid) or process.working_in(self.data_dir):
            return  # PostgreSQL itself knows what to do when the pid is free
        if process.working_directory(known.pid) is not None:
            (self.data_dir / "postmaster.pid").unlink(missing_ok=True)

    async def stop(self, mode: StopMode = "fast", timeout: float = STOP_SECONDS) -> None:
        """Stop it, if it runs, and wait for its end. Raises ClusterError after `timeout` seconds:
        a smart stop waits for its clients."""
        pid = self.status().pid
        if pid is None:
            return
        self._signal([pid], _STOP_SIGNALS[mode])
        if not await process.gone([pid], timeout):
            raise ClusterError(
                f"the server on {self.data_dir} (pid {pid}) has not stopped after {timeout:g} seconds",
                hint="a smart stop waits for its clients: stop with mode fast, or immediate",
            )

    async def restart(self, mode: StopMode = "fast") -> None:
        await self.stop(mode)
        await self.start()

    def reload(self) -> None:
        """Have it read its configuration again (it does so a moment later)."""
        self._signal([self._pid()], signal.SIGHUP)

    def configure(self, settings: Mapping[str, Setting]) -> None:
        """Set (None: remove) settings, from the next `reload` or `restart` on."""
        if settings:
            config.write_settings(self.data_dir, settings)

    # What tests and drills do to a server

    def processes(self) -> list[int]:
        """The postmaster and its children; what is left of them when the postmaster is dead."""
        pid = self.status().pid
        return [pid, *process.children(pid)] if pid else process.working_in(self.data_dir)

    async def kill(self) -> None:
        """SIGKILL all its processes, as a machine that loses its power would."""
        pids = self.processes()
        self._signal(pids, signal.SIGKILL)
        late = [p for p in process.working_in(self.data_dir) if p not in pids]
        self._signal(late, signal.SIGKILL)  # forked in between
        await process.gone([*pids, *late], STOP_SECONDS)

    def pause(self) -> None:
        """SIGSTOP all its processes: it hangs, its sockets stay open."""
        pids = self.processes()
        self._signal(pids, signal.SIGSTOP)  # the postmaster first: no new children after that
        self._signal([p for p in self.processes() if p not in pids], signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT all its processes."""
        self._signal(reversed(self.processes()), signal.SIGCONT)

    async def standby(
        self,
        data_dir: Path | str | None = None,
        *,
        name: str | None = None,
        slot: str | None = None,
        settings: Mapping[str, Setting] | None = None,
    ) -> Cluster:
        """A streaming standby of this running cluster, on this machine, started.

        `name` is its application_name (default: the directory's), `slot` a physical slot that is
        created on the primary. The directory is a sibling of ours unless given.
        """
        path = Path(data_dir).absolute() if data_dir else _free_sibling(self.data_dir)
        made = _claim(path, owner_of(self.data_dir))
        called = name or path.name
        slot_arguments = ("-C", "-S", slot) if slot else ()
        source = f"{self.dsn()}{'&' if '?' in self.dsn() else '?'}application_name={quote(called, safe='')}"
        try:
            await run_program(
                self.binaries.program("pg_basebackup"), "-D", path, "-d", source, "-R",
                "-X", "stream", "-c", "fast", "--no-sync", *slot_arguments, as_owner_of=path,
            )  # fmt: skip
            standby = Cluster(path, self.binaries, superuser=self.superuser, tcp=self._tcp)
            standby.own_address()
            standby.configure(settings or {})
            await standby.start()
        except BaseException:
            _empty(path, remove=made)
            raise
        return standby

    def _pid(self) -> int:
        pid = self.status().pid
        if pid is None:
            raise ClusterError(f"no server runs on {self.data_dir}", hint="start it first")
        return pid

    def _signal(self, pids: Sequence[int] | reversed[int], number: signal.Signals) -> None:
        try:
            process.send(pids, number)
        except PermissionError as error:
            raise config.not_ours(self.data_dir) from error


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at this moment."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            # As PostgreSQL binds: a port that is only in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise ClusterError("no free port on 127.0.0.1", hint="stop some servers")


def _is_postmaster(pid: int, data_dir: Path) -> bool:
    """A postmaster's working directory is its data directory; where we may not look (another
    user's process), a living process with that pid has to do."""
    if not process.alive(pid):
        return False
    directory = process.working_directory(pid)
    return directory is None or directory == data_dir.resolve()


def _claim(path: Path, owner: Owner) -> bool:
    """Make `path` an empty directory of `owner`; whether it had to be made."""
    if path.exists() and any(path.iterdir()):
        raise ClusterBusy(f"{path} is not empty", hint="use another directory, or empty it")
    made = not path.exists()
    for parent in [p for p in reversed(path.parents) if not p.exists()]:
        parent.mkdir()
        owner.take(parent)
    if made:
        path.mkdir(mode=0o700)
    owner.take(path)
    path.chmod(0o700)
    if not owner.reaches(path):
        raise ClusterError(
            f"the user {owner.name}, who the server runs as, does not get to {path}",
            hint=f"use a directory that {owner.name} can reach, such as one under /var or /tmp",
        )
    return made


def _empty(path: Path, *, remove: bool) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if remove:
        path.rmdir()


def _socket_dir(data_dir: Path) -> Path:
    """DATA_DIR.socket, or a directory with a shorter name where that is too long for a socket."""
    owner = owner_of(data_dir)
    path = data_dir.with_name(f"{data_dir.name}.socket")
    if len(str(path).encode()) > SOCKET_DIR_MAX or re.search(r"[,\s]", str(path)):
        path = scratch_root(owner) / f"filban-socket-{random.getrandbits(48):012x}"
    path.mkdir(mode=0o755, exist_ok=True)
    owner.take(path)
    return path


def _free_sibling(data_dir: Path) -> Path:
    names = (f"{data_dir.name}-standby{n}" for n in range(1, 1000))
    return next(p for n in names if not (p := data_dir.with_name(n)).exists())
