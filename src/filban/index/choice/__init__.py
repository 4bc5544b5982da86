"""Which of the candidates: the best set within a budget, by what the planner says with them.

    async with hypothetical(session, workload.search_path) as what_if:
        chosen = await choose(what_if, workload, found.candidates, sizes, Limits(bytes=2 * 1024**3))

One table of plans serves every budget: `market` asks, `Market.choose` answers. The estimates lie:
what is chosen here is a proposal, to be proven by real executions.
"""

from filban.index.choice.choose import Market, choose, market
from filban.index.choice.rows import Chosen, Cost, Limits
from filban.index.choice.whatif import Built, Hypothetical, WhatIf, hypothetical

__all__ = [
    "Built",
    "Chosen",
    "Cost",
    "Hypothetical",
    "Limits",
    "Market",
    "WhatIf",
    "choose",
    "hypothetical",
    "market",
]
