"""What a pool counts, and what it looks like at a moment."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filban.pool.pool import Pool

# Seconds: a quarter of a millisecond to a minute, in powers of two and then some; the same for
# waits, holds and connects, so that they can be compared.
BUCKETS = (
    0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5,
    1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0,
)  # fmt: skip


class Histogram:
    """Counts by BUCKETS (the last one is everything above), with sum and count. Seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def count(self) -> int:
        return sum(self.counts)

    def snapshot(self, zeros: int = 0) -> HistogramSnapshot:
        """zeros: observations of nothing that were not counted one by one."""
        first, *others = self.counts
        return HistogramSnapshot((first + max(zeros, 0), *others), self.sum)


@dataclass(frozen=True, slots=True)
class HistogramSnapshot:
    """counts[i]: observations above BUCKETS[i-1] and up to BUCKETS[i]; sum in seconds."""

    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """Seconds; None before the first observation."""
        return self.sum / self.count if self.count else None

    def quantile(self, q: float) -> float | None:
        """The upper bound, in seconds, of the bucket that holds quantile `q` (0..1)."""
        wanted, seen = q * self.count, 0
        for bound, count in zip((*BUCKETS, float("inf")), self.counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return bound
        return None


@dataclass(slots=True)
class Counters:
    """What a pool counts while it works."""

    long_releases: int = 0
    timeouts: int = 0
    refused: int = 0
    resets_done: int = 0
    connects: int = 0
    connect_errors: int = 0
    reconnects: int = 0
    probes: int = 0
    probes_failed: int = 0
    expired_age: int = 0
    expired_idle: int = 0
    leaks: int = 0
    dropped: int = 0
    wait: Histogram = field(default_factory=Histogram)
    hold: Histogram = field(default_factory=Histogram)
    connect: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True)
class PoolStats:
    """One moment of a pool. Counts are since it was opened; histograms in seconds.

    name: the pool's; server: where it connects. timeouts: acquires that waited in vain; refused:
    those turned away at once by max_waiters. leaks: leases reported for being held too long;
    dropped: leases that the garbage collector found.
    """

    name: str
    server: str
    size: int
    idle: int
    in_use: int
    waiting: int
    min_size: int
    max_size: int
    acquired: int
    timeouts: int
    refused: int
    resets_done: int
    resets_skipped: int
    connects: int
    connect_errors: int
    reconnects: int
    probes: int
    probes_failed: int
    expired_age: int
    expired_idle: int
    leaks: int
    dropped: int
    wait: HistogramSnapshot
    hold: HistogramSnapshot
    connect: HistogramSnapshot


def collect(pool: Pool) -> PoolStats:
    """A pool at this moment. Leases and waits of nothing are not counted one by one: they follow
    from those that have ended."""
    c = pool.counters
    in_use = sum(h._in_use is not None for h in pool._holders)
    ended, waited = c.hold.count(), c.wait.count()
    acquired = ended + in_use
    return PoolStats(
        name=pool.name, server=pool._server(),
        size=pool.get_size(), idle=pool.get_idle_size(), in_use=in_use,
        waiting=pool._queue.waiting() if pool._initialized else 0,
        min_size=pool._minsize, max_size=pool._maxsize,
        acquired=acquired, timeouts=c.timeouts, refused=c.refused,
        resets_done=c.resets_done, resets_skipped=ended - c.long_releases,
        connects=c.connects, connect_errors=c.connect_errors, reconnects=c.reconnects,
        probes=c.probes, probes_failed=c.probes_failed,
        expired_age=c.expired_age, expired_idle=c.expired_idle,
        leaks=c.leaks, dropped=c.dropped,
        wait=c.wait.snapshot(zeros=acquired - waited), hold=c.hold.snapshot(),
        connect=c.connect.snapshot(),
    )  # fmt: skip
