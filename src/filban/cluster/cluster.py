"""A cluster: one data directory and the server processes that work on it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from filban.cluster import abandoned, config, copying, process, startup
from filban.cluster.binaries import Binaries, find_binaries
from filban.cluster.config import Setting
from filban.cluster.directory import beside, claimed, free_port, free_sibling, socket_dir
from filban.cluster.owner import owner_of, server_user
from filban.cluster.run import LineHook, run_program
from filban.cluster.template import InitOptions, from_template, initdb
from filban.errors import ClusterBusy, ClusterError

StopMode = Literal["smart", "fast", "immediate"]

START_SECONDS = 60.0  # as pg_ctl waits
STOP_SECONDS = 60.0
PORT_TRIES = 20
_STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_DEFAULT_PORT = 5432
_DEFAULT_SOCKET_DIR = "/var/run/postgresql"  # Debian's; where nothing says otherwise


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

    Coroutines: create, start, stop, restart, reload, kill, standby, remove. Plain: open, status,
    configure, own_address, pause, resume, processes, dsn, dsn_socket, port, socket_dir.
    `log_file` is where the postmaster's standard error goes.
    """

    def __init__(
        self, data_dir: Path, binaries: Binaries, *, superuser: str = "postgres", tcp: bool = True
    ) -> None:
        self.data_dir = data_dir
        self.binaries = binaries
        self.superuser = superuser
        self.log_file = beside(data_dir, "log")
        self._tcp = tcp
        self._port_is_ours = False  # chosen by us, and so ours to change

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
        durable: bool = True,
    ) -> Cluster:
        """initdb a new cluster (from the cached template unless told otherwise), not started.

        It listens on a free port of 127.0.0.1 (with `tcp`) and on a Unix socket; after the lines
        of `hba`, every role of this machine is trusted. `locale` None is C.UTF-8. Without `durable`
        nothing waits for the disk. What killed programs have left is removed first (`leftovers`).
        Raises ClusterBusy if the directory is not empty, BinariesNotFound, ProgramFailed, DiskFull.
        """
        await abandoned.clean_leftovers()
        programs = binaries or find_binaries()
        path = _absolute(data_dir)
        options = InitOptions(checksums, superuser, locale, encoding)
        with claimed(path, server_user()):
            await (from_template if template_cache else initdb)(programs, path, options)
            config.write_file(path / "pg_hba.conf", config.hba_text(hba))
            cluster = cls(path, programs, superuser=superuser, tcp=tcp)
            cluster.own_address()
            cluster.configure(settings or {})
            if durable:
                await run_program(
                    programs.program("initdb"), "--sync-only", "-D", path, as_owner_of=path
                )
        return cluster

    @classmethod
    def open(
        cls, data_dir: Path | str, *, binaries: Binaries | None = None, superuser: str = "postgres"
    ) -> Cluster:
        """An existing data directory; its PG_VERSION chooses the programs.

        Raises ClusterError where there is no cluster, BinariesNotFound for a version we lack.
        """
        path = _absolute(data_dir)
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
        return cls(path, programs, superuser=superuser, tcp=tcp)

    # Where it listens

    @property
    def port(self) -> int:
        """The running server's, else what the files in the data directory say."""
        return self.status().port or int(
            config.read_setting(self.data_dir, "port") or _DEFAULT_PORT
        )

    @property
    def socket_dir(self) -> Path:
        """The running server's (the first one), else what the files in the data directory say."""
        known = self.status().socket_dir
        if known is not None:
            return known
        value = config.read_setting(self.data_dir, "unix_socket_directories")
        return Path((value or _DEFAULT_SOCKET_DIR).split(",")[0].strip())

    def dsn(
        self, database: str = "postgres", user: str | None = None, host: str | None = None
    ) -> str:
        """A URI over TCP on this machine; over the Unix socket for a cluster without TCP."""
        if not self._tcp and host is None:
            return self.dsn_socket(database, user)
        who, where = quote(user or self.superuser, safe=""), host or "127.0.0.1"
        where = f"[{where}]" if ":" in where else where
        return f"postgresql://{who}@{where}:{self.port}/{quote(database, safe='')}"

    def dsn_socket(self, database: str = "postgres", user: str | None = None) -> str:
        """A URI over the Unix socket."""
        who = quote(user or self.superuser, safe="")
        where = f"host={quote(str(self.socket_dir), safe='')}&port={self.port}"
        return f"postgresql://{who}@/{quote(database, safe='')}?{where}"

    def own_address(self) -> None:
        """Give it a free port of 127.0.0.1 and a socket directory of its own, from the next start:
        what a copy of another cluster needs first."""
        self.configure(
            {
                "port": free_port(),
                "listen_addresses": "127.0.0.1" if self._tcp else "",
                "unix_socket_directories": str(socket_dir(self.data_dir)),
            }
        )
        self._port_is_ours = True

    def configure(self, settings: Mapping[str, Setting]) -> None:
        """Set (None: remove) settings in postgresql.auto.conf, from the next `reload` or `restart`
        on. Raises UsageError for what cannot be a setting."""
        if settings:
            config.write_settings(self.data_dir, settings)
        if "port" in settings:
            self._port_is_ours = False

    # Start and stop

    def status(self) -> ClusterStatus:
        """What postmaster.pid says, held against the process of that pid."""
        known = config.read_pid_file(self.data_dir)
        if known is None or not _serves(known.pid, self.data_dir):
            return ClusterStatus(False, "stopped")
        where = Path(known.socket_dir) if known.socket_dir else None
        return ClusterStatus(True, known.state or "starting", known.pid, known.port, where)

    async def start(self, wait: bool = True, timeout: float = START_SECONDS) -> None:
        """Start it, if it does not run yet, and wait until it accepts connections; one that is
        stopping is waited for and started again.

        A port that we chose ourselves and somebody took since is replaced by another one.
        Raises ClusterError (DiskFull, ClusterBusy …) with the last lines of its log and a hint; the
        postmaster is gone then, as when the caller is cancelled.
        """
        if (now := self.status()).state == "stopping":
            await self._wait_stopped(now.pid, timeout)
        elif now.pid is not None:
            if wait:
                await startup.wait_ready(now.pid, self.data_dir, self.log_file, 0, timeout)
            return
        await self._start_on_some_port(wait, timeout)

    async def _start_on_some_port(
        self, wait: bool, timeout: float, tries: int = PORT_TRIES
    ) -> None:
        try:
            await self._start_once(wait, timeout)
        except startup.PortTaken:
            if not self._port_is_ours or tries == 0:
                raise
            self.configure({"port": free_port()})
            self._port_is_ours = True
            await self._start_on_some_port(wait, timeout, tries - 1)

    async def _start_once(self, wait: bool, timeout: float) -> None:
        startup.same_version(self.binaries, self.data_dir)
        await startup.clear_the_way(self.data_dir)
        since = self.log_file.stat().st_size if self.log_file.exists() else 0
        pid = await startup.launch(self.binaries, self.data_dir, self.log_file)
        if not wait:
            return
        try:
            await startup.wait_ready(pid, self.data_dir, self.log_file, since, timeout)
        except BaseException:
            await startup.end([pid])
            raise

    async def stop(self, mode: StopMode = "fast", timeout: float = STOP_SECONDS) -> None:
        """Stop it, if it runs, and wait for its end. Raises ClusterBusy after `timeout` seconds:
        a smart stop waits for its clients."""
        pid = self.status().pid
        if pid is None:
            return
        self._signal([pid], _STOP_SIGNALS[mode])
        await self._wait_stopped(pid, timeout)

    async def _wait_stopped(self, pid: int | None, timeout: float) -> None:
        if pid is not None and not await process.gone([pid], timeout):
            raise ClusterBusy(
                f"the server on {self.data_dir} (pid {pid}) still runs after {timeout:g} seconds",
                hint="a smart stop waits for its clients: stop with mode fast, or immediate",
            )

    async def restart(self, mode: StopMode = "fast") -> None:
        await self.stop(mode)
        await self.start()

    async def reload(self) -> None:
        """Have it read its configuration again. New connections see it at once, others in a moment.
        Raises ClusterError if it does not run."""
        self._signal([self._running_pid()], signal.SIGHUP)

    def _running_pid(self) -> int:
        pid = self.status().pid
        if pid is None:
            raise ClusterError(f"no server runs on {self.data_dir}", hint="start it first")
        return pid

    async def remove(self) -> None:
        """Stop it at once and remove its data directory, its log and its socket directory."""
        sockets = self.socket_dir
        pid = self.status().pid
        if pid is not None:
            await startup.end([pid])
        await asyncio.to_thread(shutil.rmtree, self.data_dir)
        self.log_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # shared with other servers, or the system's
            sockets.rmdir()

    # What drills and tests do to a server

    def processes(self) -> list[int]:
        """The postmaster and its children; what is left of them when the postmaster is dead."""
        pid = self.status().pid
        return [pid, *process.children(pid)] if pid else process.working_in(self.data_dir)

    async def kill(self) -> None:
        """SIGKILL all its processes, as a machine that loses its power would."""
        pids = self.processes()
        self._signal(pids[:1], signal.SIGSTOP)  # no new children from here on
        pids += [p for p in self.processes() if p not in pids]
        self._signal(pids, signal.SIGKILL)
        await process.gone(pids, STOP_SECONDS)

    def pause(self) -> None:
        """SIGSTOP all its processes: it hangs, and its sockets stay open."""
        pids = self.processes()
        self._signal(pids, signal.SIGSTOP)  # the postmaster first: no new children after that
        self._signal([p for p in self.processes() if p not in pids], signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT all its processes."""
        self._signal(self.processes(), signal.SIGCONT)

    async def standby(
        self,
        data_dir: Path | str | None = None,
        *,
        name: str | None = None,
        slot: str | None = None,
        settings: Mapping[str, Setting] | None = None,
        on_line: LineHook | None = None,
    ) -> Cluster:
        """A streaming standby of this running cluster, on this machine, started.

        `name` is its application_name (default: its directory's name), `slot` a physical slot that
        is created on the primary. The directory is a sibling of ours unless given.
        Raises ClusterError if we do not run, ProgramFailed, DiskFull and what `start` raises;
        nothing but the log of the failed start is left then.
        """
        self._running_pid()
        path = _absolute(data_dir) if data_dir else free_sibling(self.data_dir)
        source = self.dsn()
        source += f"{'&' if '?' in source else '?'}application_name={quote(name or path.name)}"
        with claimed(path, owner_of(self.data_dir)):
            async with copying.slot_unless_it_fails(self.dsn(), slot):
                await copying.base_backup(self.binaries, source, path, slot, on_line)
                copy = Cluster(path, self.binaries, superuser=self.superuser, tcp=self._tcp)
                copy.own_address()
                copy.configure(settings or {})
                await copy.start()
        return copy

    def _signal(self, pids: Iterable[int], number: signal.Signals) -> None:
        try:
            process.send(pids, number)
        except PermissionError as error:
            raise config.not_ours(self.data_dir) from error


def _absolute(path: Path | str) -> Path:
    return Path(path).expanduser().absolute()


def _serves(pid: int, data_dir: Path) -> bool:
    """As `is_postmaster`; but where we may not look and its arguments do not tell, a process of
    that pid that looks like a server counts: better a server too many than a second start."""
    if process.is_postmaster(pid, data_dir):
        return True
    return process.working_directory(pid) is None and process.looks_like_server(pid)
