"""What a pool does by itself: a tick a second, and a timer for connections that nobody uses.

The timers know the pool weakly, so that a pool that is forgotten can go.
"""

from __future__ import annotations

import asyncio
import logging
import random
import weakref
from asyncio import sleep
from typing import TYPE_CHECKING

from filban.pool.holder import BROKEN
from filban.pool.leaks import report_deadlock, report_leaks

if TYPE_CHECKING:
    from filban.pool.holder import Holder
    from filban.pool.pool import Pool

logger = logging.getLogger("filban.pool")
_asyncpg_logger = logging.getLogger("asyncpg.pool")

TICK_SECONDS = 1.0
# asyncpg's first and longest pause between attempts to open a connection.
RETRY_SECONDS = 1.0
RETRY_AT_MOST_SECONDS = 60.0
# At random beside each pause, so that all workers of a service do not come at the same moment;
# longer than a server takes to let in a few dozen of them.
SPREAD_SECONDS = 0.25


def start(pool: Pool) -> None:
    """Begin to look after an opened pool."""
    pool._tick_timer = pool._loop.call_later(0, _tick, weakref.ref(pool))
    pool.look_after_idle()


def stop(pool: Pool) -> None:
    for timer in (pool._tick_timer, pool._idle_timer, pool._expiry_timer):
        if timer is not None:
            timer.cancel()
    pool._tick_timer = pool._idle_timer = pool._expiry_timer = None


def _tick(reference: weakref.ref[Pool]) -> None:
    pool = reference()
    if pool is None or not pool._ready:
        return
    now = pool._loop.time()
    if pool.leak_threshold is not None:
        report_leaks(pool, now)
    report_deadlock(pool)
    _replace_aged(pool, now)
    _keep_alive(pool, now)
    if pool._mode == "auto" and pool.judge.due and pool._errand is None:
        pool.on_idle(_Refresh(reference))
    every = TICK_SECONDS if pool.leak_threshold is None else min(1.0, pool.leak_threshold / 2)
    pool._tick_timer = pool._loop.call_later(every, _tick, reference)


class _Refresh:
    """Let the judge look at the catalogue over a connection that is free."""

    def __init__(self, pool: weakref.ref[Pool]) -> None:
        self._pool = pool

    async def __call__(self, holder: Holder) -> None:
        pool = holder._pool
        try:
            await refresh(pool, holder)
        finally:
            pool.put_back(holder)


async def refresh(pool: Pool, holder: Holder) -> None:
    """Let the judge look at the catalogue; what breaks a connection there costs the connection."""
    try:
        if pool.judge.due:
            await pool.judge.refresh(holder._con)
    except BROKEN as error:
        logger.warning("pool %s cannot read the catalogue, so it resets more: %s", pool.name, error)
        if holder._con is not None:
            holder._con.terminate()
    except BaseException:
        if holder._con is not None:
            holder._con.terminate()
        raise


async def restore_floor(pool: Pool) -> None:
    """Open connections until there are `min_size`, ever slower while that fails."""
    pause = RETRY_SECONDS
    try:
        while pool._ready and pool.get_size() < pool._minsize:
            try:
                holder = pool._queue.get_disconnected_nowait()
            except asyncio.QueueEmpty:
                return  # whoever took the others is connecting them
            if await _connected(pool, holder):
                pause = RETRY_SECONDS
            else:
                await asyncio.sleep(pause)
                await sleep(random.uniform(0.0, SPREAD_SECONDS))  # noqa: S311
                pause = min(pause * 2, RETRY_AT_MOST_SECONDS)
    finally:
        pool._maintenance_task = None


async def _connected(pool: Pool, holder: Holder) -> bool:
    try:
        if holder._con is not None:
            holder.terminate()
        await holder.connect()
    except Exception:  # the service's own connect= and init= may raise any
        # asyncpg's logger and words, which services may have rules for.
        _asyncpg_logger.warning(
            "Failed to restore the pool connection floor; retrying", exc_info=True
        )
        return False
    finally:
        pool.take_back(holder)
    return True


def _replace_aged(pool: Pool, now: float) -> None:
    """Idle connections that have reached their age, or are of an older generation: closed, the
    floor is restored after them."""
    aged = [
        h
        for h in pool._queue.idle
        if h._con is not None and (now >= h.expires_at or h._generation != pool._generation)
    ]
    for holder in aged:
        pool.counters.expired_age += now >= holder.expires_at
        holder._con.terminate()
    if aged:
        pool._queue.sort_out()
        pool._schedule_min_size_maintenance()


def _keep_alive(pool: Pool, now: float) -> None:
    if pool.keepalive is None:
        return
    quiet = [h for h in pool._queue.idle if now - h.idle_since >= pool.keepalive]
    pool._queue.remove(quiet)
    for holder in quiet:
        pool.in_background(_probe(pool, holder))


async def _probe(pool: Pool, holder: Holder) -> None:
    since = holder.idle_since
    try:
        if holder.is_connected():
            await holder.probe()
    except BaseException:
        if holder._con is not None:
            holder._con.terminate()
        raise
    finally:
        if since is not None and holder.is_connected():
            holder.idle_since = pool._loop.time()
        pool.put_back(holder)


def arm_expiry(pool: Pool, when: float) -> None:
    """Wake when the first waiter's time is up. One timer a pool: one for each wait costs more than
    the rest of the wait together."""
    if pool._expiry_timer is not None:
        pool._expiry_timer.cancel()
    pool._wake_at = when
    pool._expiry_timer = pool._loop.call_at(when, _expire, weakref.ref(pool))


def _expire(reference: weakref.ref[Pool]) -> None:
    pool = reference()
    if pool is None:
        return
    pool._expiry_timer = None
    pool._wake_at = float("inf")
    # a millisecond: the loop's clock is coarser than its time()
    following = pool._queue.expire(pool._loop.time() + 0.001)
    if following < float("inf"):
        arm_expiry(pool, following)


def arm_idle(pool: Pool) -> None:
    """Wake when the connection that has been idle longest will have been idle for too long."""
    lifetime = pool._max_inactive_connection_lifetime
    oldest = min((h.idle_since for h in pool._queue.idle), default=pool._loop.time())
    when = max(oldest + lifetime, pool._loop.time())
    pool._idle_timer = pool._loop.call_at(when, _close_idle, weakref.ref(pool))


def _close_idle(reference: weakref.ref[Pool]) -> None:
    pool = reference()
    if pool is None or not pool._ready:
        return
    pool._idle_timer = None
    lifetime = pool._max_inactive_connection_lifetime
    now = pool._loop.time()
    due = [h for h in pool._queue.idle if now - h.idle_since >= lifetime - 0.001]
    closed = 0
    for holder in due:
        if pool.get_size() <= pool.get_min_size():
            break
        if holder.is_connected():
            closed += 1
            pool.counters.expired_idle += 1
            holder._con.terminate()
    if closed:
        pool._queue.sort_out()
    # Those kept for the floor need no timer; they get one when they have been used again.
    if any(now - h.idle_since < lifetime - 0.001 for h in pool._queue.idle):
        younger = [h.idle_since for h in pool._queue.idle if now - h.idle_since < lifetime - 0.001]
        pool._idle_timer = pool._loop.call_at(min(younger) + lifetime, _close_idle, reference)
