"""Prometheus: the pools' numbers, asked for when somebody scrapes.

    filban.pool.prometheus.register(pool, router)

Registering costs nothing until a scrape. Every series has the labels `pool` and `server`, and some
`state` (idle, in_use) or `reset` (done, skipped): their number does not grow with traffic. Give
pools a `name=` that is the same in every process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from filban.errors import ExtraMissing
from filban.pool.sources import HISTOGRAMS, Source, Sources, cumulated
from filban.pool.stats import PoolStats

try:
    from prometheus_client.core import (
        REGISTRY,
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ExtraMissing("prometheus_client", "prometheus") from error

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

_LABELS = ["pool", "server"]
# metric -> (field of PoolStats, what it is)
GAUGES = {
    "waiting": ("waiting", "Tasks that wait for a connection"),
    "min_size": ("min_size", "Connections that are kept open"),
    "max_size": ("max_size", "The most connections allowed"),
}
COUNTERS = {
    "acquired": ("acquired", "Leases given"),
    "timeouts": ("timeouts", "Acquires that waited in vain"),
    "refused": ("refused", "Acquires turned away by max_waiters"),
    "connects": ("connects", "Connections opened"),
    "connect_errors": ("connect_errors", "Connections that could not be opened"),
    "reconnects": ("reconnects", "Connections opened in place of another one"),
    "probes": ("probes", "Idle connections that were probed"),
    "probes_failed": ("probes_failed", "Probes that found a connection dead or demoted"),
    "leaks": ("leaks", "Leases that were held for longer than leak_threshold"),
    "dropped": ("dropped", "Leases that nobody released, taken back"),
}
_HISTOGRAM_NAMES = {"wait": "acquire_wait", "hold": "hold", "connect": "connect"}


class PoolCollector(Collector):
    """Asks pools and Routers at each scrape; those that are gone are left out."""

    def __init__(self, *sources: Source, prefix: str = "filban_pool") -> None:
        self._sources = Sources(sources)
        self._prefix = prefix

    def describe(self) -> list[Metric]:
        """The names alone: without this, registering would collect."""
        return list(self._families([]))

    def collect(self) -> Iterator[Metric]:
        yield from self._families(list(self._sources.stats()))

    def _families(self, pools: list[PoolStats]) -> Iterator[Metric]:
        name = self._prefix
        states = GaugeMetricFamily(
            f"{name}_connections", "Connections by state", labels=[*_LABELS, "state"]
        )
        resets = CounterMetricFamily(
            f"{name}_resets", "Resets, and those not needed", labels=[*_LABELS, "reset"]
        )
        for pool in pools:
            states.add_metric([pool.name, pool.server, "idle"], pool.idle)
            states.add_metric([pool.name, pool.server, "in_use"], pool.in_use)
            resets.add_metric([pool.name, pool.server, "done"], pool.resets_done)
            resets.add_metric([pool.name, pool.server, "skipped"], pool.resets_skipped)
        yield states
        yield resets
        for family, rows in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
            for metric, (field, about) in rows.items():
                made = family(f"{name}_{metric}", about, labels=_LABELS)
                for pool in pools:
                    made.add_metric([pool.name, pool.server], getattr(pool, field))
                yield made
        yield from self._histograms(pools)

    def _histograms(self, pools: list[PoolStats]) -> Iterator[Metric]:
        for field, about in HISTOGRAMS.items():
            made = HistogramMetricFamily(
                f"{self._prefix}_{_HISTOGRAM_NAMES[field]}_seconds", about, labels=_LABELS
            )
            for pool in pools:
                seen = getattr(pool, field)
                made.add_metric([pool.name, pool.server], cumulated(seen), seen.sum)
            yield made


def register(*sources: Source, registry: CollectorRegistry = REGISTRY) -> PoolCollector:
    """Add pools and Routers to a registry. `registry.unregister(…)` takes them out again.

    Raises ValueError when the registry has these names already: give all to one call.
    """
    collector = PoolCollector(*sources)
    registry.register(collector)
    return collector
