"""One place in the pool: a connection while there is one, and the lease that is out on it."""

from __future__ import annotations

import asyncio
import random
import weakref
from bisect import bisect_left
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg import pool as _asyncpg_pool

from filban.pool import straight, where
from filban.pool.context import route
from filban.pool.lease import Lease
from filban.pool.stats import BUCKETS

# What a dead connection raises; InternalClientError after a FATAL that came while it was idle.
BROKEN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

if TYPE_CHECKING:
    from filban.pool.pool import Pool

# Ages are spread by up to this share, so that connections opened together do not end together.
AGE_JITTER = 0.2
# Different statements noted before a reset is taken for granted: it costs nothing beside them.
MANY = 256
_NEVER = float("inf")
# What a probe of an idle connection may take before the connection counts as dead.
PROBE_SECONDS = 5.0


_new = object.__new__


class _Anchor:
    """Stands where asyncpg keeps the lease in its connection, so that the connection keeps no
    dropped lease alive; through it asyncpg finds the pool whose caches it has to clear."""

    __slots__ = ("_holder",)

    def __init__(self, holder: Holder) -> None:
        self._holder = holder


class Holder(_asyncpg_pool.PoolConnectionHolder):
    """asyncpg's holder with a cheap way out and in, a memory of the lease's statements, an age and
    the place where the lease was acquired."""

    __slots__ = (
        "acquired_at", "anchor", "born", "clock", "dirty", "dropped", "earlier", "ended",
        "expires_at", "has_callbacks", "idle_since", "lease", "places", "plain", "queries",
        "reported", "retired", "route", "running", "task", "text", "was_standby",
    )  # fmt: skip

    # asyncpg's, which its stubs leave out.
    _pool: Pool
    _con: Any
    _in_use: Any
    _setup: Any
    _timeout: float | None
    _generation: int
    _max_queries: int

    def __init__(
        self,
        pool: Pool,
        *,
        max_queries: int,
        setup: Any,
        max_inactive_time: float,
    ) -> None:
        super().__init__(
            pool, max_queries=max_queries, setup=setup, max_inactive_time=max_inactive_time
        )
        self.anchor = _Anchor(self)
        self.lease: weakref.ref[Lease] | None = None
        self.dropped = self._dropped  # bound once, not for every lease
        # The statement that ran last, and the others of the lease. Mostly there are none.
        self.text: str | None = None
        self.earlier: set[str] | None = None
        self.dirty = pool.always_dirty
        self.plain = False
        # When the last statement ended and how many run: only for reports of leaks.
        self.clock = None if pool.leak_threshold is None else pool._loop.time
        self.ended = 0.0
        self.running = self.queries = 0
        self.retired = False
        self.reported = False
        self.was_standby = False
        self.born = self.has_callbacks = False
        self.acquired_at = self.idle_since = 0.0
        self.expires_at = _NEVER
        self.places: tuple[where.Place, ...] = ()
        self.task: asyncio.Task[Any] | None = None
        self.route: str | None = None

    # -- noting what a lease does ------------------------------------------------------------------

    def note(self, text: object) -> None:
        """Remember a statement of the lease."""
        if type(text) is not str:
            self.dirty = True
            return
        if self.text is not None and self.text != text:
            if self.earlier is None:
                self.earlier = set()
            self.earlier.add(self.text)
            self.dirty = self.dirty or len(self.earlier) >= MANY
        self.text = text

    def texts(self) -> list[str]:
        """All statements of the lease, the last one first."""
        last = [] if self.text is None else [self.text]
        return last if self.earlier is None else last + list(self.earlier)

    async def timed(self, statement: Awaitable[Any]) -> Any:
        """Await a statement, and remember when it ended."""
        self.running += 1
        try:
            return await statement
        finally:
            self.running -= 1
            self.ended = self._pool._loop.time()

    def idle_for(self, now: float) -> float | None:
        """Seconds since the last statement of the lease ended; None while one runs."""
        return None if self.running else now - max(self.ended, self.acquired_at)

    def look_for_queries(self, now: float) -> None:
        """Statements that pass by the lease (of prepared statements, of cursors) are seen here, by
        a tick of the pool."""
        protocol = None if self._con is None else self._con._protocol
        if protocol is not None and protocol.queries_count != self.queries:
            self.queries = protocol.queries_count
            self.ended = max(self.ended, now) if not self.running else self.ended

    def pin(self, lease: Lease, *, dirty: bool) -> None:
        """Callbacks of the connection are given its lease: it has to keep the lease alive then."""
        self._con._proxy = lease
        self.has_callbacks = True
        self.dirty = self.dirty or dirty

    # -- out ---------------------------------------------------------------------------------------

    def lend(
        self, now: float, places: tuple[where.Place, ...], task: asyncio.Task[Any] | None
    ) -> Lease:
        """A lease on the connection, which is known to be good."""
        con = self._con
        lease: Lease = _new(Lease)  # without __init__: a call less for every acquire
        lease._c = con
        lease._holder = self
        con._proxy = lease if self.has_callbacks else self.anchor
        self.lease = weakref.ref(lease, self.dropped)
        self._in_use = True
        self.acquired_at = now
        self.places = places
        self.task = task
        if self._pool.leak_threshold is not None:
            self.route = route.get()
        return lease

    async def connect(self) -> None:
        """As asyncpg's, timed and counted."""
        pool = self._pool
        started = pool._loop.time()
        try:
            await super().connect()
        except BaseException:
            pool.counters.connect_errors += 1
            raise
        now = pool._loop.time()
        counters = pool.counters
        counters.connect.observe(now - started)
        counters.connects += 1
        counters.reconnects += self.born
        self.born = True
        self.idle_since = now
        age = pool.max_age
        self.expires_at = (
            _NEVER if age is None else now + age * (1 - AGE_JITTER * random.random())  # noqa: S311
        )
        self.was_standby = _is_standby(self._con)
        self.has_callbacks = _has_callbacks(self._con)
        self.plain = straight.is_plain(type(self._con))

    def is_good(self, now: float) -> bool:
        """Whether the connection can be lent without a look: alive as far as known, and young."""
        con = self._con
        pool = self._pool
        probe_after = pool.probe_after
        return (
            con is not None
            and not con.is_closed()
            and self._generation == pool._generation
            and now < self.expires_at
            and (probe_after is None or now - self.idle_since <= probe_after)
        )

    async def prepare(self, now: float) -> None:
        """Make the connection one that may be lent: connect, replace what has expired, probe what
        has been idle. On an error the caller puts the holder back."""
        con = self._con
        if con is not None and not con.is_closed():
            aged = now >= self.expires_at
            self._pool.counters.expired_age += aged
            if aged or self._generation != self._pool._generation:
                self._drop_expired(con)
        if self._con is None or self._con.is_closed():
            self._con = None
            await self.connect()
        elif self._pool.probe_after is not None and now - self.idle_since > self._pool.probe_after:
            await self.probe()
            if self._con is None:
                await self.connect()

    def _drop_expired(self, con: Any) -> None:
        con._pool_holder = None  # its end is no event of this holder any more
        self._pool.in_background(con.close(timeout=self._timeout))
        self._con = None

    async def probe(self) -> bool:
        """Ask the server whether it is alive and still what it was; else the connection goes.

        `SELECT 1` passes on a demoted primary, whose connections then fail at the first write: a
        changed role retires every connection of the pool.
        """
        pool, con = self._pool, self._con
        pool.counters.probes += 1
        try:
            # asyncpg's own method: a service's connection class may have another signature.
            standby = await asyncpg.Connection.fetchval(
                con, "SELECT pg_catalog.pg_is_in_recovery()", timeout=PROBE_SECONDS
            )
        except BROKEN:
            pool.counters.probes_failed += 1
            con.terminate()
            return False
        self.idle_since = pool._loop.time()
        if standby == self.was_standby:
            return True
        pool._generation += 1
        con.terminate()
        return False

    async def lend_after_setup(self, now: float, places: tuple[where.Place, ...]) -> Lease:
        """`lend`, then the user's `setup`, whose failure costs the connection."""
        lease = self.lend(now, places, asyncio.current_task(self._pool._loop))
        if self._setup is None:
            return lease
        con = self._con
        try:
            await self._setup(lease)
        except BaseException:
            # Before the lease counts as one: whoever waits is not to be handed a half set-up one.
            self._in_use = self.lease = None
            try:
                await con.close()
            except BaseException:
                con.terminate()
                raise
            raise
        return lease

    # -- in ----------------------------------------------------------------------------------------

    def try_release(self) -> bool:
        """Take the connection back at once, if nothing has to be awaited for it.

        Every release of a service passes here: one flat function, the likely case by the shortest
        way. Listeners need no look of their own: adding one makes the lease dirty.
        """
        con, pool = self._con, self._pool
        if con is None:
            return True
        protocol = con._protocol
        if (
            protocol is None
            or self.dirty
            or self.has_callbacks
            or protocol._is_cancelling()
            or protocol.is_in_transaction()
            or con._top_xact is not None
            or not protocol.is_connected()
            or protocol.queries_count >= self._max_queries
            or self._generation != pool._generation
        ):
            if not self._may_stay(con, protocol):
                return False
        elif (
            self.earlier is not None or pool.judge.verdicts.get(self.text or "") != ""
        ) and not pool.stays_clean(self):
            return False
        now = pool._loop.time()
        if now >= self.expires_at:
            return False
        con._pool_release_ctr += 1
        if self._in_use is not True:
            self._tell_closer()
        self._in_use = None
        held = now - self.acquired_at
        hold = pool.counters.hold
        hold.counts[bisect_left(BUCKETS, held)] += 1
        hold.sum += held
        self.idle_since = now
        lease = self.lease()  # type: ignore[misc]
        if lease is not None:
            lease._c = None
        self.lease = self.task = self.text = con._proxy = None
        if self.earlier is not None or self.reported or self.dirty:
            self._forget()
        queue = pool._queue
        if queue.waiters or self.retired or pool._errand is not None:
            pool.take_back(self)
        else:
            queue.idle.append(self)
            if pool._idle_timer is None:
                pool.look_after_idle()
        return True

    def _may_stay(self, con: Any, protocol: Any) -> bool:
        """The unlikely case of `try_release`, all of it looked at."""
        pool = self._pool
        return (
            protocol is not None
            and protocol.is_connected()
            and self._generation == pool._generation
            and not protocol._is_cancelling()
            and protocol.queries_count < self._max_queries
            and con._top_xact is None
            and not protocol.is_in_transaction()
            and not con._listeners
            and not con._log_listeners
            and pool.stays_clean(self)
        )

    def _tell_closer(self) -> None:
        """close() waits for the end of this lease."""
        if self._in_use is not None and not self._in_use.done():
            self._in_use.set_result(None)

    async def release(self, timeout: float | None) -> None:
        """Take the connection back by the long way: cancel, reset, replace."""
        pool = self._pool
        if self._in_use is not None and self._con is not None and not self._con.is_closed():
            if pool._loop.time() >= self.expires_at:
                pool.counters.expired_age += 1
                await self._con.close(timeout=timeout)
                return
            if self.retired:
                await self._con.close(timeout=timeout)
                return
        await super().release(timeout)

    def _release(self) -> None:
        """The lease is over by the long way, or with its connection: end it, and hand the holder to
        whoever waits."""
        if self._in_use is None:
            return
        if self._in_use is not True:
            self._tell_closer()
        self._in_use = None
        pool = self._pool
        now = pool._loop.time()
        pool.counters.hold.observe(now - self.acquired_at)
        pool.counters.long_releases += 1
        self.idle_since = now
        reference, self.lease = self.lease, None
        lease = None if reference is None else reference()
        if lease is not None:
            lease._detach()
        if self._con is not None:
            self._con._proxy = None
        self.task = self.text = None
        self._forget()
        pool.take_back(self)

    def _forget(self) -> None:
        self.earlier = self.route = None
        self.dirty, self.reported = self._pool.always_dirty, False

    async def wait_until_released(self) -> None:
        if self._in_use is None:
            return
        if self._in_use is True:
            self._in_use = self._pool._loop.create_future()
        await self._in_use

    def _dropped(self, _: object) -> None:
        """The garbage collector has found the lease before anybody released it."""
        if self.lease is not None and self._in_use is not None:
            loop = self._pool._loop
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._pool.reclaim, self, self.acquired_at)

    # -- idle --------------------------------------------------------------------------------------

    def _setup_inactive_callback(self) -> None:
        """One timer a pool looks after all idle connections; asyncpg has one each."""
        self._pool.look_after_idle()

    def _maybe_cancel_inactive_callback(self) -> None:
        pass


def _is_standby(con: Any) -> bool:
    """As the server reported when it let us in (GUC_REPORT since 14)."""
    return getattr(con.get_settings(), "in_hot_standby", "off") == "on"


def _has_callbacks(con: Any) -> bool:
    return bool(
        con._listeners or con._log_listeners or con._termination_listeners or con._query_loggers
    )
