"""filban: takes the PostgreSQL behind a Python service to production and proves each step.

What a service imports is here, and loaded when it is first used:

    from filban import create_pool, Pool, connect, Router
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from filban.pool import Pool, Router, connect, create_pool

__all__ = ["Pool", "Router", "__version__", "connect", "create_pool"]


def __getattr__(name: str) -> Any:
    """Load the pool when one of its names is asked for: `import filban` alone costs nothing."""
    if name in {"Pool", "Router", "connect", "create_pool"}:
        from filban import pool

        return getattr(pool, name)
    raise AttributeError(f"module 'filban' has no attribute {name!r}")
