"""New bounds for an open pool: surplus connections go when they are free, missing ones may come."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filban.pool.holder import Holder
    from filban.pool.pool import Pool

# For a connection that is no longer wanted to say goodbye.
CLOSE_SECONDS = 5.0


def resize(pool: Pool, min_size: int, max_size: int) -> None:
    """Set the bounds and move towards them."""
    pool._minsize, pool._maxsize = min_size, max_size
    _grow(pool, max_size)
    _shrink(pool, max_size)
    queue = pool._queue
    while queue.waiters and (free := queue.take_nowait()):
        queue.put_nowait(free)
    pool._schedule_min_size_maintenance()


def _grow(pool: Pool, size: int) -> None:
    """Those on their way out stay after all, then new ones."""
    missing = size - sum(not h.retired for h in pool._holders)
    for holder in [h for h in pool._holders if h.retired][: max(0, missing)]:
        holder.retired = False
        missing -= 1
    for _ in range(missing):
        pool._add_holder()


def _shrink(pool: Pool, size: int) -> None:
    """Those without a connection go first, then idle ones, then, once released, those in use."""
    staying = [h for h in pool._holders if not h.retired]
    staying.sort(key=lambda h: (h._in_use is not None, h.is_connected()))
    queue = pool._queue
    for holder in staying[: max(0, len(staying) - size)]:
        holder.retired = True
        if holder in queue.idle or holder in queue.empty:
            queue.remove([holder])
            retire(pool, holder)


def retire(pool: Pool, holder: Holder) -> None:
    """Let a free holder go, with its connection."""
    if holder in pool._holders:
        pool._holders.remove(holder)
    if holder._con is not None and not holder._con.is_closed():
        pool.in_background(holder._con.close(timeout=CLOSE_SECONDS))
