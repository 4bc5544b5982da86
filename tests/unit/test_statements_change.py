"""The test for a change: as many false alarms as it says, and the changes that are there."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.profile.statements.change import (
    ALPHA,
    EXACT,
    LEAST_POINTS,
    _exact_tail,
    _normal_tail,
    _rank_sums,
    change_point,
)

NOISES = {
    "normal": lambda r: r.gauss(100, 10),
    "heavy tails": lambda r: r.lognormvariate(3, 1.5),
    "outliers": lambda r: 5000.0 if r.random() < 0.1 else r.gauss(10, 1),
    "ties": lambda r: float(r.randint(1, 4)),
    "constant": lambda r: 7.0 * bool(r),
}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("n", [LEAST_POINTS, 16, EXACT, EXACT + 1, 60])
def test_no_more_false_alarms_than_it_says(noise: str, n: int):
    """Of 600 series without a change: at level p at most p, plus three standard errors."""
    r = random.Random(f"{noise} {n}")
    found = [change_point([NOISES[noise](r) for _ in range(n)]) for _ in range(600)]
    for level in (0.01, 0.05, 0.2):
        alarms = sum(f is not None and f.probability <= level for f in found)
        assert alarms <= 600 * level + 3 * math.sqrt(600 * level * (1 - level))


@pytest.mark.parametrize("n", [12, 16, 30, 100, 288])
def test_a_step_is_found_where_it_is(n: int):
    r = random.Random(n)
    step = n * 2 // 3
    points = [r.gauss(10, 1) * (3.4 if i >= step else 1) for i in range(n)]
    found = change_point(points)
    assert found is not None
    assert found.probability <= ALPHA
    assert abs(found.index - step) <= 1  # the last one before may lie next to those after
    assert found.ratio == pytest.approx(3.4, rel=0.15)


def test_a_step_under_heavy_tails_is_found_about_where_it_is():
    r = random.Random(1)
    points = [r.lognormvariate(1, 0.7) * (4 if i >= 50 else 1) for i in range(90)]
    found = change_point(points)
    assert found is not None
    assert found.probability < ALPHA
    assert abs(found.index - 50) <= 4


def test_a_trend_is_a_change():
    r = random.Random(2)
    found = change_point([100 + i * 5 + r.gauss(0, 20) for i in range(60)])
    assert found is not None
    assert found.probability < ALPHA
    assert found.ratio > 1.3


def test_something_faster_has_a_ratio_below_one():
    found = change_point([10.0 + i / 100 for i in range(10)] + [2.0 + i / 100 for i in range(10)])
    assert found is not None
    assert found.ratio < 0.3


@pytest.mark.parametrize("n", range(LEAST_POINTS))
def test_few_points_say_nothing(n: int):
    assert change_point([1.0] * (n // 2) + [1000.0] * (n - n // 2)) is None


def test_the_least_number_of_points_is_the_least_that_can_say_something():
    for n in (LEAST_POINTS - 1, LEAST_POINTS):
        best = 2 / math.comb(n, n // 2)
        assert (best < ALPHA) == (n == LEAST_POINTS)


@pytest.mark.parametrize("n", [4, 5, 6])
def test_the_exact_distribution_by_counting(n: int):
    """For every order of n ranks, what the largest statistic is, against the bound."""
    largest = [
        max(abs(2 * sum(order[:cut]) - cut * (n + 1)) for cut in range(1, n))
        for order in itertools.permutations(range(1, n + 1))
    ]
    for distance in set(largest):
        share = sum(value >= distance for value in largest) / len(largest)
        bound = sum(_exact_tail(n, cut, distance) for cut in range(1, n))
        assert share <= bound + 1e-12
    assert sum(_rank_sums(n)[2].values()) == math.comb(n, 2)


def test_the_normal_distribution_is_no_less_careful_than_the_exact_one():
    for cut, z in itertools.product((2, 6, 12, 20), (1, 2, 3, 4)):
        distance = int(z * math.sqrt(cut * (EXACT - cut) * (EXACT + 1) / 3))
        assert _normal_tail(EXACT, cut, distance) >= 0.95 * _exact_tail(EXACT, cut, distance)


@given(st.lists(st.floats(0, 1e9), max_size=80))
def test_any_points(points: list[float]):
    found = change_point(points)
    assert (found is None) == (len(points) < LEAST_POINTS)
    if found is not None:
        assert 0 <= found.probability <= 1
        assert 0 < found.index < len(points)
