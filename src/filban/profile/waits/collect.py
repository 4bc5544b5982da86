"""Looking at a server's sessions, once or at a steady pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from filban.pg import Query, Session
from filban.pg.locks import lock_waits
from filban.profile.waits.rows import Sample, Seen

_PACKAGE = __package__ or ""
# The pace of Oracle's active session history: what a person notices lasts longer.
PERIOD_SECONDS = 1.0


async def sample(session: Session) -> Sample:
    """All sessions now, and the lock queues if somebody is in one.

    The locks are read only when a session waits for one, or may where this role does not see it:
    pg_locks and pg_blocking_pids stop all other lock traffic for a moment. Raises RightsMissing,
    StatementFailed, ConnectionLost.
    """
    seen = await session.rows(Query(_PACKAGE, "sessions"), Seen)
    queued = any(s.hidden or s.wait_event_type == "Lock" for s in seen)
    waits = await lock_waits(session) if queued else []
    return Sample(datetime.now(UTC), tuple(seen), tuple(waits))


async def samples(
    session: Session, seconds: float | None = None, every: float = PERIOD_SECONDS
) -> AsyncIterator[Sample]:
    """A sample each `every` seconds, the first at once, for `seconds` or until it is left."""
    started = time.monotonic()
    turn = 0
    while seconds is None or turn * every < seconds:
        yield await sample(session)
        # a look that took longer leaves turns out; they are not made up for
        turn = max(turn + 1, int((time.monotonic() - started) / every))
        await asyncio.sleep(max(0.0, started + turn * every - time.monotonic()))
