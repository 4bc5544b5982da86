"""Which statements take the time: by pg_stat_statements, else by the client's own clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from filban.flows.demo.news.traffic import Asked, Ran
from filban.flows.demo.plans import query_id
from filban.pg import Cap, Query, Session

PACKAGE = "filban.flows.demo"
Source = Literal["pg_stat_statements", "the client's clock"]


@dataclass(frozen=True, slots=True)
class Counted:
    """One row of pg_stat_statements: totals since it was last reset."""

    queryid: int
    query: str
    calls: int
    total_ms: float
    rows: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Slow:
    """One statement of the traffic. share_ratio: its part of the time of all statements, 0..1.

    asked: the same statement as the client sent it, with arguments to execute it again.
    """

    asked: Asked
    calls: int
    total_ms: float
    share_ratio: float

    @property
    def mean_ms(self) -> float:
        return self.total_ms / self.calls


@dataclass(frozen=True, slots=True)
class Slowest:
    """The traffic's statements, the largest total time first, and who measured it."""

    source: Source
    statements: tuple[Slow, ...]


async def counted(session: Session) -> dict[int, Counted]:
    """pg_stat_statements as it stands; empty where it is not installed.

    Two readings are compared, because a reset would take away what others rely on.
    """
    if not session.server.has(Cap.STATEMENTS):
        return {}
    rows = await session.rows(Query(PACKAGE, "statements"), Counted)
    return {row.queryid: row for row in rows}


async def slowest(
    session: Session, connection: Any, before: Mapping[int, Counted], ran: Ran
) -> Slowest:
    """Rank the traffic's statements by the time they took since `before`.

    connection: one as the service has it, on which its statements are planned.
    """
    if not session.server.has(Cap.STATEMENTS):
        totals = ((a, len(a.seconds), 1000 * sum(a.seconds)) for a in ran.statements)
        return Slowest("the client's clock", _ranked(totals))
    after = await counted(session)
    totals_on_server = []
    for asked in ran.statements:
        identity = await query_id(connection, asked)
        now, then = after.get(identity), before.get(identity)
        if now is not None:
            calls = now.calls - (then.calls if then else 0)
            totals_on_server.append((asked, calls, now.total_ms - (then.total_ms if then else 0)))
    return Slowest("pg_stat_statements", _ranked(totals_on_server))


def _ranked(totals: Iterable[tuple[Asked, int, float]]) -> tuple[Slow, ...]:
    found = [(asked, calls, total) for asked, calls, total in totals if calls]
    whole = sum(total for _, _, total in found) or 1.0
    ranked = sorted(found, key=lambda each: -each[2])
    return tuple(Slow(asked, calls, total, total / whole) for asked, calls, total in ranked)
