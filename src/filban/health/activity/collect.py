"""Reading sessions, locks and prepared transactions of one server."""

from __future__ import annotations

from filban.health.activity import rules
from filban.health.activity.connections import ConnectionThresholds, near_limit
from filban.health.activity.locks import LockThresholds, blocked
from filban.health.activity.rows import (
    ConnectionUse,
    HorizonHolder,
    PreparedTransaction,
    Transaction,
)
from filban.pg import Query, Session
from filban.pg.check import Hidden, Outcome
from filban.pg.locks import lock_waits

_PACKAGE = __package__ or ""
OTHERS = Hidden("what other roles' sessions do (state, duration, query)")


async def connections(session: Session, limits: ConnectionThresholds) -> Outcome:
    """connections.near_limit."""
    uses = await session.rows(
        Query(_PACKAGE, "connections"), ConnectionUse, limits.idle_connection_seconds
    )
    server = next(u for u in uses if u.scope == "server")
    return Outcome(
        findings=tuple(near_limit(uses, limits, session.server.managed_by)),
        facts={"connections": server.used, "connections_allowed": server.allowed},
        hidden=(OTHERS,) if server.hidden else (),
    )


async def transactions(session: Session, limits: rules.TransactionThresholds) -> Outcome:
    """connection.idle_in_transaction and transaction.long."""
    found = await session.rows(
        Query(_PACKAGE, "transactions"), Transaction, float(limits.shortest_at_work())
    )
    holders = await session.rows(Query(_PACKAGE, "horizon"), HorizonHolder)
    return Outcome(
        findings=(
            *rules.idle_in_transaction(found, limits),
            *rules.long_transaction(found, limits),
            *rules.held_horizon(holders, limits),
        )
    )


async def prepared(session: Session, limits: rules.PreparedThresholds) -> Outcome:
    """prepared.orphaned. A standby cannot roll one back: its primary reports it."""
    if session.server.in_recovery:
        return Outcome()
    return Outcome(tuple(rules.orphaned(await _prepared(session), limits)))


async def locks(session: Session, limits: LockThresholds) -> Outcome:
    """lock.blocked."""
    waits = await lock_waits(session)
    owners = await _prepared(session) if any(w.prepared_gids for w in waits) else []
    return Outcome(tuple(blocked(waits, owners, limits)))


async def _prepared(session: Session) -> list[PreparedTransaction]:
    return await session.rows(Query(_PACKAGE, "prepared"), PreparedTransaction)
