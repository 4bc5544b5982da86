"""Looking at a server, and sending one of its sessions a signal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from filban.pg import Query, Session
from filban.pg.locks import lock_waits
from filban.profile.top.rows import Counters, Io, Look, Replica, Running, Sent

_PACKAGE = __package__ or ""
Verb = Literal["cancel", "terminate"]


async def look(session: Session) -> Look:
    """Everything now. Raises RightsMissing, StatementFailed, ConnectionLost.

    The locks are read only when a session waits for one, or may where this role does not see it:
    pg_locks and pg_blocking_pids stop all other lock traffic for a moment.
    """
    sessions = await session.rows(Query(_PACKAGE, "sessions"), Running)
    queued = any(s.hidden or s.wait_event_type == "Lock" for s in sessions)
    return Look(
        at=datetime.now(UTC),
        sessions=tuple(sessions),
        waits=tuple(await lock_waits(session)) if queued else (),
        counters=await session.row(Query(_PACKAGE, "counters"), Counters),
        io=await session.row(Query(_PACKAGE, "io"), Io),
        replicas=tuple(await session.rows(Query(_PACKAGE, "replicas"), Replica)),
    )


async def signal(session: Session, verb: Verb, target: Running) -> bool:
    """Cancel a session's statement, or end the session; False when it has gone already.

    Raises RightsMissing (it takes pg_signal_backend, for a superuser's session a superuser),
    StatementFailed, ConnectionLost.
    """
    found = await session.rows(Query(_PACKAGE, verb), Sent, target.pid, target.backend_start)
    return any(row.sent for row in found)
