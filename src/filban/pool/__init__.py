"""Inside the user's service: the pool, and the router over several servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filban.pool.leaks import LeakReport
from filban.pool.pool import Pool, create_pool
from filban.pool.stats import BUCKETS, HistogramSnapshot, PoolStats

if TYPE_CHECKING:
    from filban.pool.routing import Router, connect

__all__ = [
    "BUCKETS", "HistogramSnapshot", "LeakReport", "Pool", "PoolStats", "Router", "connect",
    "create_pool",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in {"Router", "connect"}:
        from filban.pool import routing

        return getattr(routing, name)
    raise AttributeError(f"module 'filban.pool' has no attribute {name!r}")
