"""Choose among indexes that stand on the clone: the planner's word, real sizes.

Where many were built, executing each combination would take days: the planner says which set does
most within the budget, and the executions say what of it is true.
"""

from __future__ import annotations

from collections.abc import Sequence

from filban.flows.prove.execute import Runner
from filban.flows.prove.rows import Built, Dropped, Limits
from filban.index import choice
from filban.index.advice import Candidate, Workload
from filban.index.advice.planning import Planner
from filban.pg.driver_errors import statement_errors

# Of the time of a proof, what choosing may take; never more than its own default.
CHOOSING_SHARE = 0.2


async def choose_built(
    runner: Runner,
    workload: Workload,
    built: dict[str, Built],
    candidates: Sequence[Candidate],
    limits: Limits,
) -> list[Dropped]:
    """Drop from `built`, and from the clone, what is not chosen; returned with the reason."""
    # of a partitioned table's index a plan shows the parts only: those are not weighed, but proven
    whole = {name: b for name, b in built.items() if len(b.names) == 1}
    planner = Planner(runner.session, workload.search_path)
    what_if = choice.Built(runner.session, planner, {b.spec: b.qualified for b in whole.values()})
    standing = {b.spec for b in whole.values()}
    bounds = choice.Limits(
        bytes=limits.budget_bytes,
        seconds=min(choice.Limits().seconds, limits.seconds * CHOOSING_SHARE),
    )
    chosen = await choice.choose(
        what_if, workload, [c for c in candidates if c.spec in standing],
        {b.spec: b.size_bytes for b in whole.values()}, bounds,
        writes={c.spec: c.numbers.get("upkeep", 0.0) for c in candidates},
    )  # fmt: skip
    dropped = []
    for name, one in whole.items():
        if one.spec in chosen.specs:
            continue
        with statement_errors("dropping an index on the clone"):
            await runner.session.connection.execute(f"DROP INDEX {one.qualified}")
        del built[name]
        why = "others of the set do as much or more within the budget, by the planner's estimates"
        dropped.append(Dropped(one.spec, "not_chosen", why, one.size_bytes))
    return dropped
