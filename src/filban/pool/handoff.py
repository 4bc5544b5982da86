"""Who gets the next connection: the longest waiter, directly, else the one used last.

A released connection goes straight to the task that has waited longest; it never lies in a queue
where a newcomer could take it first (no barging). Without waiters the connection used last is
taken first, so that the surplus grows idle and can be closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filban.pool.holder import Holder


# What a task waits for, the loop's time at which it gives up (infinity: never), and the task. A
# bare tuple: it is made for every acquire from a pool that is fully used.
Waiter = tuple["asyncio.Future[Holder]", float, "asyncio.Task[Any] | None"]


class Expired(Exception):
    """A waiter's time is up."""


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
            future = waiters.popleft()[0]
            if not future.done():
                future.set_result(holder)
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
            future = self.waiters.popleft()[0]
            if not future.done():
                future.set_exception(error)

    def forget(self, future: asyncio.Future[Holder]) -> None:
        """Take a waiter out that has given up or was cancelled."""
        for waiter in self.waiters:
            if waiter[0] is future:
                self.waiters.remove(waiter)
                return

    def expire(self, now: float) -> float:
        """End the waits whose time is up; the time of the next one, infinity when there is none."""
        following = float("inf")
        for future, deadline, _ in self.waiters:
            if deadline <= now:
                if not future.done():
                    future.set_exception(Expired())
            elif deadline < following:
                following = deadline
        return following

    def waiting(self) -> int:
        """How many tasks wait. A copy: an exporter's thread may ask."""
        return sum(not waiter[0].done() for waiter in tuple(self.waiters))
