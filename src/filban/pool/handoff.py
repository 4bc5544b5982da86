"""Who gets the next connection: the longest waiter, directly, else the one used last.

A released connection goes straight to the task that has waited longest; it never lies in a queue
where a newcomer could take it first (no barging). Without waiters the connection used last is
taken first, so that the surplus grows idle and can be closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filban.pool.holder import Holder


class Waiter(asyncio.Future["Holder"]):
    """A task that waits for a connection, since when, and which task it is."""

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object] | None) -> None:
        super().__init__(loop=loop)
        self.task = task
        self.since = loop.time()


class Handoff:
    """The free holders of a pool: `idle` have a connection, `empty` have none; and the waiters.

    It has the few methods that asyncpg's own pool code calls on its queue.
    """

    __slots__ = ("empty", "idle", "waiters")

    def __init__(self) -> None:
        self.idle: list[Holder] = []
        self.empty: list[Holder] = []
        self.waiters: deque[Waiter] = deque()

    def qsize(self) -> int:
        """How many holders are free, connected or not."""
        return len(self.idle) + len(self.empty)

    def put_nowait(self, holder: Holder) -> None:
        """Hand a holder to the longest waiter, or keep it."""
        waiters = self.waiters
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(holder)
                return
        if holder.is_connected():
            self.idle.append(holder)
        else:
            self.empty.append(holder)

    def take_nowait(self) -> Holder | None:
        """A free holder, a connected one if there is any."""
        while self.idle:
            holder = self.idle.pop()
            if holder.is_connected():
                return holder
            self.empty.append(holder)
        return self.empty.pop() if self.empty else None

    def get_disconnected_nowait(self) -> Holder:
        """A free holder without a connection. Raises QueueEmpty, as asyncpg's queue does."""
        self.sort_out()
        if not self.empty:
            raise asyncio.QueueEmpty
        return self.empty.pop()

    def sort_out(self) -> None:
        """Put each free holder where its connection's state says that it belongs."""
        free = [*self.empty, *self.idle]
        self.idle = [h for h in free if h.is_connected()]
        self.empty = [h for h in free if not h.is_connected()]

    def remove(self, holders: Iterable[Holder]) -> None:
        """Take certain free holders out."""
        gone = set(holders)
        self.idle = [h for h in self.idle if h not in gone]
        self.empty = [h for h in self.empty if h not in gone]

    def refuse_waiters(self, error: BaseException) -> None:
        """Fail everybody who waits."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_exception(error)
