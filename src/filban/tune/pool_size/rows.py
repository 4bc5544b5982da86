"""What is known about connections: of the server, of its clients, and of a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Slots:
    """The tightest limit on connections for this role (`scope`), and max_connections itself."""

    scope: str
    allowed: int
    used: int
    max_connections: int
    reserved: int

    @property
    def free(self) -> int:
        return max(0, self.allowed - self.used)


@dataclass(frozen=True, slots=True)
class ServiceUse:
    """Client sessions that look like one service."""

    application: str
    username: str
    client: str
    database: str
    connections: int
    active: int
    idle: int
    idle_in_transaction: int
    hidden: int

    @property
    def name(self) -> str:
        return self.application or self.username


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table that can be read by its key."""

    name: str
    lookup_sql: str
    keys_sql: str
    rows_estimated: float


QUERIES: Mapping[str, type] = {"slots": Slots, "services": ServiceUse, "lookups": Lookup}


@dataclass(frozen=True, slots=True)
class Seen:
    """A histogram: bounds in seconds (the last: infinity), counts between them, sum in seconds."""

    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    sum: float = 0.0

    @property
    def count(self) -> float:
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """The upper bound of the bucket that holds it, in seconds; None without observations."""
        wanted, seen = q * self.count, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return bound
        return None

    def since(self, before: Seen) -> Seen:
        """What has come since; all of it when the counters began anew."""
        if len(before.counts) != len(self.counts) or self.count < before.count:
            return self
        counts = tuple(a - b for a, b in zip(self.counts, before.counts, strict=True))
        return Seen(self.bounds, counts, self.sum - before.sum)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """One pool of one process, as its exporter or `pool.stats()` tells it.

    window_seconds: the span that the counts and histograms are of; None: since it was opened.
    """

    name: str
    server: str
    max_size: int
    in_use: int
    waiting: int
    timeouts: float
    refused: float
    leaks: float
    wait: Seen
    hold: Seen
    window_seconds: float | None = None

    def since(self, before: PoolUse, seconds: float) -> PoolUse:
        """The same for the window between two looks."""
        return replace(
            self,
            timeouts=max(0.0, self.timeouts - before.timeouts),
            refused=max(0.0, self.refused - before.refused),
            leaks=max(0.0, self.leaks - before.leaks),
            wait=self.wait.since(before.wait),
            hold=self.hold.since(before.hold),
            window_seconds=seconds,
        )

    @property
    def mean_in_use(self) -> float | None:
        """Connections leased on average in the window (Little's law); None without a window."""
        return self.hold.sum / self.window_seconds if self.window_seconds else None


@dataclass(frozen=True, slots=True)
class Planned:
    """What a service may open at most: --service web=20x4."""

    name: str
    max_size: int
    instances: int = 1

    @property
    def connections(self) -> int:
        return self.max_size * self.instances


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement: a closed loop of `concurrency` tasks on `size` connections, or (`rate`, in
    statements a second) an open one. Times in seconds; latency counts from when a statement was
    wanted, so that waiting for a connection is in it. client_cpu: of one core, by this process."""

    size: int
    concurrency: int
    seconds: float
    statements: int
    errors: int
    latency_mean: float
    latency_p50: float
    latency_p95: float
    latency_p99: float
    wait_mean: float
    client_cpu: float = 0.0
    rate: float | None = None

    @property
    def throughput(self) -> float:
        """Statements a second."""
        return self.statements / self.seconds if self.seconds else 0.0


def quantile(ordered: Sequence[float], q: float) -> float:
    """Nearest rank of sorted values; 0 of none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, round(q * len(ordered)) - 1))]
