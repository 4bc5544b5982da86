"""What a few measurements can say: intervals of ratios. Pure.

Pairs of executions, one before and one after each other, give one logarithm of a ratio each; their
mean has Student's interval. Logarithms because slowdowns multiply: a neighbour that takes half the
CPU doubles both sides (Georges, Buytaert, Eeckhout, "Statistically rigorous Java performance
evaluation", OOPSLA 2007, section 3.2, for the interval; paired, as the machine's noise is shared).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Student's t, two-sided 95 %, for 1 to 30 degrees of freedom; beyond that the normal's.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_NORMAL95 = 1.96
# Times below a microsecond are the clock's own.
LEAST_MS = 0.001


@dataclass(frozen=True, slots=True)
class Interval:
    """A ratio and its 95 % interval: (0, inf) of one measurement, which does not know its error."""

    value: float
    low: float
    high: float

    def excludes(self, low: float, high: float) -> bool:
        """Whether it lies wholly outside of (low, high), on either side."""
        return self.high < low or self.low > high

    def within(self, low: float, high: float) -> bool:
        return low <= self.low and self.high <= high


def ratio(before: Sequence[float], after: Sequence[float]) -> Interval:
    """after / before of paired measurements: their geometric mean and its interval."""
    logs = [
        math.log(max(b, LEAST_MS) / max(a, LEAST_MS)) for a, b in zip(before, after, strict=True)
    ]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return Interval(math.exp(mean), 0.0, math.inf)
    half = t95(len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Interval(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def t95(degrees: int) -> float:
    """Student's t of a two-sided 95 % interval."""
    return _T95[degrees - 1] if degrees <= len(_T95) else _NORMAL95
