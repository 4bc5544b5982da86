"""A statement before and after, in turns, as often as its variance asks for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from filban.errors import StatementFailed
from filban.flows.prove.execute import Runner, members
from filban.flows.prove.intervals import Interval, ratio
from filban.flows.prove.rows import Built, Compared, Execution, Limits, Side
from filban.index.advice import Statement

# What is called the same: machines and caches differ by as much from one run to the next.
SAME_LOW, SAME_HIGH = 1 / 1.1, 1.1
_CANCELLED = "57014"


@dataclass(frozen=True, slots=True)
class Hidden:
    """Which indexes (as SQL has them) are not there on each side."""

    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Executions of both sides, one after the other."""

    before: tuple[Execution, ...]
    after: tuple[Execution, ...]

    @property
    def ratio(self) -> Interval:
        return ratio([e.cost for e in self.before], [e.cost for e in self.after])

    @property
    def timed_out(self) -> bool:
        return any(e.timed_out for e in (*self.before, *self.after))


async def compare(
    runner: Runner, statement: Statement, hidden: Hidden, limits: Limits, trial: Collection[Built]
) -> Compared:
    """Measure a statement. trial: the indexes that are on trial. Raises StatementFailed …"""
    pairs = await in_turns(runner, statement.examples, hidden, limits)
    before, after = side(pairs.before), side(pairs.after)
    seen = set().union(*(members(e.plan, trial) for e in pairs.after))
    return Compared(
        statement, before, after, pairs.ratio, len(pairs.before), tuple(sorted(seen)),
        pairs.timed_out,
    )  # fmt: skip


async def in_turns(
    runner: Runner, examples: Sequence[str], hidden: Hidden, limits: Limits
) -> Pairs:
    """Pairs of executions: the same example on both sides, the side that comes first in turns.

    One pair more than is counted comes first and fills the caches. Ends when the interval of the
    ratio is narrow, or lies clearly on one side of "the same".
    """
    before: list[Execution] = []
    after: list[Execution] = []
    for number in range(-1, limits.most_pairs):
        text = examples[max(number, 0) % len(examples)]
        pair = await _pair(runner, text, hidden, turned=number % 2 == 1)
        if number < 0 and not _slow(pair):
            continue
        before.append(pair[0])
        after.append(pair[1])
        if pair[0].timed_out or pair[1].timed_out or _enough(before, after, limits, examples):
            break
    return Pairs(tuple(before), tuple(after))


# Where it is decided already, the interval is narrowed to a factor of two for who reads it.
_NARROW = math.log(2.0)
# An execution of this length is not made twice just to fill the caches.
_SLOW_MS = 2_000.0


def _slow(pair: tuple[Execution, Execution]) -> bool:
    return max(e.ms for e in pair) > _SLOW_MS


def _enough(
    before: Sequence[Execution],
    after: Sequence[Execution],
    limits: Limits,
    examples: Sequence[str],
) -> bool:
    """Each example was there, and more pairs would not change what is said."""
    if len(before) < max(limits.least_pairs, min(len(examples), limits.most_pairs)):
        return False
    found = ratio([e.cost for e in before], [e.cost for e in after])
    if found.within(SAME_LOW, SAME_HIGH) or _width(found) < 2 * math.log(SAME_HIGH):
        return True
    decided = found.excludes(SAME_LOW, SAME_HIGH)
    return decided and (_slow((before[-1], after[-1])) or _width(found) < _NARROW)


def _width(found: Interval) -> float:
    return math.log(found.high / max(found.low, 1e-9))


async def _pair(
    runner: Runner, text: str, hidden: Hidden, *, turned: bool
) -> tuple[Execution, Execution]:
    if turned:
        second = await once(runner, text, hidden.after)
        return await once(runner, text, hidden.before), second
    first = await once(runner, text, hidden.before)
    return first, await once(runner, text, hidden.after)


# Of executions that take less, the quickest of several counts: what an index that was just hidden
# has thrown out of the session's caches, or a timer interrupt, is as long as they are.
_QUICK_MS = 5.0
_QUICK_RUNS = 5


async def once(
    runner: Runner, text: str, hidden: Sequence[str], *, cold: bool = False
) -> Execution:
    """One execution without the hidden indexes; the timeout stands for one that took longer.

    cold: really one, also of a quick statement.
    """
    async with runner.without(hidden):
        try:
            done = await runner.execute(text)
            if cold or done.ms > _QUICK_MS:
                return done
            more = [await runner.execute(text) for _ in range(_QUICK_RUNS - 1)]
            return min([done, *more], key=lambda e: e.cost)
        except StatementFailed as error:
            if error.sqlstate != _CANCELLED:
                raise
            return runner.timed_out(await runner.plan(text))


def side(executions: Sequence[Execution]) -> Side:
    """Means of one side."""
    cpu = [e.cpu_ms for e in executions if e.cpu_ms is not None]
    return Side(
        ms=statistics.fmean(e.ms for e in executions),
        cpu_ms=statistics.fmean(cpu) if len(cpu) == len(executions) else None,
        blocks=statistics.fmean(e.blocks for e in executions),
        wal_bytes=statistics.fmean(e.wal_bytes for e in executions),
        plan=executions[-1].plan,
    )
