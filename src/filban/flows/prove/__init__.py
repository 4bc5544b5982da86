"""Proof of a set of indexes: built on a clone, executed against, and only what pays is kept.

    async with clone(target, progress) as copy:
        proof = await prove(copy, workload, specs, limits, progress)

`clone` (a fresh base backup, started beside us), `refuse` (what may not be executed even there),
`execute` (one statement: time, CPU, blocks, WAL), `intervals` (what measurements can say),
`measure` (before and after in turns), `eliminate` (members that do not pay go), `writes` (what it
costs), `cold` (the same from disk), `run` (all of it).
"""

from filban.flows.prove.clone import Clone, clone
from filban.flows.prove.rows import (
    Built,
    Compared,
    Dropped,
    Limits,
    Proof,
    RefusedStatement,
    Side,
    WriteCost,
)
from filban.flows.prove.run import prove

__all__ = [
    "Built",
    "Clone",
    "Compared",
    "Dropped",
    "Limits",
    "Proof",
    "RefusedStatement",
    "Side",
    "WriteCost",
    "clone",
    "prove",
]
