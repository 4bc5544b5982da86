"""In the child of a fork the sockets are the parent's: nothing may be sent on them, not even a
goodbye, or the parent's sessions end or mix up."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filban.pool.pool import Pool

_open: weakref.WeakSet[Pool] = weakref.WeakSet()
_inherited: list[Any] = []  # never finalised: a destructor would talk to the server


def watch(pool: Pool) -> None:
    """Make the pool useless in children of this process."""
    _open.add(pool)


def _in_child() -> None:
    for pool in list(_open):
        pool._ready = False
        for holder in pool._holders:
            lease = None if holder.lease is None else holder.lease()
            if lease is not None:
                lease._detach()
            con, holder._con = holder._con, None
            if con is not None:
                _inherited.append(con)


os.register_at_fork(after_in_child=_in_child)
