"""Sessions that wait for locks, and the trees that they make."""

from __future__ import annotations

from filban.pg.loader import Query
from filban.pg.locks.rows import LockWait
from filban.pg.locks.tree import Node, Tree, by_node, drawn, forest, state_of, who
from filban.pg.session import Session


async def lock_waits(session: Session) -> list[LockWait]:
    """Who waits for a lock, and who is waited for; empty when nobody waits."""
    return await session.rows(Query(__name__, "lock_waits"), LockWait)


__all__ = [
    "LockWait", "Node", "Tree", "by_node", "drawn", "forest", "lock_waits", "state_of", "who",
]  # fmt: skip
