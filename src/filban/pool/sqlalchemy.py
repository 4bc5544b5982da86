"""SQLAlchemy 2: an async engine whose connections are leases of a Pool or a Router.

    engine = create_async_engine(pool)                    # or a Router: its primary
    reading = create_async_engine(router, reads=True)     # replicas, never older than one's writes

SQLAlchemy's own pool is out of the way (NullPool): each checkout is a lease, each close gives it
back. What its dialect does to a new connection is done once for each real one.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

from filban.errors import ExtraMissing
from filban.pool.pool import Pool
from filban.pool.routing.router import Router

try:
    from sqlalchemy.ext import asyncio as _engines
    from sqlalchemy.pool import NullPool
except ImportError as error:
    raise ExtraMissing("sqlalchemy", "sqlalchemy") from error


def create_async_engine(
    source: Pool | Router, *, reads: bool = False, **options: Any
) -> _engines.AsyncEngine:
    """SQLAlchemy's `create_async_engine` over our connections; `options` as there (echo, …).

    reads: leases to read with; only a Router makes a difference. Sessions want
    `expire_on_commit=False`, as always with asyncio. `engine.dispose()` leaves the pool open.
    """

    async def creator() -> Borrowed:
        context: Any
        if isinstance(source, Router):
            context = source.read() if reads else source.write()
        else:
            context = source.acquire()
        return Borrowed(context, await context.__aenter__())

    return _engines.create_async_engine(
        "postgresql+asyncpg://", async_creator=creator, poolclass=NullPool, **options
    )


# Real connections for which the dialect has set its JSON codecs already.
_PREPARED: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


class Borrowed:
    """What SQLAlchemy takes for an asyncpg connection of its own: closing it ends the lease."""

    def __init__(self, context: Any, lease: Any) -> None:
        self._context = context
        self._lease = lease

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lease, name)

    async def prepare(
        self, query: str, *, name: str | None = None, timeout: float | None = None
    ) -> Any:
        """By asyncpg's statement cache: its `prepare` asks the server anew each time, and what
        SQLAlchemy keeps itself ends with the lease."""
        del name  # a name of SQLAlchemy's own would not outlive the lease either
        self._lease._holder.note(query)
        raw = self._lease._c
        return await raw._prepare(query, timeout=timeout, use_cache=True)

    async def set_type_codec(self, typename: str, **how: Any) -> None:
        done = _PREPARED.setdefault(self._lease._c, set())
        if typename not in done:
            await self._lease.set_type_codec(typename, **how)
            done.add(typename)

    def is_closed(self) -> bool:
        raw = self._lease._c
        return raw is None or raw.is_closed()

    async def close(self, *, timeout: float | None = None) -> None:
        """Give the connection back."""
        del timeout
        context, self._context = self._context, None
        if context is not None:
            await context.__aexit__(None, None, None)

    def terminate(self) -> None:
        """SQLAlchemy has lost track of it: the real connection is ended, the lease with it."""
        raw = self._lease._c
        if raw is not None:
            raw.terminate()
        if self._context is not None and not raw_loop_closed():
            task = asyncio.ensure_future(self.close())
            _CLOSING.add(task)
            task.add_done_callback(_CLOSING.discard)


_CLOSING: set[asyncio.Future[None]] = set()


def raw_loop_closed() -> bool:
    """Whether there is no loop any more to end a lease in: the process ends."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False
