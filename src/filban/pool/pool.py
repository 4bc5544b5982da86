"""The pool: asyncpg's, with a direct hand-off, resets only where they are needed, and a memory.

`Pool` is a subclass of asyncpg's: what is not written here behaves as there.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg import pool as _asyncpg_pool

from filban.errors import LeasesHeld
from filban.pool import fork, resize, upkeep, where
from filban.pool.acquire import AcquireContext
from filban.pool.clean import Judge
from filban.pool.handoff import Handoff
from filban.pool.holder import Holder
from filban.pool.leaks import LeakReport, holding, report_dropped
from filban.pool.lease import Lease
from filban.pool.options import Callback, ResetMode, has_own_reset, leave, reset_mode
from filban.pool.reset import full_reset
from filban.pool.stats import Counters, PoolStats, collect
from filban.pool.waiting import NEVER, lease_slowly

if TYPE_CHECKING:
    from filban.pool.tags import Tags

logger = logging.getLogger("filban.pool")

# psycopg_pool's default; asyncpg waits for ever, which is how a leak becomes an outage.
ACQUIRE_TIMEOUT = 30.0
# A connection that was used within this time is taken to be alive (HikariCP: aliveBypassWindow is
# half a second, but its probe is a round trip on every other acquire).
PROBE_AFTER = 10.0

# Default names are the same after a restart, so that metrics do not grow with each.
_NUMBERS = itertools.count(1)


class Pool(_asyncpg_pool.Pool):
    """A pool of asyncpg connections; see `create_pool` for the arguments."""

    # asyncpg's, which its stubs leave out.
    _queue: Handoff
    _holders: list[Holder]
    _loop: asyncio.AbstractEventLoop
    _generation: int
    _minsize: int
    _maxsize: int
    _initsize: int
    _initialized: bool
    _closing: bool
    _closed: bool
    _setup: Any
    _reset: Any
    _max_queries: int
    _max_inactive_connection_lifetime: float
    _maintenance_task: asyncio.Task[None] | None
    _check_init: Callable[[], None]
    _schedule_min_size_maintenance: Callable[[], None]

    def __init__(
        self,
        *connect_args: Any,
        init_size: int | None = None,
        min_size: int = 10,
        max_size: int = 10,
        max_queries: int = 50_000,
        max_inactive_connection_lifetime: float = 300.0,
        connect: Callable[..., Awaitable[Any]] | None = None,
        setup: Callback | None = None,
        init: Callback | None = None,
        reset: ResetMode | Callback | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        connection_class: type[Any] = asyncpg.Connection,
        record_class: type[Any] = asyncpg.Record,
        acquire_timeout: float | None = ACQUIRE_TIMEOUT,
        max_waiters: int | None = None,
        max_age: float | None = None,
        probe_after: float | None = PROBE_AFTER,
        keepalive: float | None = None,
        leak_threshold: float | None = None,
        on_leak: Callable[[LeakReport], None] | None = None,
        name: str | None = None,
        tracer: Any = None,
        tags: Tags | None = None,
        **connect_kwargs: Any,
    ) -> None:
        if tracer is not None or tags is not None:
            from filban.pool.instrument import instrumented

            connection_class = instrumented(connection_class, tracer=tracer, tags=tags)
        mode, callback = reset_mode(reset, connection_class)
        super().__init__(
            *connect_args,
            init_size=min(min_size, max_size) if init_size is None else init_size,
            min_size=min_size,
            max_size=max_size,
            max_queries=max_queries,
            max_inactive_connection_lifetime=max_inactive_connection_lifetime,
            connect=connect,  # type: ignore[arg-type]
            setup=setup,  # type: ignore[arg-type]
            init=init,  # type: ignore[arg-type]
            reset=callback,
            loop=loop,
            connection_class=connection_class,
            record_class=record_class,
            **connect_kwargs,
        )
        if mode == "auto" or (
            mode == "always" and callback is None and not has_own_reset(connection_class)
        ):
            self._reset = self._full_reset
        elif mode == "never":
            self._reset = leave
        self._mode = mode
        self.always_dirty = mode == "always"
        self.acquire_timeout = acquire_timeout
        self.max_waiters = max_waiters
        self.max_age = max_age
        self.probe_after = probe_after
        self.leak_threshold = leak_threshold
        self.keepalive = keepalive
        self.on_leak = on_leak
        self.name = name or f"pool-{next(_NUMBERS)}"
        self.capture_depth = 1 if leak_threshold is None else where.DEPTH
        self.judge = Judge()
        self.counters = Counters()
        self._address = ""
        self._cut_off = ""  # who held a connection when the pool was terminated
        self._ready = False
        self._pid = os.getpid()
        self._errand: Callable[[Holder], Coroutine[Any, Any, None]] | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self.deadlocked = False  # as the last tick has seen it
        self._wake_at = NEVER  # when the expiry timer fires
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._tick_timer: asyncio.TimerHandle | None = None

    # -- opening and closing -----------------------------------------------------------------------

    async def _initialize(self) -> None:
        self._queue = Handoff()
        for _ in range(self._maxsize):
            self._add_holder()
        first, *others = reversed(self._holders[-self._initsize :]) if self._initsize else (None,)
        if first is not None:
            # The first one alone, so that what is wrong with the server is seen early and once.
            await first.connect()
            if self._mode == "auto":
                await upkeep.refresh(self, first)
            await asyncio.gather(*(holder.connect() for holder in others if holder is not None))
        self._queue.sort_out()

    def _add_holder(self) -> None:
        holder = Holder(
            self,
            max_queries=self._max_queries,
            max_inactive_time=self._max_inactive_connection_lifetime,
            setup=self._setup,
        )
        self._holders.append(holder)
        self._queue.empty.append(holder)

    async def _async__init__(self) -> Pool:
        opened = not self._initialized
        await super()._async__init__()  # type: ignore[misc]
        if opened:
            self._ready = True
            self._pid = os.getpid()
            fork.watch(self)
            upkeep.start(self)
        return self

    async def close(self, timeout: float | None = None) -> None:
        """Wait until every lease has been released, close the connections and the pool.

        timeout: seconds to wait for the leases; then every connection is terminated and LeasesHeld
        raised, which names who still holds one and where it was acquired.
        """
        if self._closed:
            return
        self._check_init()
        self._ready, self._closing = False, True
        self._queue.refuse_waiters(asyncpg.InterfaceError("pool is closing"))
        await self._stop_background()
        try:
            async with asyncio.timeout(timeout) as deadline:
                await super().close()
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise LeasesHeld(
                f"pool {self.name} closed after {timeout:g} s with connections still held: "
                f"{self._cut_off}",
                hint="release them before closing, or give close() more time",
            ) from error

    async def _stop_background(self) -> None:
        upkeep.stop(self)
        tasks = [t for t in self._background if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def terminate(self) -> None:
        """Terminate every connection at once; whoever waits is refused. A close() that still waits
        for leases ends by it."""
        self._ready = False
        self._cut_off = holding((h for h in self._holders if h._in_use), self._loop.time())
        upkeep.stop(self)
        for task in self._background:
            task.cancel()
        if isinstance(getattr(self, "_queue", None), Handoff):
            self._queue.refuse_waiters(asyncpg.InterfaceError("pool is closed"))
        super().terminate()

    # -- out ---------------------------------------------------------------------------------------

    def acquire(self, *, timeout: float | None = None) -> AcquireContext:
        """A connection, by `async with` or `await`.

        timeout: seconds for waiting and connecting; without it `acquire_timeout` for waiting.
        Raises PoolExhausted (a TimeoutError).
        """
        return AcquireContext(self, timeout, where.capture(sys._getframe(1), self.capture_depth))

    def lease_now(self, timeout: float | None, places: tuple[where.Place, ...]) -> Lease | None:
        """A lease at once, or None where something has to be awaited for it."""
        if not self._ready:
            self.refuse()
        idle = self._queue.idle
        if not idle or self._setup is not None:
            return None
        holder = idle[-1]
        now = self._loop.time()
        if not holder.is_good(now):
            return None
        del idle[-1]
        holder._timeout = timeout
        return holder.lend(now, places, asyncio.current_task(self._loop))

    async def _acquire(self, timeout: float | None) -> Lease:
        """Behind `await pool.acquire()` of asyncpg's."""
        places = where.capture(sys._getframe(1), self.capture_depth)
        lease = self.lease_now(timeout, places)
        return await lease_slowly(self, timeout, places) if lease is None else lease

    def refuse(self) -> None:
        """Raise what keeps the pool from lending: it is closed, closing, or another process's."""
        if os.getpid() != self._pid:
            raise asyncpg.InterfaceError(
                "this pool was opened in another process: a fork shares the sockets with its "
                "parent, so open the pool after it (in a post-fork or lifespan hook)"
            )
        if self._closing:
            raise asyncpg.InterfaceError("pool is closing")
        self._check_init()

    # -- in ----------------------------------------------------------------------------------------

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        """Give a connection back; a second time is no error."""
        if type(connection) is not Lease or connection._holder._pool is not self:
            raise asyncpg.InterfaceError(
                f"Pool.release() received invalid connection: {connection!r} is not a member of "
                "this pool"
            )
        if connection._c is None:
            return
        holder = connection._holder
        if holder.try_release():
            return
        self._check_init()
        self._learn(holder)
        connection._detach()._on_release()
        # Ended for its user, and nothing that the garbage collector could find and release again.
        holder.lease = None
        # A cancelled task still gives its connection back properly.
        await asyncio.shield(holder.release(holder._timeout if timeout is None else timeout))

    def stays_clean(self, holder: Holder) -> bool:
        """Whether the lease has certainly left the session as it found it."""
        if self._mode != "auto":
            return self._mode == "never"
        return not holder.dirty and all(map(self.judge.is_clean, holder.texts()))

    def _learn(self, holder: Holder) -> None:
        """Show the judge what ran: DDL among it makes it look at the catalogue again."""
        if self._mode == "auto":
            for text in holder.texts():
                self.judge.is_clean(text)

    async def _full_reset(self, con: Any) -> None:
        self.counters.resets_done += 1
        await full_reset(con)

    def take_back(self, holder: Holder) -> None:
        """A free holder: for an errand of the pool's own, the next waiter, or the shelf."""
        if holder.retired:
            resize.retire(self, holder)
            return
        errand = self._errand
        if errand is not None and self._ready and holder.is_connected():
            self._errand = None
            self.in_background(errand(holder))
            return
        self._queue.put_nowait(holder)

    def put_back(self, holder: Holder) -> None:
        """After an errand, which may have cost the connection."""
        self.take_back(holder)
        self._schedule_min_size_maintenance()

    def reclaim(self, holder: Holder, acquired_at: float) -> None:
        """A lease that nobody released and nobody has any more."""
        if holder.acquired_at != acquired_at or holder._in_use is None or self._closed:
            return
        self.counters.dropped += 1
        report_dropped(self, holder)
        self._learn(holder)
        if not holder.try_release():
            holder.dirty = True
            self.in_background(holder.release(None))

    # -- upkeep ------------------------------------------------------------------------------------

    def in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run an errand of the pool's own; close() waits for it."""
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(_retrieve)

    def on_idle(self, errand: Callable[[Holder], Coroutine[Any, Any, None]]) -> None:
        """Give the next connected holder that is free to `errand`, which puts it back."""
        holder = next((h for h in reversed(self._queue.idle) if h.is_connected()), None)
        if holder is None:
            self._errand = errand
        else:
            self._queue.remove([holder])
            self.in_background(errand(holder))

    async def _maintain_min_size(self) -> None:
        """asyncpg's task that restores min_size."""
        await upkeep.restore_floor(self)

    def look_after_idle(self) -> None:
        """Arm the timer that closes idle connections, unless it is."""
        if self._idle_timer is None and self._max_inactive_connection_lifetime and self._ready:
            upkeep.arm_idle(self)

    def resize(self, min_size: int, max_size: int) -> None:
        """Change the bounds of an open pool. Surplus connections go when they are free.

        Raises ValueError as create_pool does.
        """
        if max_size <= 0 or min_size < 0 or min_size > max_size:
            raise ValueError("0 <= min_size <= max_size and max_size > 0 is expected")
        self._check_init()
        resize.resize(self, min_size, max_size)

    def stats(self) -> PoolStats:
        """What the pool is at this moment and has done since it was opened."""
        return collect(self)

    def _server(self) -> str:
        con = next((h._con for h in self._holders if h.is_connected()), None)
        address = getattr(con, "_addr", None)
        if address is not None:  # kept: a pool without connections is still the same one
            self._address = ":".join(map(str, address)) if isinstance(address, tuple) else address
        return self._address

    # -- one statement without a lease in sight ----------------------------------------------------

    async def execute(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """Acquire, execute, release."""
        places = where.capture(sys._getframe(1), self.capture_depth)
        lease = self.lease_now(None, places) or await lease_slowly(self, None, places)
        try:
            return await lease.execute(query, *args, **kwargs)
        finally:
            if lease._c is not None and not lease._holder.try_release():
                await self.release(lease)

    async def fetch(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """Acquire, fetch, release."""
        places = where.capture(sys._getframe(1), self.capture_depth)
        lease = self.lease_now(None, places) or await lease_slowly(self, None, places)
        try:
            return await lease.fetch(query, *args, **kwargs)
        finally:
            if lease._c is not None and not lease._holder.try_release():
                await self.release(lease)

    async def fetchrow(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """Acquire, fetch a row, release."""
        places = where.capture(sys._getframe(1), self.capture_depth)
        lease = self.lease_now(None, places) or await lease_slowly(self, None, places)
        try:
            return await lease.fetchrow(query, *args, **kwargs)
        finally:
            if lease._c is not None and not lease._holder.try_release():
                await self.release(lease)

    async def fetchval(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """Acquire, fetch a value, release."""
        places = where.capture(sys._getframe(1), self.capture_depth)
        lease = self.lease_now(None, places) or await lease_slowly(self, None, places)
        try:
            return await lease.fetchval(query, *args, **kwargs)
        finally:
            if lease._c is not None and not lease._holder.try_release():
                await self.release(lease)


def _retrieve(task: asyncio.Task[Any]) -> None:
    """An errand that failed is said in the log; its connection is gone, the pool goes on."""
    if not task.cancelled() and task.exception() is not None:
        logger.warning("upkeep of a connection failed: %s", task.exception())


def create_pool(dsn: str | None = None, **kwargs: Any) -> Pool:
    """asyncpg's create_pool with the same arguments, and these:

    reset: "auto" (default) resets a session only if something in the lease may have changed it,
        "always" at every release, "never" not at all (open transactions are still rolled back); a
        coroutine function is asyncpg's own `reset=`, called every time.
    acquire_timeout: seconds to wait for a connection where acquire() names none (30); None waits
        for ever, as asyncpg does.
    max_waiters: tasks that may wait; the next is refused with PoolExhausted. None is no limit.
    max_age: seconds after which a connection is replaced, shortened at random by up to a fifth.
    probe_after: seconds of idleness after which a connection is probed before it is lent: alive,
        and of the same role as when it was opened (10). None never probes.
    keepalive: seconds of idleness after which an idle connection is probed in the background.
    leak_threshold: seconds after which a lease is reported once, with the stack that acquired it;
        on_leak is called with the LeakReport, and the logger "filban.pool" has it as a warning.
    name: the pool's, in statistics, errors and reports.
    tracer: an OpenTelemetry Tracer: a client span around each statement (`filban.pool.otel`).
    tags: a `filban.pool.tags.Tags`: where a statement comes from, as a comment at its end.
    """
    return Pool(dsn, **kwargs)


__all__ = ["AcquireContext", "Pool", "create_pool"]
