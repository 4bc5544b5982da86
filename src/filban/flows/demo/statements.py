"""Which statements take the time: by pg_stat_statements, else by the client's own clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from filban.flows.demo.news.traffic import Asked, Ran
from filban.flows.demo.plans import query_id
from filban.pg import Cap, Session
from filban.profile.statements import Snapshot, by_statement, delta, take

Source = Literal["pg_stat_statements", "the client's clock"]


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


async def counted(session: Session) -> Snapshot | None:
    """pg_stat_statements as it stands; None where it is not installed.

    Two readings are compared, because a reset would take away what others rely on.
    """
    return await take(session) if session.server.has(Cap.STATEMENTS) else None


async def slowest(session: Session, connection: Any, before: Snapshot | None, ran: Ran) -> Slowest:
    """Rank the traffic's statements by the time they took since `before`.

    connection: one as the service has it, on which its statements are planned.
    """
    if before is None:
        totals = ((a, len(a.seconds), 1000 * sum(a.seconds)) for a in ran.statements)
        return Slowest("the client's clock", _ranked(totals))
    grown = by_statement(delta(before, await take(session)).entries)
    by_id = {query: counts for (_, query), counts in grown.items()}
    asked = [(each, by_id.get(await query_id(connection, each))) for each in ran.statements]
    on_server = ((each, counts.calls, counts.exec_ms) for each, counts in asked if counts)
    return Slowest("pg_stat_statements", _ranked(on_server))


def _ranked(totals: Iterable[tuple[Asked, int, float]]) -> tuple[Slow, ...]:
    found = [(asked, calls, total) for asked, calls, total in totals if calls]
    whole = sum(total for _, _, total in found) or 1.0
    ranked = sorted(found, key=lambda each: -each[2])
    return tuple(Slow(asked, calls, total, total / whole) for asked, calls, total in ranked)
