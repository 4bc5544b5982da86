"""What `pool.acquire()` returns, for `async with` and for `await`."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg import pool as _asyncpg_pool

from filban.pool.waiting import lease_slowly

if TYPE_CHECKING:
    from filban.pool.lease import Lease
    from filban.pool.pool import Pool
    from filban.pool.where import Place


class AcquireContext(_asyncpg_pool.PoolAcquireContext):
    """`async with pool.acquire() as connection` and `await pool.acquire()`."""

    __slots__ = ("places",)

    pool: Pool
    connection: Any
    done: bool

    def __init__(self, pool: Pool, timeout: float | None, places: tuple[Place, ...] = ()) -> None:
        self.pool = pool
        self.timeout = timeout
        self.places = places
        self.connection = None
        self.done = False

    async def __aenter__(self) -> Lease:
        if self.connection is not None or self.done:
            raise asyncpg.InterfaceError("a connection is already acquired")
        lease = self.pool.lease_now(self.timeout, self.places)
        if lease is None:
            lease = await lease_slowly(self.pool, self.timeout, self.places)
        self.connection = lease
        return lease

    async def __aexit__(self, *exc: object) -> None:
        self.done = True
        lease, self.connection = self.connection, None
        if lease._c is not None and not lease._holder.try_release():
            await self.pool.release(lease)

    def __await__(self) -> Generator[Any, Any, Lease]:
        self.done = True
        return self._acquire().__await__()

    async def _acquire(self) -> Lease:
        lease = self.pool.lease_now(self.timeout, self.places)
        return lease or await lease_slowly(self.pool, self.timeout, self.places)
