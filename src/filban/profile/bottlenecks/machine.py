"""The server's machine, when it is this one: processors and pressure out of /proc."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
_STARTED_FIELD = 19  # of /proc/PID/stat after the name in parentheses: starttime, in clock ticks
_SAME_START_SECONDS = 2.0  # backend_start is taken a moment after the fork


@dataclass(frozen=True, slots=True)
class Machine:
    """Over an interval. Shares are 0..1 of all processors; averages are numbers of processes.

    cores: those of the machine, or what its control group may use. executing, queueing: client
    sessions on a processor, and in the queue for one. io_pressure: share of the time in which
    some process waited for a disk (/proc/pressure/io), None where the kernel does not tell.
    """

    cores: float
    busy: float
    iowait: float
    stolen: float
    executing: float
    queueing: float
    io_pressure: float | None


def is_here(pid: int, started: float) -> bool:
    """Whether the process `pid` of this machine is the server's: both began at the same time.

    A tunnel or a published port looks like this machine as well, but its pids are another's.
    started: Unix seconds.
    """
    try:
        text = (PROC / str(pid) / "stat").read_text()
        boot = next(
            float(line.split()[1])
            for line in (PROC / "stat").read_text().splitlines()
            if line.startswith("btime")
        )
        ticks = float(text.rsplit(")", 1)[1].split()[_STARTED_FIELD])
    except (OSError, StopIteration, IndexError, ValueError):
        return False
    return abs(boot + ticks / os.sysconf("SC_CLK_TCK") - started) < _SAME_START_SECONDS


@dataclass(slots=True)
class Watch:
    """Reads at the beginning, with each sample, and at the end."""

    pid: int
    _first: dict[str, float] = field(default_factory=dict)
    _io: float | None = None
    _ran: dict[int, tuple[float, float]] = field(default_factory=dict)
    _spent: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def begin(self) -> None:
        self._first, self._io = _ticks(), _pressure("io")

    def sample(self, pids: set[int]) -> None:
        """Add what these processes have run and queued since the last look at them."""
        seen = {pid: now for pid in pids if (now := _schedstat(pid)) is not None}
        for pid, now in seen.items():
            before = self._ran.get(pid)
            if before is not None:
                self._spent = [s + b - a for s, a, b in zip(self._spent, before, now, strict=True)]
        self._ran.update(seen)

    def end(self, seconds: float) -> Machine:
        last, pressure = _ticks(), _pressure("io")
        spent = {k: last[k] - self._first.get(k, 0.0) for k in last}
        whole = sum(spent.values()) or 1.0
        waited = None if pressure is None or self._io is None else pressure - self._io
        return Machine(
            cores=_cores(self.pid),
            busy=1 - (spent["idle"] + spent["iowait"]) / whole,
            iowait=spent["iowait"] / whole,
            stolen=spent["steal"] / whole,
            executing=self._spent[0] / seconds,
            queueing=self._spent[1] / seconds,
            io_pressure=None if waited is None else min(waited / seconds, 1.0),
        )


def _ticks() -> dict[str, float]:
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    values = (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    return dict(zip(names, map(float, values), strict=False))


def _pressure(what: str) -> float | None:
    """Seconds in which some process waited for `what`, since boot."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        line = (PROC / "pressure" / what).read_text().split("\n", 1)[0]
        return float(line.rsplit("total=", 1)[1]) / 1e6
    return None


def _schedstat(pid: int) -> tuple[float, float] | None:
    """Seconds on a processor and in the queue for one."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        ran, queued, _ = (PROC / str(pid) / "schedstat").read_text().split()
        return float(ran) / 1e9, float(queued) / 1e9
    return None


def _cores(pid: int) -> float:
    """Processors that the server's process may use: its affinity, and its control group's quota."""
    try:
        cores = float(len(os.sched_getaffinity(pid)))
        group = (PROC / str(pid) / "cgroup").read_text().rsplit("::", 1)[1].strip()
    except (OSError, IndexError):
        return float(os.cpu_count() or 1)
    folder = CGROUPS / group.lstrip("/")
    for parent in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (parent / "cpu.max").read_text().split()
            if quota != "max":
                cores = min(cores, float(quota) / float(period))
        if parent == CGROUPS:
            break
    return cores
