"""Did a statement become slower, and since when: a test on its means per interval.

Pettitt (1979), "A non-parametric approach to the change-point problem": of all ways to cut a series
in two, the one where the ranks differ most (the Mann-Whitney statistic), and how likely so large a
difference is where nothing has changed. Ranks, because times have heavy tails that a test on means
(Welch) takes for changes or is blinded by; no model, few numbers, and the cut says since when.
scipy would bring 100 MB for two formulas. The probability is a bound: the sum over all cuts of the
Mann-Whitney tails, exact up to EXACT points, normal above. So among series without a change at most
ALPHA are called changed, if their points are independent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, median

# Probability of a wrong verdict in one report, over all statements tested in it (Bonferroni).
ALPHA = 0.01
# Fewer cannot be called changed at ALPHA, wherever the cut is: 2 / C(10, 5) < 0.01 < 2 / C(9, 4).
LEAST_POINTS = 10
# Above, the exact distribution costs more than it adds: the normal one is within a few percent.
EXACT = 24


@dataclass(frozen=True, slots=True)
class Change:
    """From `index` on the points are others than before. probability: of seeing this, or more,
    where nothing changed. before and after: medians; ratio: after / before."""

    index: int
    probability: float
    before: float
    after: float

    @property
    def ratio(self) -> float:
        return self.after / self.before if self.before else math.inf


def change_point(points: Sequence[float]) -> Change | None:
    """The cut that separates the points best, with its probability; None for too few points."""
    n = len(points)
    if n < LEAST_POINTS:
        return None
    ranks = _ranks(points)
    apart = _distances(ranks)
    # The largest distance leans to the middle; measured by its spread, it is where the step is.
    index = max(range(1, n), key=lambda cut: apart[cut - 1] / math.sqrt(cut * (n - cut)))
    return Change(
        index=index,
        probability=_probability(n, math.floor(max(apart))),
        before=median(points[:index]),
        after=median(points[index:]),
    )


def _distances(ranks: Sequence[float]) -> list[float]:
    """For each cut how far the sum of the ranks before it is from its mean, twice."""
    n = len(ranks)
    sums = itertools.accumulate(ranks[:-1])
    return [abs(2 * seen - cut * (n + 1)) for cut, seen in enumerate(sums, 1)]


def _ranks(points: Sequence[float]) -> list[float]:
    """1 for the smallest; equal points share the mean of their ranks."""
    order = sorted(range(len(points)), key=lambda i: points[i])
    ranks = [0.0] * len(points)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and points[order[end]] == points[order[start]]:
            end += 1
        for i in order[start:end]:
            ranks[i] = (start + 1 + end) / 2
        start = end
    return ranks


def _probability(n: int, distance: int) -> float:
    """An upper bound of P(the largest |2 U - its mean| over all cuts >= distance)."""
    tail = _exact_tail if n <= EXACT else _normal_tail
    return min(1.0, sum(tail(n, cut, distance) for cut in range(1, n)))


def _normal_tail(n: int, cut: int, distance: int) -> float:
    """With the continuity correction: the statistic moves in steps of two."""
    if distance > cut * (n - cut):
        return 0.0
    spread = math.sqrt(cut * (n - cut) * (n + 1) / 3)
    return 2 * NormalDist().cdf(-max(0.0, distance - 1) / spread)


def _exact_tail(n: int, cut: int, distance: int) -> float:
    """P(|2 W - cut (n + 1)| >= distance), W being the sum of `cut` of the ranks 1..n."""
    if distance > cut * (n - cut):
        return 0.0
    sums = _rank_sums(n)[cut]
    middle = cut * (n + 1)
    hits = sum(ways for total, ways in sums.items() if abs(2 * total - middle) >= distance)
    return hits / math.comb(n, cut)


@cache
def _rank_sums(n: int) -> list[dict[int, int]]:
    """[size][sum] -> how many subsets of 1..n have that size and sum."""
    sums: list[dict[int, int]] = [{0: 1}, *({} for _ in range(n))]
    for rank in range(1, n + 1):
        for size in range(rank, 0, -1):
            for total, ways in sums[size - 1].items():
                sums[size][total + rank] = sums[size].get(total + rank, 0) + ways
    return sums
