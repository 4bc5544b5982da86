"""What the current task, request or user has written: the token that its next reads bring along."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from filban.pool.routing.node import Node, Waiter
from filban.pool.routing.tokens import UNKNOWN_LSN, Token, end_of_record, newest


@dataclass(slots=True)
class Pending:
    """A write outside of a transaction: its position is asked for when somebody needs it."""

    node: Node
    timeline: int
    since: float  # monotonic seconds: any position asked for later covers the write

    async def position(self, seconds: float) -> Token:
        """A position past the write."""
        done: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        waiter = Waiter(None, self.since, done)
        with self.node.expecting(waiter), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await done
        where = self.node.position
        if self.node.asked_at < self.since or where is None or where.insert_lsn is None:
            return self.unknown()
        # With synchronous_commit=off the flushed position may precede the write.
        lsn = end_of_record(where.insert_lsn, where.wal_block_bytes, where.wal_segment_bytes)
        return Token(where.system, where.timeline or 0, lsn, where.next_xid)

    def unknown(self) -> Token:
        """The token where nobody can be asked any more: only the primary can answer it."""
        system = self.node.position.system if self.node.position else 0
        return Token(system, self.timeline, UNKNOWN_LSN)


@dataclass(slots=True)
class Session:
    """Shared by all tasks that inherit it: a write in one is seen by reads in the others.

    route: names the request's route, which the middleware that opens a session does not know yet.
    """

    token: Token | None = None
    pending: Pending | None = None
    route: Callable[[], str | None] | None = None

    def wrote(self, token: Token) -> None:
        self.token = newest(self.token, token)

    def wrote_outside(self, node: Node, timeline: int, since: float) -> None:
        """A write whose position is not known yet. One on another server, before, will not be."""
        before = self.pending
        if before is not None and (before.node, before.timeline) != (node, timeline):
            self.wrote(before.unknown())
        self.pending = Pending(node, timeline, since)

    async def settle(self, seconds: float) -> None:
        """Ask where the log stands now, past the write whose position is not known. If its server
        does not say within so many seconds, nobody will know."""
        pending = self.pending
        if pending is None:
            return
        token = await pending.position(seconds)
        self.wrote(token)
        if self.pending is pending:
            self.pending = None


_current: ContextVar[Session | None] = ContextVar("filban_session", default=None)


def current() -> Session:
    """The session of this context; one of its own for a task outside of any."""
    found = _current.get()
    if found is None:
        found = Session()
        _current.set(found)
    return found


@contextlib.contextmanager
def session(token: Token | None = None) -> Iterator[Session]:
    """A session of its own for a block, as a request has. `token`: what its user wrote before."""
    opened = Session(token)
    reset = _current.set(opened)
    try:
        yield opened
    finally:
        _current.reset(reset)
