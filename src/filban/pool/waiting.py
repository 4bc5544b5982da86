"""The longer way to a connection: wait in line, connect, probe. `Pool.lease_now`: the short one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg

from filban.pool import upkeep
from filban.pool.handoff import Expired
from filban.pool.leaks import exhausted

if TYPE_CHECKING:
    from filban.pool.holder import Holder
    from filban.pool.lease import Lease
    from filban.pool.pool import Pool
    from filban.pool.where import Place

NEVER = float("inf")


async def lease_slowly(pool: Pool, timeout: float | None, places: tuple[Place, ...]) -> Lease:
    """Wait in line, or connect, or make sure of what has been idle for long.

    timeout: seconds for all of it. Raises PoolExhausted, and what connecting raises.
    """
    loop = pool._loop
    started = loop.time()
    task = asyncio.current_task(loop)
    queue = pool._queue
    holder = queue.take_nowait() if queue.idle or queue.empty else None
    if holder is None:
        patience = pool.acquire_timeout if timeout is None else timeout
        future = _in_line(pool, patience, started, task)
        try:
            holder = await future
        except BaseException as error:  # noqa: BLE001  # raised, or what it means
            raise _given_up(pool, future, error, patience) from None
    now = loop.time()
    if pool._ready and pool._setup is None and holder.is_good(now):
        lease = holder.lend(now, places, task)
    else:
        lease = await _make_good(pool, holder, timeout, started, places)
        now = loop.time()
    pool.counters.wait.observe(now - started)
    holder._timeout = timeout
    return lease


async def _make_good(
    pool: Pool,
    holder: Holder,
    timeout: float | None,
    started: float,
    places: tuple[Place, ...],
) -> Lease:
    """Connect, probe or set up, within what is left of the time."""
    try:
        left = None if timeout is None else max(0.0, timeout - (pool._loop.time() - started))
        async with asyncio.timeout(left) as deadline:
            if not pool._ready:
                raise asyncpg.InterfaceError("pool is closing")
            await holder.prepare(pool._loop.time())
            return await holder.lend_after_setup(pool._loop.time(), places)
    except BaseException as error:
        pool.put_back(holder)
        if isinstance(error, TimeoutError) and deadline.expired():
            pool.counters.timeouts += 1
            what = f"a free one could not be connected or made ready within {timeout:g} s"
            raise exhausted(pool, what) from error
        raise


def _in_line(
    pool: Pool, timeout: float | None, now: float, task: asyncio.Task[Any] | None
) -> asyncio.Future[Holder]:
    """A place at the end of the line: the future of the holder that will be handed over."""
    waiters = pool._queue.waiters
    if pool.max_waiters is not None and len(waiters) >= pool.max_waiters:
        pool.counters.refused += 1
        raise exhausted(pool, f"{len(waiters)} tasks wait already (max_waiters)")
    future = pool._loop.create_future()
    deadline = NEVER if timeout is None else now + timeout
    waiters.append((future, deadline, task))
    if deadline < pool._wake_at:
        upkeep.arm_expiry(pool, deadline)
    return future


def _given_up(
    pool: Pool, future: asyncio.Future[Holder], error: BaseException, timeout: float | None
) -> BaseException:
    """A wait has ended without a connection: its place is free, the error says why."""
    if future.done() and not future.cancelled() and future.exception() is None:
        # Cancelled just when a holder was handed over: it goes to the next in line.
        pool.take_back(future.result())
    else:
        pool._queue.forget(future)
    if isinstance(error, Expired):
        pool.counters.timeouts += 1
        return exhausted(pool, f"none became free within {timeout:g} s")
    return error
