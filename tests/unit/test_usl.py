"""The scalability law, the choice of a size, and the verdicts on running pools."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.errors import UsageError
from filban.finding import Severity
from filban.flows.pool import planned
from filban.flows.pool.bench import median
from filban.flows.pool.plan import SPARE_SLOTS, fitting
from filban.pool.stats import BUCKETS, Counters, PoolStats
from filban.tune.pool_size import (
    CODES,
    Load,
    Planned,
    PoolThresholds,
    PoolUse,
    Seen,
    ServiceUse,
    Slots,
    Step,
    Usl,
    choose,
    fit,
    metrics,
    rules,
)

SIZES = (1, 2, 4, 8, 12, 16, 24, 32)
DOCS = Path(__file__).parents[2] / "docs" / "findings"


# The law


@given(st.floats(1, 1e5), st.floats(0, 0.9), st.floats(0, 0.05))
def test_exact_points_give_the_law_back(lam: float, sigma: float, kappa: float):
    law = Usl(lam, sigma, kappa, 1.0)
    found = fit([(n, law.throughput(n)) for n in SIZES])
    assert found is not None
    assert found.lam == pytest.approx(lam, rel=1e-3)
    for n in SIZES:
        assert found.throughput(n) == pytest.approx(law.throughput(n), rel=1e-3)
    assert found.r_squared > 0.999 or sigma > 0.85


def test_noise_moves_it_little():
    draw, law = random.Random(7), Usl(1000, 0.05, 0.002, 1.0)
    found = fit([(n, law.throughput(n) * draw.uniform(0.97, 1.03)) for n in SIZES])
    assert found is not None
    assert law.peak == pytest.approx(21.8, abs=0.1)
    assert found.peak == pytest.approx(law.peak, rel=0.25)
    assert found.r_squared > 0.97


@given(st.lists(st.floats(0.1, 1e6), min_size=4, max_size=8))
def test_whatever_is_measured_the_coefficients_make_sense(throughputs: list[float]):
    found = fit(list(zip(SIZES, throughputs, strict=False)))
    if found is not None:
        assert found.lam > 0
        assert 0 <= found.sigma <= 1
        assert found.kappa >= 0


def test_three_sizes_are_not_enough():
    assert fit([(1, 10.0), (2, 18.0), (4, 30.0), (4, 31.0)]) is None


# The choice


def step(size: int, throughput: float, p95: float, concurrency: int = 64) -> Step:
    return Step(size, concurrency, 1.0, int(throughput), 0, p95 / 2, p95 / 2, p95, p95, 0.0)


def test_the_smallest_size_at_the_knee():
    found = choose([step(1, 1000, 0.060), step(4, 3900, 0.018), step(8, 4000, 0.016)])
    assert found is not None
    assert (found.size, found.good) == (4, True)


def test_a_size_with_a_long_tail_is_passed_over():
    found = choose([step(4, 3900, 0.100), step(8, 4000, 0.016), step(16, 4000, 0.017)])
    assert found is not None
    assert found.size == 8


def test_an_objective_that_no_size_reaches_is_said():
    found = choose([step(4, 3900, 0.100), step(8, 4000, 0.080)], objective_p95=0.010)
    assert found is not None
    assert (found.size, found.good) == (8, False)
    assert "not more connections" in found.why


def test_the_largest_size_measured_is_no_peak():
    found = choose([step(1, 1000, 0.060), step(2, 2000, 0.030)])
    assert found is not None
    assert "a larger one may do more" in found.why


def test_nothing_measured_nothing_recommended():
    assert choose([step(1, 0, 0.0)]) is None


def test_the_median_round_counts():
    assert median([step(1, 5, 1), step(1, 900, 1), step(1, 7, 1)]).throughput == 7


# Slots


def slots(used: int, allowed: int = 97) -> Slots:
    return Slots("server", allowed, used, 100, 3)


def test_sizes_never_take_the_last_connections():
    sizes, notes = fitting(None, slots(used=80))
    assert max(sizes) <= 17 - SPARE_SLOTS
    assert "left out" in notes[0]
    with pytest.raises(UsageError, match="would not leave"):
        fitting((15,), slots(used=80))
    with pytest.raises(UsageError, match="would not leave"):
        fitting(None, slots(used=97))


# Running pools


def seen(waits: dict[float, int], total: float = 0.0) -> Seen:
    bounds = (0.001, 0.008, 0.064, 0.5, float("inf"))
    return Seen(bounds, tuple(float(waits.get(b, 0)) for b in bounds), total)


def use(waits: dict[float, int], *, held: float = 50.0, size: int = 10, **more: float) -> PoolUse:
    return PoolUse(
        name="web", server="db:5432", max_size=size, in_use=5, waiting=0,
        timeouts=more.get("timeouts", 0), refused=0, leaks=0,
        wait=seen(waits), hold=seen({0.008: sum(waits.values())}, held), window_seconds=10.0,
    )  # fmt: skip


def load(active: float, capacity: float | None = None) -> Load:
    return Load(20, active, 0.0, capacity, measured=True)


SLOW = {0.001: 900, 0.064: 100}


def codes(used: PoolUse, sampled: Load) -> list[str]:
    return [f.code for f in rules.pools([used], sampled, PoolThresholds())]


@pytest.mark.parametrize(
    ("used", "sampled", "wanted"),
    [
        (use(SLOW), load(active=4.5), ["pool.too_small"]),
        (use(SLOW), load(active=4.5, capacity=20), ["pool.too_small"]),
        (use(SLOW), load(active=4.5, capacity=4), ["pool.server_saturated"]),
        (use(SLOW), load(active=0.5), ["pool.held_too_long"]),
        (use({0.001: 1000}, timeouts=1), load(active=4.5), ["pool.too_small"]),
        (use({0.001: 1000}), load(active=4.5), []),
        (use({0.001: 99}, timeouts=1), load(active=4.5), []),
        (use({0.001: 1000}, held=1.0, size=50), load(active=0.1), ["pool.too_large"]),
    ],
)
def test_why_a_pool_is_waited_for(used: PoolUse, sampled: Load, wanted: list[str]):
    assert codes(used, sampled) == wanted


def service(name: str, connections: int, user: str = "app") -> ServiceUse:
    return ServiceUse(name, user, "10.0.0.1", "shop", connections, 0, connections, 0, 0)


def test_all_pools_together_against_max_connections():
    plan = [Planned("web", 20, 4), Planned("worker", 5, 2)]
    now = [service("web", 30), service("psql", 4), service("", 8, user="worker")]
    assert list(rules.over_max_connections(plan, now, slots(42))) == []  # 80 + 10 + 4 <= 97
    (found,) = rules.over_max_connections(plan, [*now, service("cron", 4)], slots(46))
    assert found.severity is Severity.critical
    assert found.title == "all pools together may open 98 connections, the server takes 97"
    assert found.evidence["others_now"].value == 8


@pytest.mark.parametrize("text", ["web", "web=", "=5", "web=0", "web=5x0", "web=x", "web=5x2x3"])
def test_services_that_cannot_be_read(text: str):
    with pytest.raises(UsageError):
        planned(text)


def test_services():
    assert planned("web=20x4") == Planned("web", 20, 4)
    assert planned("a=b=20×4") == Planned("a=b", 20, 4)
    assert planned("web=7").connections == 7


# Both ways in say the same


def stats() -> PoolStats:
    c = Counters()
    for seconds in (0.0001, 0.003, 0.003, 100.0):
        c.wait.observe(seconds)
        c.hold.observe(seconds)
    values = {f.name: 1 for f in dataclasses.fields(PoolStats)}
    histograms = {"wait": c.wait.snapshot(), "hold": c.hold.snapshot()}
    return PoolStats(
        **(values | histograms | {"connect": c.connect.snapshot(), "name": "web", "server": "db:1"})  # type: ignore[arg-type]
    )


def test_a_scrape_and_a_file_are_read_alike():
    from prometheus_client import CollectorRegistry, generate_latest

    from filban.pool import prometheus

    class Source:
        def stats(self) -> PoolStats:
            return stats()

    registry, source = CollectorRegistry(), Source()
    prometheus.register(source, registry=registry)
    page = generate_latest(registry).decode()
    scraped = metrics.parse(page, source="page", bounds=BUCKETS)
    read = metrics.parse(json.dumps(dataclasses.asdict(stats())), source="file", bounds=BUCKETS)
    assert scraped == read
    (only,) = read
    assert only.wait.quantile(0.75) == 0.004
    assert only.wait.quantile(1.0) == float("inf")
    assert only.since(only, 10.0).wait.count == 0
    assert only.since(dataclasses.replace(only, wait=only.hold), 10.0).name == "web"


@pytest.mark.parametrize("text", ["", "up 1\n", "{}", "[1]", '{"name": "x"}'])
def test_what_is_no_pool_is_said(text: str):
    with pytest.raises(UsageError):
        metrics.parse(text, source="there", bounds=BUCKETS)


# Pages


@pytest.mark.parametrize("code", CODES)
def test_a_page_for_each_code(code: str):
    text = (DOCS / f"{code}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {code}\n")
    for part in ("What", "Why", "Evidence", "Fix", "Risk"):
        assert f"**{part}.**" in text, part


def test_a_threshold_is_named_in_a_page():
    pages = "".join((DOCS / f"{code}.md").read_text(encoding="utf-8") for code in CODES)
    for field in dataclasses.fields(PoolThresholds):
        assert f"`{field.name}`" in pages, field.name
