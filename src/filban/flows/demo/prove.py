"""Name an index for a slow statement, build it, keep it only if executions show that it helps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from filban.flows.demo.news.traffic import Asked
from filban.flows.demo.plans import (
    Candidate,
    Execution,
    candidate,
    executed,
    planned,
    scans,
    uses_index,
    writes,
)
from filban.flows.demo.statements import Slow
from filban.flows.progress import Step
from filban.pg import Query, Session
from filban.pg.driver_errors import statement_errors

PACKAGE = "filban.flows.demo"
# Executions before and after; each with other arguments of the traffic, the same on both sides.
EXECUTIONS = 9
# An index that wins less is not worth its writes: what the peers call a clear win (Dexter's
# threshold; filban's index advice will prove it against the writes as well).
LEAST_SPEED_UP = 2.0


@dataclass(frozen=True, slots=True)
class Definition:
    """SQL of an index, quoted by the server."""

    name: str
    create_sql: str
    drop_sql: str
    qualified: str


@dataclass(frozen=True, slots=True)
class IndexSize:
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The median of `EXECUTIONS` executions, and how the tables were read."""

    median_ms: float
    median_blocks: int
    scans: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """One index, tried. `kept` is whether it is still there: used, and faster by LEAST_SPEED_UP."""

    statement: Asked
    index: Definition
    filter_text: str
    build_seconds: float
    size_bytes: int
    before: Measured
    after: Measured
    used: bool
    kept: bool

    @property
    def speed_up(self) -> float:
        return self.before.median_ms / max(self.after.median_ms, 0.001)


@dataclass(frozen=True, slots=True)
class Advice:
    """The first trial that helped, those that did not, and statements the rule has no index for."""

    proven: Trial | None
    rejected: tuple[Trial, ...]
    without: tuple[str, ...]


async def advise(session: Session, connection: Any, slow: Sequence[Slow], step: Step) -> Advice:
    """Go through the slowest statements until an index has proven itself.

    session: one that may create indexes; connection: one as the service has it. Raises
    StatementFailed, ConnectionLost.
    """
    rejected: list[Trial] = []
    without: list[str] = []
    with statement_errors("proving an index"):
        for number, each in enumerate(slow, 1):
            step.advance(number)
            plan = await planned(connection, each.asked)
            wanted = None if writes(plan) else candidate(plan)
            if wanted is None:
                without.append(each.asked.name)
                continue
            trial = await _try(session, connection, each.asked, wanted)
            if trial.kept:
                return Advice(trial, tuple(rejected), tuple(without))
            rejected.append(trial)
    return Advice(None, tuple(rejected), tuple(without))


async def _try(session: Session, connection: Any, asked: Asked, wanted: Candidate) -> Trial:
    columns, directions = zip(*wanted.keys, strict=True)
    index = await session.row(
        Query(PACKAGE, "index_ddl"), Definition, wanted.schema, wanted.table, columns, directions
    )
    before, _ = await _measure(connection, asked)
    started = time.perf_counter()
    await session.connection.execute(index.create_sql)
    seconds = time.perf_counter() - started
    after, runs = await _measure(connection, asked)
    size = await session.row(Query(PACKAGE, "index_size"), IndexSize, index.qualified)
    used = all(uses_index(run.plan, index.name) for run in runs)
    kept = used and before.median_ms >= LEAST_SPEED_UP * after.median_ms
    if not kept:
        await session.connection.execute(index.drop_sql)
    return Trial(
        asked, index, wanted.filter_text, seconds, size.size_bytes, before, after, used, kept
    )


async def _measure(connection: Any, asked: Asked) -> tuple[Measured, list[Execution]]:
    """Median over the statement's recorded arguments, after one execution that warms the cache."""
    await executed(connection, asked, asked.arguments[0])
    turns = (asked.arguments[n % len(asked.arguments)] for n in range(EXECUTIONS))
    runs = [await executed(connection, asked, arguments) for arguments in turns]
    middle = sorted(runs, key=lambda run: run.milliseconds)[len(runs) // 2]
    return Measured(
        statistics.median(run.milliseconds for run in runs),
        int(statistics.median(run.blocks for run in runs)),
        tuple(scans(middle.plan)),
    ), runs
