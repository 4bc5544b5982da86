"""From candidates to the set that is proposed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from filban.index.advice import Candidate, IndexSpec, Workload
from filban.index.choice.pairs import Pairs, ask, confirm
from filban.index.choice.rows import NONE, Chosen, Limits, Specs
from filban.index.choice.search import Problem, best
from filban.index.choice.whatif import WhatIf

# Plans a statement may be asked for at first: its whole pool, and one out at a time.
MOST_PLANS = 60
# How often the set is held against the planner and sought again with what that has told.
ROUNDS = 4
# Of the time, what is for asking; the rest is for searching.
ASKING_SHARE = 0.7


class Market:
    """The plans of a workload, asked once; any number of budgets is answered from them."""

    def __init__(
        self,
        what_if: WhatIf,
        pairs: Sequence[tuple[Pairs, float]],
        sizes: Mapping[IndexSpec, int],
        writes: Mapping[IndexSpec, float],
        *,
        whole: bool,
    ) -> None:
        self._what_if = what_if
        self._pairs = list(pairs)
        self._sizes = sizes
        self._writes = writes
        self._whole = whole

    async def choose(self, limits: Limits, seed: int = 0) -> Chosen:
        """The best set within the limits. Raises ConnectionLost."""
        until = time.monotonic() + limits.seconds

        def stop() -> bool:
            return time.monotonic() > until

        specs, value = NONE, float("inf")
        for _ in range(ROUNDS):
            problem = Problem(self._pairs, self._sizes, self._writes, limits.bytes)
            found = await self._used(best(problem, seed, stop))
            said = problem.value(found)
            if said >= value:
                break
            specs, value = found, said
            if stop():
                break
        return self._told(specs, limits, whole=self._whole and not stop())

    async def _used(self, specs: Specs) -> Specs:
        """The set as the planner sees it: without what no plan uses."""
        used = set[IndexSpec]()
        for pairs, _ in self._pairs:
            concerned = frozenset(s for s in specs if s.on in pairs.statement.tables)
            if concerned:
                used |= (await confirm(self._what_if, pairs, concerned)).used
        return specs & used

    def _told(self, specs: Specs, limits: Limits, *, whole: bool) -> Chosen:
        problem = Problem(self._pairs, self._sizes, self._writes, limits.bytes)
        worth = {s: -problem.change(NONE, frozenset({s})) for s in specs}
        ordered = sorted(specs, key=lambda s: (-worth[s], s.definition()))
        costs = {p.statement.id: (p.base, p.answer(specs).total) for p, _ in self._pairs}
        return Chosen(
            specs=tuple(ordered),
            bytes=problem.bytes(specs),
            before=sum(calls * p.base for p, calls in self._pairs),
            after=problem.value(specs),
            costs=costs,
            asked=self._what_if.asked,
            whole=whole,
        )


async def market(
    what_if: WhatIf,
    workload: Workload,
    candidates: Sequence[Candidate],
    sizes: Mapping[IndexSpec, int],
    *,
    writes: Mapping[IndexSpec, float] | None = None,
    seconds: float = 60.0,
) -> Market:
    """Ask for the plans. sizes: bytes of every candidate. writes: what keeping it up costs for all
    the workload's writes, in the planner's units. seconds: then no more is asked.

    The heaviest statements are asked first. Raises ConnectionLost.
    """
    until = time.monotonic() + seconds
    pools: dict[str, set[IndexSpec]] = defaultdict(set)
    by_table: dict[str, set[IndexSpec]] = defaultdict(set)
    for candidate in candidates:
        by_table[candidate.spec.on].add(candidate.spec)
        for statement in candidate.statements:
            pools[statement].add(candidate.spec)
    found: list[tuple[Pairs, float]] = []
    whole = True
    for one in sorted(workload.statements, key=lambda s: (-s.total_ms, -s.calls, s.id)):
        if time.monotonic() > until:
            whole = False
        # also what was thought of for another statement: it may do for this one
        pool = frozenset(pools[one.id]).union(*(by_table[t] for t in one.tables))
        pairs = await ask(what_if, one, pool, lambda: time.monotonic() > until, MOST_PLANS)
        if pairs is not None:
            found.append((pairs, one.calls))
    return Market(what_if, found, sizes, writes or {}, whole=whole)


async def choose(
    what_if: WhatIf,
    workload: Workload,
    candidates: Sequence[Candidate],
    sizes: Mapping[IndexSpec, int],
    limits: Limits | None = None,
    *,
    writes: Mapping[IndexSpec, float] | None = None,
    seed: int = 0,
) -> Chosen:
    """`market` and `Market.choose` for one budget."""
    limits = limits or Limits()
    asked = await market(
        what_if, workload, candidates, sizes,
        writes=writes, seconds=limits.seconds * ASKING_SHARE,
    )  # fmt: skip
    return await asked.choose(limits, seed)


__all__ = ["Market", "choose", "market"]
