"""What a set of indexes costs: INSERT, UPDATE and DELETE replayed and rolled back."""

from __future__ import annotations

from dataclasses import dataclass

from filban.errors import StatementFailed
from filban.flows.prove.execute import Runner
from filban.flows.prove.measure import Hidden, in_turns, side
from filban.flows.prove.rows import Limits, WriteCost
from filban.index.advice import Statement
from filban.pg import Query

PACKAGE = "filban.flows.prove"
_FOREIGN_KEY = "23503"  # errcodes-appendix: foreign_key_violation


@dataclass(frozen=True, slots=True)
class Updates:
    """Of this transaction; see updates.sql."""

    updated: int
    hot: int


async def write_cost(
    runner: Runner, statement: Statement, hidden: Hidden, limits: Limits
) -> WriteCost:
    """Measure a writing statement with and without the indexes. Raises StatementFailed …

    Values that come from statistics need not fit a foreign key: then it is measured without.
    """
    try:
        return await _measured(runner, statement, hidden, limits)
    except StatementFailed as error:
        if error.sqlstate != _FOREIGN_KEY:
            raise
    async with runner.unchecked():
        return await _measured(runner, statement, hidden, limits)


async def _measured(
    runner: Runner, statement: Statement, hidden: Hidden, limits: Limits
) -> WriteCost:
    pairs = await in_turns(runner, statement.examples, hidden, limits)
    return WriteCost(
        statement, side(pairs.before), side(pairs.after), pairs.ratio, len(pairs.before),
        await _hot(runner, statement, hidden.before), await _hot(runner, statement, hidden.after),
    )  # fmt: skip


async def _hot(runner: Runner, statement: Statement, hidden: tuple[str, ...]) -> float | None:
    """The share of its updates that were heap-only. Counted inside the transaction, in which the
    counters of a savepoint that was rolled back stay."""
    async with runner.without(hidden):
        before = await runner.session.row(Query(PACKAGE, "updates"), Updates)
        for text in statement.examples:
            await runner.execute(text)
        after = await runner.session.row(Query(PACKAGE, "updates"), Updates)
    updated = after.updated - before.updated
    return (after.hot - before.hot) / updated if updated else None
