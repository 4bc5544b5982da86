"""What exporters ask: pools and Routers, known weakly, at the moment of the question."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Protocol

from filban.pool.stats import BUCKETS, HistogramSnapshot, PoolStats


class Source(Protocol):
    """A Pool (`stats()` is a PoolStats) or a Router (one for each of its servers)."""

    def stats(self) -> PoolStats | list[PoolStats]: ...


# The histograms of PoolStats, and what they are of.
HISTOGRAMS = {
    "wait": "Waiting for a connection",
    "hold": "Leases, from acquire to release",
    "connect": "Opening connections",
}


class Sources:
    """Remembers whom to ask without keeping them alive."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._known = [weakref.ref(source) for source in sources]

    def stats(self) -> Iterator[PoolStats]:
        """Of each pool that there still is. May be called from any thread."""
        for known in self._known:
            source = known()
            if source is not None:
                found = source.stats()
                yield from [found] if isinstance(found, PoolStats) else found


def cumulated(histogram: HistogramSnapshot) -> list[tuple[str, int]]:
    """(upper bound in seconds, observations up to it), the last one "+Inf"."""
    bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True))
