"""Which set of candidates is the best within a budget. Pure, and the same for the same seed.

The value of a set is what the workload's statements cost with it, as often as they are called, and
what the writes cost that keep it up. Two greedy beginnings (by gain, by gain per byte) and an
integer program where HiGHS is installed; from the best of them indexes are dropped, added and
swapped until nothing gets better, then again from sets that were shaken.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from filban.index.advice import IndexSpec
from filban.index.choice.pairs import Pairs
from filban.index.choice.rows import NONE, Specs

# A set has to be better by this share of the workload to count as better: the planner's own noise.
LEAST_GAIN = 1e-6
SHAKES = 20
# How much of a set a shake takes out.
SHAKEN_SHARE = 0.3


@dataclass(slots=True)
class Problem:
    """pairs: of each statement, with how often it is called. sizes: bytes. writes: what keeping an
    index up costs, in the planner's units, for all the workload's writes. budget: bytes."""

    pairs: Sequence[tuple[Pairs, float]]
    sizes: Mapping[IndexSpec, int]
    writes: Mapping[IndexSpec, float]
    budget: int | None = None
    _of: dict[IndexSpec, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        concerned: dict[IndexSpec, set[int]] = defaultdict(set)
        for number, (one, _) in enumerate(self.pairs):
            for pair in one.known:
                for spec in pair.cost.used:
                    concerned[spec].add(number)
        self._of = {spec: sorted(numbers) for spec, numbers in concerned.items()}

    @property
    def specs(self) -> list[IndexSpec]:
        """Those that some plan uses, in a fixed order."""
        return sorted(self._of, key=IndexSpec.definition)

    def bytes(self, specs: Iterable[IndexSpec]) -> int:
        return sum(self.sizes[spec] for spec in specs)

    def fits(self, specs: Iterable[IndexSpec]) -> bool:
        return self.budget is None or self.bytes(specs) <= self.budget

    def value(self, specs: Specs) -> float:
        """Lower is better."""
        reads = sum(calls * one.answer(specs).total for one, calls in self.pairs)
        return reads + sum(self.writes.get(spec, 0.0) for spec in specs)

    def change(self, specs: Specs, to: Specs) -> float:
        """value(to) - value(specs), by the statements that are concerned only."""
        different = specs ^ to
        numbers = sorted({n for spec in different for n in self._of.get(spec, ())})
        reads = sum(
            self.pairs[n][1]
            * (self.pairs[n][0].answer(to).total - self.pairs[n][0].answer(specs).total)
            for n in numbers
        )
        kept_up = sum(self.writes.get(spec, 0.0) * (1 if spec in to else -1) for spec in different)
        return reads + kept_up


def best(problem: Problem, seed: int, stop: Callable[[], bool]) -> Specs:
    """The best set that was found until `stop` says so; some set is always there."""
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    starts = [NONE, _greedy(problem, by_size=False), _greedy(problem, by_size=True)]
    starts += [found for found in [_program(problem)] if found is not None]
    leader = min((_improved(problem, s, stop) for s in starts), key=problem.value)
    for _ in range(SHAKES):
        if stop():
            break
        shaken = frozenset(s for s in _ordered(leader) if rng.random() >= SHAKEN_SHARE)
        again = _improved(problem, shaken, stop)
        if problem.value(again) < problem.value(leader):
            leader = again
    return leader


def _greedy(problem: Problem, *, by_size: bool) -> Specs:
    """Whole used sets of plans, as indexes that only help together are worth nothing alone."""
    chosen = NONE
    sets = {p.cost.used for one, _ in problem.pairs for p in one.known if p.cost.used}
    left = sorted(sets, key=lambda s: sorted(spec.definition() for spec in s))
    while left:
        gains = []
        for bundle in left:
            together = chosen | bundle
            gain = -problem.change(chosen, together)
            if gain > 0 and problem.fits(together):
                size = problem.bytes(bundle - chosen) or 1
                gains.append((gain / size if by_size else gain, bundle))
        if not gains:
            return chosen
        _, bundle = max(gains, key=lambda pair: pair[0])
        chosen |= bundle
        left = [b for b in left if not b <= chosen]
    return chosen


def _improved(problem: Problem, specs: Specs, stop: Callable[[], bool]) -> Specs:
    """Drop, add and swap while that makes it better."""
    least = LEAST_GAIN * max(problem.value(NONE), 1.0)
    while not stop():
        moves = list(_moves(problem, specs))
        found = min(
            ((problem.change(specs, to), n) for n, to in enumerate(moves)), default=(0.0, -1)
        )
        if found[0] > -least:
            break
        specs = moves[found[1]]
    return specs


def _moves(problem: Problem, specs: Specs) -> Iterable[Specs]:
    outside = [s for s in problem.specs if s not in specs]
    for spec in _ordered(specs):
        yield specs - {spec}
    for spec in outside:
        if problem.fits(specs | {spec}):
            yield specs | {spec}
    for out in _ordered(specs):
        for spec in outside:
            # an index of another table hardly takes another's place, but for its bytes
            if (spec.on == out.on or problem.budget is not None) and problem.fits(
                (specs - {out}) | {spec}
            ):
                yield (specs - {out}) | {spec}


def _ordered(specs: Specs) -> list[IndexSpec]:
    return sorted(specs, key=IndexSpec.definition)


def _program(problem: Problem) -> Specs | None:
    """Choose a plan for each statement, and the indexes they use: HiGHS; None without it."""
    try:
        from filban.index.choice.program import solve
    except ImportError:
        return None
    return solve(problem)
