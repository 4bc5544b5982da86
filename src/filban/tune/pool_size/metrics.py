"""A pool's numbers from where it shows them: a Prometheus page, or `stats()` as JSON. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from filban.errors import ExtraMissing, UsageError
from filban.tune.pool_size.rows import PoolUse, Seen

_HISTOGRAMS = {"wait": "acquire_wait", "hold": "hold"}


def parse(
    text: str, *, source: str, bounds: Sequence[float], prefix: str = "filban_pool"
) -> list[PoolUse]:
    """The pools in a text of either kind. bounds: of the histograms of `stats()`, in seconds.

    Raises UsageError, ExtraMissing (prometheus).
    """
    if text.lstrip().startswith(("{", "[")):
        return _from_json(text, source, (*bounds, float("inf")))
    found = _from_prometheus(text, prefix)
    if not found:
        raise UsageError(
            f"{source} has no metrics {prefix}_*",
            hint="does the service call filban.pool.prometheus.register(pool)?",
        )
    return found


def _from_json(text: str, source: str, bounds: tuple[float, ...]) -> list[PoolUse]:
    """`json.dumps(dataclasses.asdict(pool.stats()))`, or a list of such."""
    try:
        document = json.loads(text)
        return [
            _of_stats(d, bounds) for d in (document if isinstance(document, list) else [document])
        ]
    except (ValueError, TypeError, LookupError) as error:
        raise UsageError(
            f"{source} is not what pool.stats() says: {error!r}",
            hint="json.dumps(dataclasses.asdict(pool.stats()))",
        ) from error


def _of_stats(values: Mapping[str, Any], bounds: tuple[float, ...]) -> PoolUse:
    return PoolUse(
        name=str(values["name"]), server=str(values["server"]),
        max_size=int(values["max_size"]), in_use=int(values["in_use"]),
        waiting=int(values["waiting"]), timeouts=float(values["timeouts"]),
        refused=float(values["refused"]), leaks=float(values["leaks"]),
        wait=_of_snapshot(values["wait"], bounds), hold=_of_snapshot(values["hold"], bounds),
    )  # fmt: skip


def _of_snapshot(values: Mapping[str, Any], bounds: tuple[float, ...]) -> Seen:
    counts = tuple(float(count) for count in values["counts"])
    if len(counts) != len(bounds):
        raise ValueError(f"a histogram of {len(counts)} buckets, not {len(bounds)}")
    return Seen(bounds, counts, float(values["sum"]))


def _from_prometheus(text: str, prefix: str) -> list[PoolUse]:
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError as error:
        raise ExtraMissing("prometheus_client", "prometheus") from error
    try:
        families = list(text_string_to_metric_families(text))
    except ValueError as error:
        raise UsageError(f"no Prometheus page: {error}", hint="name its URL: …/metrics") from error
    pools: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for sample in (s for family in families for s in family.samples):
        labels = sample.labels
        if not sample.name.startswith(f"{prefix}_") or "pool" not in labels:
            continue
        values = pools[labels["pool"], labels.get("server", "")]
        kind = labels.get("le") or labels.get("state") or labels.get("reset") or ""
        values[f"{sample.name.removeprefix(prefix + '_')}{'/' * bool(kind)}{kind}"] = sample.value
    return [_of_samples(name, server, values) for (name, server), values in pools.items()]


def _of_samples(name: str, server: str, values: Mapping[str, float]) -> PoolUse:
    histograms = {
        field: _of_buckets(values, f"{metric}_seconds") for field, metric in _HISTOGRAMS.items()
    }
    return PoolUse(
        name=name, server=server, max_size=int(values.get("max_size", 0)),
        in_use=int(values.get("connections/in_use", 0)), waiting=int(values.get("waiting", 0)),
        timeouts=values.get("timeouts_total", 0.0), refused=values.get("refused_total", 0.0),
        leaks=values.get("leaks_total", 0.0), wait=histograms["wait"], hold=histograms["hold"],
    )  # fmt: skip


def _of_buckets(values: Mapping[str, float], metric: str) -> Seen:
    start = f"{metric}_bucket/"
    buckets = sorted(
        (float(key.removeprefix(start)), count)
        for key, count in values.items()
        if key.startswith(start)
    )
    bounds = tuple(bound for bound, _ in buckets)
    return Seen(bounds, _apart(count for _, count in buckets), values.get(f"{metric}_sum", 0.0))


def _apart(cumulated: Iterable[float]) -> tuple[float, ...]:
    before, apart = 0.0, []
    for count in cumulated:
        apart.append(count - before)
        before = count
    return tuple(apart)
