"""The choice as an integer program, for HiGHS (`highspy`, MIT).

x[s]: index s is there. y[q, p]: statement q runs by plan p, which needs all indexes it uses. Each
statement has one plan; the indexes stay within the budget; the cost is least.
"""

from __future__ import annotations

from typing import Any

import highspy

from filban.index.choice.rows import Specs
from filban.index.choice.search import Problem

SECONDS = 10.0
# Beyond it the program takes longer than the local search finds the same set in.
MOST_PLANS = 20_000


def solve(problem: Problem) -> Specs | None:
    """The best set as far as the known plans tell; None if none was found in time."""
    if sum(len(one.known) for one, _ in problem.pairs) > MOST_PLANS:
        return None
    model: Any = highspy.Highs()
    model.silent()  # from 1.15 on its first line is written all the same, hence the upper bound
    model.setOptionValue("time_limit", SECONDS)
    model.setOptionValue("random_seed", 0)
    model.setOptionValue("threads", 1)
    chosen = {s: model.addBinary(obj=problem.writes.get(s, 0.0)) for s in problem.specs}
    if not chosen:
        return None
    for one, calls in problem.pairs:
        plans = [(p, model.addBinary(obj=calls * p.cost.total)) for p in one.known]
        model.addConstr(sum(y for _, y in plans) == 1)
        for pair, y in plans:
            for spec in sorted(pair.cost.used, key=lambda s: s.definition()):
                model.addConstr(y <= chosen[spec])
    if problem.budget is not None:
        model.addConstr(sum(problem.sizes[s] * x for s, x in chosen.items()) <= problem.budget)
    model.run()
    values = model.getSolution().col_value
    if not values:
        return None
    found = frozenset(s for s, x in chosen.items() if values[x.index] > 0.5)
    return found if problem.fits(found) else None
