"""The Universal Scalability Law: how throughput grows with concurrency, and where it turns.

    X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))

lambda: what one connection alone does; sigma: the serial share (contention); kappa: what each pair
costs (coherency: locks, caches), which makes throughput fall beyond a peak. N. J. Gunther,
"Guerrilla Capacity Planning", Springer 2007, chapters 4 to 6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

# Three coefficients need a few points more to mean anything; Gunther asks for six.
FEWEST_POINTS = 4
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Usl:
    """lam: statements a second of one connection. r_squared: 1 is a perfect fit, of throughput."""

    lam: float
    sigma: float
    kappa: float
    r_squared: float

    def throughput(self, n: float) -> float:
        """Statements a second with `n` connections."""
        return self.lam * n / (1 + self.sigma * (n - 1) + self.kappa * n * (n - 1))

    @property
    def peak(self) -> float | None:
        """The concurrency of the most throughput; None where it never turns."""
        if self.kappa <= 0 or self.sigma >= 1:
            return None
        return max(1.0, math.sqrt((1 - self.sigma) / self.kappa))

    @property
    def limit(self) -> float | None:
        """The throughput that no concurrency exceeds; None where it grows for ever."""
        if self.peak is not None:
            return self.throughput(self.peak)
        return self.lam / self.sigma if self.sigma > 0 else None


def fit(points: Sequence[tuple[float, float]]) -> Usl | None:
    """The law through (connections, statements a second), by least squares of throughput, with
    0 <= sigma <= 1 and kappa >= 0. None for fewer than FEWEST_POINTS distinct concurrencies.

    N / X is linear in 1, N - 1 and N (N - 1), so that each round is a weighted linear fit; the
    weights X^4 / N^2 turn its residuals into those of throughput.
    """
    usable = [(n, x) for n, x in points if n > 0 and x > 0]
    if len({n for n, _ in usable}) < FEWEST_POINTS:
        return None
    candidates = [
        found
        for size in range(3)
        for terms in combinations((1, 2), size)
        if (found := _fit_terms(usable, (0, *terms))) is not None
    ]
    return max(candidates, key=lambda usl: usl.r_squared, default=None)


def _fit_terms(points: Sequence[tuple[float, float]], terms: tuple[int, ...]) -> Usl | None:
    """With these of the three coefficients, the others zero; None where one is out of bounds."""
    guess = [x for _, x in points]
    for _ in range(_ROUNDS):
        solved = _weighted(points, guess, terms)
        if solved is None or solved[0] <= 0 or min(solved[1:]) < 0 or solved[1] > solved[0]:
            return None
        a, b, c = solved
        model = Usl(1 / a, b / a, c / a, 0.0)
        guess = [model.throughput(n) for n, _ in points]
    return Usl(model.lam, model.sigma, model.kappa, _r_squared(points, guess))


def _weighted(
    points: Sequence[tuple[float, float]], guess: Sequence[float], terms: tuple[int, ...]
) -> tuple[float, float, float] | None:
    matrix = [[0.0] * len(terms) for _ in terms]
    right = [0.0] * len(terms)
    for (n, x), expected in zip(points, guess, strict=True):
        row = (1.0, n - 1, n * (n - 1))
        weight = (expected * x / n) ** 2
        for i, p in enumerate(terms):
            right[i] += weight * row[p] * n / x
            for j, q in enumerate(terms):
                matrix[i][j] += weight * row[p] * row[q]
    solution = _solve(matrix, right)
    if solution is None:
        return None
    full = dict(zip(terms, solution, strict=True))
    return full[0], full.get(1, 0.0), full.get(2, 0.0)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """Gaussian elimination with pivoting; None for a singular matrix."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda r: abs(rows[r][column]))
        if abs(rows[pivot][column]) < 1e-300:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for other in range(size):
            if other != column:
                factor = rows[other][column] / rows[column][column]
                rows[other] = [
                    a - factor * b for a, b in zip(rows[other], rows[column], strict=True)
                ]
    return [rows[i][size] / rows[i][i] for i in range(size)]


def _r_squared(points: Sequence[tuple[float, float]], guess: Sequence[float]) -> float:
    mean = sum(x for _, x in points) / len(points)
    total = sum((x - mean) ** 2 for _, x in points)
    left = sum((x - g) ** 2 for (_, x), g in zip(points, guess, strict=True))
    return 1 - left / total if total else 1.0
