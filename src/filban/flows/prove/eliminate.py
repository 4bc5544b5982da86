"""Backward elimination by real runs: members of a set that do not pay go, one after the other.

An estimate says which indexes the planner would take, an execution which it should have: so a
member goes that no plan has, then one through which a statement became slower, then one without
which its statements take as long. What is left has paid in executions.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from filban.errors import StatementFailed
from filban.flows.progress import Step
from filban.flows.prove.execute import Runner, members, used
from filban.flows.prove.measure import SAME_HIGH, Hidden, compare
from filban.flows.prove.rows import (
    Built,
    Compared,
    Dropped,
    Limits,
    RefusedStatement,
    WhyDropped,
    WriteCost,
)
from filban.flows.prove.writes import write_cost
from filban.index.advice import Statement
from filban.index.advice.planning import printed_name
from filban.pg.driver_errors import statement_errors
from filban.units import size

# Saving less than this of its statements' time is not worth an index to look after: executions of
# the same plan differ by as much (see measure.SAME_HIGH).
LEAST_SAVING = 0.05
# A slowdown below this is nothing that anybody waits for, and within the clock's noise.
LEAST_LOSS_MS = 0.05

Key = tuple[str, frozenset[str], frozenset[str], tuple[str, ...]]


@dataclass(slots=True)
class Trial:
    """A set on the clone, as it shrinks. replaces: per member the existing indexes (as SQL has
    them) that go when it stays; "" for those that go in any case. staying: of these, the ones that
    a statement turned out to need."""

    runner: Runner
    limits: Limits
    reads: list[Statement]
    writes: list[Statement]
    kept: dict[str, Built]
    replaces: Mapping[str, tuple[str, ...]]
    deadline: float
    step: Step
    dropped: list[Dropped] = field(default_factory=list)
    refused: list[RefusedStatement] = field(default_factory=list)
    compared: dict[str, Compared] = field(default_factory=dict)
    write_costs: list[WriteCost] = field(default_factory=list)
    complete: bool = True
    known: dict[Key, Compared] = field(default_factory=dict)
    staying: set[str] = field(default_factory=set)

    @property
    def drops(self) -> tuple[str, ...]:
        """Existing indexes that would go beside what is kept now."""
        gone = [x for name in ("", *self.kept) for x in self.replaces.get(name, ())]
        return tuple(x for x in dict.fromkeys(gone) if x not in self.staying)

    async def settle(self) -> None:
        """Until every member has paid, or the time is over."""
        while await self._round() or await self._too_large():
            pass
        while await self._writes_round():
            pass

    # Reads

    async def _round(self) -> bool:
        """Measure what the set does now; drop one member that fails. Whether one did."""
        uses = await self._uses(())
        self.compared = {}
        for statement in self.reads:
            if uses[statement.id] or await self._changed(statement):
                found = await self._compare(statement, frozenset(), uses[statement.id])
                if found is not None:
                    self.compared[statement.id] = found
        if await self._heal() or await self._not_paying(uses):
            return True
        for name in _unused(self.kept, uses):
            await self._drop(name, "not_used", "no statement's plan has it")
        return False

    async def _uses(self, without: Sequence[str]) -> dict[str, frozenset[str]]:
        """Per reading statement the members that its plans have, one member perhaps hidden."""
        found: dict[str, frozenset[str]] = {}
        async with self.runner.without([*self.drops, *without]):
            for statement in self.reads:
                names: set[str] = set()
                for text in statement.examples:
                    names |= members(await self.runner.plan(text), self.kept.values())
                found[statement.id] = frozenset(names)
        return found

    async def _changed(self, statement: Statement) -> bool:
        """Whether a statement that uses no member loses an index that the plan takes away."""
        if not self.drops:
            return False
        bare = {printed_name(name) for name in self.drops}
        return any([used(await self.runner.plan(text)) & bare for text in statement.examples])

    async def _compare(
        self, statement: Statement, without: frozenset[str], uses: frozenset[str]
    ) -> Compared | None:
        """Measured once for each pair of (members that are there before, members used after)."""
        key = (statement.id, without, uses, self.drops)
        if key in self.known:
            return self.known[key]
        if time.monotonic() > self.deadline:
            self.complete = False
            return None
        hidden = [b.qualified for name, b in self.kept.items() if name not in without]
        try:
            found = await compare(
                self.runner, statement, Hidden(tuple(hidden), self.drops), self.limits,
                self.kept.values(),
            )  # fmt: skip
        except StatementFailed as error:
            self._refuse(statement, error.message)
            return None
        self.step.advance(self.runner.executed)
        self.known[key] = found
        return found

    def _refuse(self, statement: Statement, why: str) -> None:
        self.refused.append(RefusedStatement(statement, why))
        self.reads = [s for s in self.reads if s.id != statement.id]
        self.writes = [s for s in self.writes if s.id != statement.id]

    async def _heal(self) -> bool:
        """Drop a member through which a statement is surely slower: of those it uses the one that
        brings least elsewhere."""
        for found in self.compared.values():
            lost = found.after.cost - found.before.cost
            if found.ratio.low <= SAME_HIGH or lost <= LEAST_LOSS_MS:
                continue
            if missed := self._missed(found):
                self.staying |= missed
                return True
            if found.indexes:
                worst = min(found.indexes, key=self._gain)
                await self._drop(
                    worst, "slows_down",
                    f"through it a statement takes {found.ratio.value:.2f} times as long: "
                    f"{found.statement.sql[:120]}",
                )  # fmt: skip
                return True
        return False

    def _missed(self, found: Compared) -> set[str]:
        """The existing indexes that it used before and that the plan takes away: they stay."""
        names = used(found.before.plan)
        return {name for name in self.drops if printed_name(name) in names}

    async def _not_paying(self, uses: dict[str, frozenset[str]]) -> bool:
        """Drop the first member, the least useful first, without which nothing becomes slower."""
        used_ones = self.kept.keys() - set(_unused(self.kept, uses))
        for name in sorted(used_ones, key=lambda n: (self._gain(n), -self.kept[n].size_bytes, n)):
            theirs = [s for s in self.reads if name in uses[s.id]]
            detail = await self._idle(name, theirs, uses)
            if detail:
                unmeasured = not any(s.id in self.compared for s in theirs)
                await self._drop(name, "not_measured" if unmeasured else "does_not_pay", detail)
                return True
        return False

    async def _idle(
        self, name: str, theirs: Sequence[Statement], uses: dict[str, frozenset[str]]
    ) -> str:
        """Why a member does not pay, or ""."""
        # a smaller one that no plan has yet may do as well; a larger one is not waited for
        own = self.kept[name].size_bytes
        larger = [n for n in _unused(self.kept, uses) if self.kept[n].size_bytes >= own]
        hidden = [self.kept[n].qualified for n in (name, *larger)]
        instead = await self._uses(hidden) if len(self.kept) > len(hidden) else {}
        with_it = without_it = 0.0
        sure = False
        for statement in theirs:
            # only members that step in count: against none of them it is measured already
            rest = instead.get(statement.id, frozenset())
            found = await self._compare(statement, rest, uses[statement.id])
            if found is None:
                continue
            with_it += statement.calls * found.after.cost
            without_it += statement.calls * found.before.cost
            sure = sure or found.ratio.high < 1 - LEAST_SAVING
        if without_it == 0:
            return "none of its statements could be measured in the time that was allowed"
        saving = 1 - with_it / without_it
        if saving >= LEAST_SAVING and sure:
            return ""
        return (
            f"it saves {saving:.1%} of its statements' time"
            if saving < LEAST_SAVING
            else f"that it saves {saving:.1%} is within the error of the measurement"
        )

    async def _too_large(self) -> bool:
        """Drop the member that brings least for its size while the set exceeds the budget."""
        budget, total = self.limits.budget_bytes, sum(b.size_bytes for b in self.kept.values())
        if budget is None or total <= budget:
            return False
        worst = min(self.kept, key=lambda n: self._gain(n) / max(self.kept[n].size_bytes, 1))
        await self._drop(worst, "budget", f"{size(total)} in all, and {size(budget)} are allowed")
        return True

    def _gain(self, name: str) -> float:
        """What the statements that use a member gain, in ms of all their calls."""
        return sum(c.gain_ms for c in self.compared.values() if name in c.indexes)

    # Writes

    async def _writes_round(self) -> bool:
        """Measure the writes; drop a member of a table where they cost more than its reads gain."""
        self.write_costs = []
        if not self.kept:
            return False
        hidden = Hidden(tuple(b.qualified for b in self.kept.values()), self.drops)
        tables = {built.spec.on for built in self.kept.values()}
        for statement in list(self.writes):
            if not tables & set(statement.tables) or time.monotonic() > self.deadline:
                continue
            try:
                self.write_costs.append(
                    await write_cost(self.runner, statement, hidden, self.limits)
                )
            except StatementFailed as error:
                self._refuse(statement, error.message)
            self.step.advance(self.runner.executed)
        return await self._too_dear(tables)

    async def _too_dear(self, tables: set[str]) -> bool:
        for table in sorted(tables):
            members = [name for name, built in self.kept.items() if built.spec.on == table]
            lost = sum(
                w.loss_ms
                for w in self.write_costs
                if table in w.statement.tables and w.ratio.low > 1.0
            )
            gained = sum(c.gain_ms for c in self.compared.values() if set(members) & set(c.indexes))
            if members and lost > gained:
                worst = min(members, key=self._gain)
                await self._drop(
                    worst, "writes",
                    f"writes of {table} lose {lost:,.0f} ms by its indexes, its reads gain "
                    f"{gained:,.0f} ms",
                )  # fmt: skip
                while await self._round():
                    pass
                return True
        return False

    async def _drop(self, name: str, why: WhyDropped, detail: str) -> None:
        built = self.kept.pop(name)
        self.dropped.append(Dropped(built.spec, why, detail, built.size_bytes))
        with statement_errors("dropping an index on the clone"):
            await self.runner.session.connection.execute(f"DROP INDEX {built.qualified}")


def _unused(kept: Iterable[str], uses: Mapping[str, frozenset[str]]) -> list[str]:
    """Members that no statement's plan has."""
    return [name for name in kept if not any(name in names for names in uses.values())]
