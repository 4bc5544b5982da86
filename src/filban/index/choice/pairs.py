"""One table of (statement, used set, cost), from which every set of candidates is answered.

A plan that uses U out of the candidates S stands for every set between U and S: the planner would
choose it again. So each statement is asked with its whole pool first, then without one index that
was used, and so on; what has been answered is never asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from filban.index.advice import IndexSpec, Statement
from filban.index.advice.planning import REFUSALS
from filban.index.choice.rows import NONE, Cost, Specs
from filban.index.choice.whatif import WhatIf


@dataclass(frozen=True, slots=True)
class Pair:
    """A plan's cost, what it uses, and what it could have used."""

    cost: Cost
    offered: Specs


@dataclass(slots=True)
class Pairs:
    """Of one statement. base: without any candidate."""

    statement: Statement
    base: float
    known: list[Pair] = field(default_factory=list)

    def answer(self, specs: Specs) -> Cost:
        """The cheapest plan that is known to be possible with these candidates: an upper bound,
        and exact where a question has covered it."""
        fits = (p.cost for p in self.known if p.cost.used <= specs)
        return min(fits, key=lambda c: c.total, default=Cost(self.base))

    def exact(self, specs: Specs) -> Cost | None:
        """What the planner would say, if that is known."""
        for pair in self.known:
            if pair.cost.used <= specs <= pair.offered:
                return pair.cost
        return None


async def ask(
    what_if: WhatIf, statement: Statement, pool: Specs, stop: Callable[[], bool], most: int
) -> Pairs | None:
    """The pairs of a statement, `most` plans at most; None if the server cannot plan it."""
    try:
        base = await what_if.cost(statement, NONE)
    except REFUSALS:
        return None
    pairs = Pairs(statement, base.total, [Pair(base, NONE)])
    left = [pool] if pool else []
    asked = 0
    while left and asked < most and not stop():
        offered = left.pop(0)
        if pairs.exact(offered) is not None:
            continue
        try:
            cost = await what_if.cost(statement, offered)
        except REFUSALS:
            continue
        asked += 1
        pairs.known.append(Pair(cost, offered))
        left.extend(offered - {spec} for spec in _ordered(cost.used))
    return pairs


async def confirm(what_if: WhatIf, pairs: Pairs, specs: Specs) -> Cost:
    """What the planner says of a set, asked if it is not known."""
    known = pairs.exact(specs)
    if known is None:
        known = await what_if.cost(pairs.statement, specs)
        pairs.known.append(Pair(known, specs))
    return known


def _ordered(specs: Specs) -> list[IndexSpec]:
    return sorted(specs, key=IndexSpec.definition)


def used_anywhere(pairs: Iterable[Pairs]) -> Specs:
    """Candidates that some plan has used: the others are out of the question."""
    return NONE.union(*(p.cost.used for one in pairs for p in one.known))
