"""The pool: asyncpg's, with a direct hand-off, resets only where they are needed, and a memory.

`Pool` is a subclass of asyncpg's: what is not written here behaves as there.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
from asyncpg import pool as _asyncpg_pool

from filban.errors import LeasesHeld, PoolExhausted
from filban.pool import upkeep, where
from filban.pool.clean import Judge
from filban.pool.context import route
from filban.pool.handoff import Expired, Handoff
from filban.pool.holder import Holder
from filban.pool.leaks import LeakReport, holding, report_dropped
from filban.pool.lease import MANY, Lease
from filban.pool.reset import full_reset
from filban.pool.stats import Counters, PoolStats

if TYPE_CHECKING:
    from types import TracebackType

    from filban.pool.tags import Tags

logger = logging.getLogger("filban.pool")

# psycopg_pool's default; asyncpg waits for ever, which is how a leak becomes an outage.
ACQUIRE_TIMEOUT = 30.0
# A connection that was used within this time is taken to be alive (HikariCP: aliveBypassWindow is
# half a second, but its probe is a round trip on every other acquire).
PROBE_AFTER = 10.0

_NEVER = float("inf")
# Default names are the same after a restart, so that metrics do not grow with each.
_NUMBERS = itertools.count(1)

ResetMode = Literal["auto", "always", "never"]
Callback = Callable[[Any], Awaitable[None]]


class Pool(_asyncpg_pool.Pool):
    """A pool of asyncpg connections; see `create_pool` for the arguments."""

    _queue: Handoff
    _holders: list[Holder]

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
        mode, callback = _reset_mode(reset, connection_class)
        super().__init__(
            *connect_args,
            init_size=min(max(init_size or min_size, min_size), max_size)
            if init_size is None
            else init_size,
            min_size=min_size,
            max_size=max_size,
            max_queries=max_queries,
            max_inactive_connection_lifetime=max_inactive_connection_lifetime,
            connect=connect,
            setup=setup,
            init=init,
            reset=callback,
            loop=loop,
            connection_class=connection_class,
            record_class=record_class,
            **connect_kwargs,
        )
        if mode == "auto" or (
            mode == "always" and callback is None and not _own_reset(connection_class)
        ):
            self._reset = self._full_reset
        elif mode == "never":
            self._reset = _leave
        self._mode = mode
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
        self._ready = False
        self._pid = os.getpid()
        self._errand: Callable[[Holder], Coroutine[Any, Any, None]] | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self.deadlocked = False  # as the last tick has seen it
        self._wake_at = _NEVER  # when the expiry timer fires
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
        await super()._async__init__()
        if opened:
            self._ready = True
            self._pid = os.getpid()
            _OPEN.add(self)
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
        self._ready = False
        self._queue.refuse_waiters(asyncpg.InterfaceError("pool is closing"))
        await self._stop_background()
        try:
            async with asyncio.timeout(timeout) as deadline:
                await super().close()
        except TimeoutError as error:
            if not deadline.expired():
                raise
            held = [h for h in self._holders if h._in_use is not None]
            who = holding(held, self._loop.time())
            self.terminate()
            raise LeasesHeld(
                f"closed after {timeout:g} s with {len(held)} connections still held: {who}",
                hint="release them before closing, or give close() more time",
            ) from error

    async def _stop_background(self) -> None:
        upkeep.stop(self)
        tasks = [t for t in self._background if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def terminate(self) -> None:
        """Terminate every connection at once; whoever waits is refused."""
        self._ready = False
        upkeep.stop(self)
        for task in self._background:
            task.cancel()
        if isinstance(getattr(self, "_queue", None), Handoff):
            self._queue.refuse_waiters(asyncpg.InterfaceError("pool is closed"))
        for holder in self._holders:
            holder._in_use = holder._in_use or None
        super().terminate()

    # -- out ---------------------------------------------------------------------------------------

    def acquire(self, *, timeout: float | None = None) -> AcquireContext:  # type: ignore[override]
        """A connection, by `async with` or `await`.

        timeout: seconds for waiting and connecting; without it `acquire_timeout` for waiting.
        Raises PoolExhausted (a TimeoutError).
        """
        return AcquireContext(self, timeout)

    def lease_now(self) -> Lease | None:
        """A lease at once, or None where something has to be awaited for it."""
        if not self._ready:
            self._refuse()
        idle = self._queue.idle
        if not idle or self._setup is not None:
            return None
        holder = idle[-1]
        now = self._loop.time()
        if not holder.is_good(now):
            return None
        del idle[-1]
        holder._timeout = None
        self.counters.wait.observe(0.0)
        return holder.lend(now)

    async def _acquire(self, timeout: float | None) -> Lease:
        lease = self.lease_now()
        if lease is not None:
            lease._holder._timeout = timeout
            return lease
        return await self._acquire_slowly(timeout)

    async def _acquire_slowly(self, timeout: float | None) -> Lease:
        started = self._loop.time()
        holder = self._queue.take_nowait()
        if holder is None:
            holder = await self._wait(self.acquire_timeout if timeout is None else timeout, started)
        now = self._loop.time()
        if self._ready and self._setup is None and holder.is_good(now):
            lease = holder.lend(now)
        else:
            lease = await self._make_good(holder, timeout, started)
        self.counters.wait.observe(self._loop.time() - started)
        holder._timeout = timeout
        return lease

    async def _make_good(self, holder: Holder, timeout: float | None, started: float) -> Lease:
        """Connect, probe or set up, within what is left of the time."""
        try:
            left = None if timeout is None else max(0.0, timeout - (self._loop.time() - started))
            async with asyncio.timeout(left):
                if not self._ready:
                    raise asyncpg.InterfaceError("pool is closing")
                await holder.prepare(self._loop.time())
                return await holder.lend_after_setup(self._loop.time())
        except BaseException:
            self._queue.put_nowait(holder)
            self._schedule_min_size_maintenance()
            raise

    async def _wait(self, timeout: float | None, now: float) -> Holder:
        """The holder that is handed over; first come, first served."""
        queue = self._queue
        if self.max_waiters is not None and len(queue.waiters) >= self.max_waiters:
            self.counters.refused += 1
            raise self._exhausted(f"{len(queue.waiters)} tasks wait already (max_waiters)")
        future = self._loop.create_future()
        deadline = _NEVER if timeout is None else now + timeout
        queue.waiters.append((future, deadline, asyncio.current_task(self._loop)))
        if deadline < self._wake_at:
            upkeep.arm_expiry(self, deadline)
        try:
            return await future
        except Expired:
            queue.forget(future)
            self.counters.timeouts += 1
            raise self._exhausted(f"none became free within {timeout:g} s") from None
        except BaseException:
            # Cancelled: a holder handed over in the meantime goes to the next in line.
            if future.done() and not future.cancelled() and future.exception() is None:
                self.take_back(future.result())
            else:
                queue.forget(future)
            raise

    def _exhausted(self, what: str) -> PoolExhausted:
        held = [h for h in self._holders if h._in_use is not None]
        mine = asyncio.current_task(self._loop)
        own = any(h.task is mine for h in held)
        hint = (
            "this task holds another connection of this pool while it asks for one more: use the "
            "one it has, or acquire both at once"
            if own
            else "hold connections for shorter, look for leaks (leak_threshold=), or raise max_size"
        )
        return PoolExhausted(
            f"no connection of pool {self.name}: {what}; size {self.get_size()} of "
            f"{self._maxsize}, {len(held)} in use, {len(self._queue.waiters)} waiting. Longest "
            f"held: {holding(held, self._loop.time())}",
            hint=hint,
        )

    def _refuse(self) -> None:
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
        connection._c._on_release()
        # A cancelled task still gives its connection back properly.
        await asyncio.shield(holder.release(holder._timeout if timeout is None else timeout))

    def stays_clean(self, holder: Holder) -> bool:
        """Whether the lease has certainly left the session as it found it."""
        if self._mode != "auto":
            return self._mode == "never"
        texts = holder.texts
        if holder.dirty or len(texts) >= MANY:
            return False
        is_clean = self.judge.is_clean
        return all(map(is_clean, texts)) if len(texts) != 1 else is_clean(texts[0])

    def _learn(self, holder: Holder) -> None:
        """Show the judge what ran: DDL among it makes it look at the catalogue again."""
        if self._mode == "auto":
            for text in holder.texts:
                self.judge.is_clean(text)

    async def _full_reset(self, con: Any) -> None:
        self.counters.resets_done += 1
        await full_reset(con)

    def take_back(self, holder: Holder) -> None:
        """A free holder: for an errand of the pool's own, the next waiter, or the shelf."""
        if holder.retired:
            self._retire(holder)
            return
        errand = self._errand
        if errand is not None and holder.is_connected():
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
        self._minsize, self._maxsize = min_size, max_size
        staying = [h for h in self._holders if not h.retired]
        for holder in [h for h in self._holders if h.retired][: max(0, max_size - len(staying))]:
            holder.retired = False
            staying.append(holder)
        for _ in range(max_size - len(staying)):
            self._add_holder()
        surplus = len(staying) - max_size
        by_use = sorted(staying, key=lambda h: (h._in_use is not None, h.is_connected()))
        for holder in by_use[: max(0, surplus)]:
            holder.retired = True
            if holder in self._queue.idle or holder in self._queue.empty:
                self._queue.remove([holder])
                self._retire(holder)
        while self._queue.waiters and (free := self._queue.take_nowait()):
            self._queue.put_nowait(free)
        self._schedule_min_size_maintenance()

    def _retire(self, holder: Holder) -> None:
        if holder in self._holders:
            self._holders.remove(holder)
        if holder._con is not None and not holder._con.is_closed():
            self.in_background(holder._con.close(timeout=5.0))

    def stats(self) -> PoolStats:
        """What the pool is at this moment and has done since it was opened."""
        c = self.counters
        in_use = sum(h._in_use is not None for h in self._holders)
        return PoolStats(
            name=self.name, server=self._server(), size=self.get_size(),
            idle=self.get_idle_size(), in_use=in_use,
            waiting=self._queue.waiting() if self._initialized else 0,
            min_size=self._minsize, max_size=self._maxsize,
            acquired=c.acquired, timeouts=c.timeouts, refused=c.refused,
            resets_done=c.resets_done, resets_skipped=c.resets_skipped, connects=c.connects,
            connect_errors=c.connect_errors, reconnects=c.reconnects, probes=c.probes,
            probes_failed=c.probes_failed, expired_age=c.expired_age,
            expired_idle=c.expired_idle, leaks=c.leaks, dropped=c.dropped,
            wait=c.wait.snapshot(), hold=c.hold.snapshot(), connect=c.connect.snapshot(),
        )  # fmt: skip

    def _server(self) -> str:
        con = next((h._con for h in self._holders if h.is_connected()), None)
        address = getattr(con, "_addr", None)
        if address is not None:  # kept: a pool without connections is still the same one
            self._address = ":".join(map(str, address)) if isinstance(address, tuple) else address
        return self._address

    # -- one statement without a lease in sight ------------------------------------------------------

    async def execute(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """Acquire, execute, release."""
        lease = self.lease_now() or await self._acquire_slowly(None)
        try:
            return await lease.execute(query, *args, **kwargs)
        finally:
            if not lease._holder.try_release_of(lease):
                await self.release(lease)

    async def fetch(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """Acquire, fetch, release."""
        lease = self.lease_now() or await self._acquire_slowly(None)
        try:
            return await lease.fetch(query, *args, **kwargs)
        finally:
            if not lease._holder.try_release_of(lease):
                await self.release(lease)

    async def fetchrow(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """Acquire, fetch a row, release."""
        lease = self.lease_now() or await self._acquire_slowly(None)
        try:
            return await lease.fetchrow(query, *args, **kwargs)
        finally:
            if not lease._holder.try_release_of(lease):
                await self.release(lease)

    async def fetchval(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """Acquire, fetch a value, release."""
        lease = self.lease_now() or await self._acquire_slowly(None)
        try:
            return await lease.fetchval(query, *args, **kwargs)
        finally:
            if not lease._holder.try_release_of(lease):
                await self.release(lease)


class AcquireContext(_asyncpg_pool.PoolAcquireContext):
    """`async with pool.acquire() as connection` and `await pool.acquire()`."""

    __slots__ = ()

    pool: Pool

    async def __aenter__(self) -> Lease:
        if self.connection is not None or self.done:
            raise asyncpg.InterfaceError("a connection is already acquired")
        lease = self.pool.lease_now()
        if lease is None:
            lease = await self.pool._acquire_slowly(self.timeout)
        else:
            lease._holder._timeout = self.timeout
        self.connection = lease
        return lease

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        self.done = True
        lease, self.connection = self.connection, None
        if not lease._holder.try_release_of(lease):
            await self.pool.release(lease)


def _retrieve(task: asyncio.Task[Any]) -> None:
    """An errand that failed is said in the log; its connection is gone, the pool goes on."""
    if not task.cancelled() and task.exception() is not None:
        logger.warning("upkeep of a connection failed: %s", task.exception())


async def _leave(con: Any) -> None:
    """reset="never": the session stays as it is."""


def _own_reset(connection_class: type[Any]) -> bool:
    return (
        connection_class.reset is not asyncpg.Connection.reset
        or connection_class.get_reset_query is not asyncpg.Connection.get_reset_query
    )


def _reset_mode(
    reset: ResetMode | Callback | None, connection_class: type[Any]
) -> tuple[ResetMode, Callback | None]:
    """A user's own way to reset, by callback or by connection class, is taken every time."""
    if callable(reset):
        return "always", reset
    if reset not in (None, "auto", "always", "never"):
        raise ValueError(
            'reset is expected to be "auto", "always", "never" or a coroutine function'
        )
    if _own_reset(connection_class) and reset in (None, "auto"):
        return "always", None
    return reset or "auto", None


_OPEN: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    """In the child: the sockets belong to the parent, and nothing may be sent on them."""
    for pool in list(_OPEN):
        pool._ready = False
        for holder in pool._holders:
            con, holder._con = holder._con, None
            if con is not None:
                _INHERITED.append(con)  # never finalised: a destructor would talk to the server


_INHERITED: list[Any] = []
os.register_at_fork(after_in_child=_after_fork)


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


__all__ = ["AcquireContext", "Pool", "create_pool", "route"]
