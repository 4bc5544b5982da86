"""What became of a commit that nobody acknowledged."""

from __future__ import annotations

import asyncpg

from filban.errors import CommitUnknown
from filban.pg.loader import OLDEST_MAJOR, Query
from filban.pool.routing.fleet import Fleet
from filban.pool.routing.lease import Lease


async def fate_of(fleet: Fleet, on_primary: Lease, lost: CommitUnknown | int) -> str | None:
    """See `Router.fate`."""
    xid = lost.xid if isinstance(lost, CommitUnknown) else lost
    begun = lost.timeline if isinstance(lost, CommitUnknown) else None
    if xid is None:
        return None
    async with on_primary as connection:
        text = Query("filban.pool.routing", "fate").text(OLDEST_MAJOR)
        try:
            status: str | None = await connection.fetchval(text, str(xid))
        except asyncpg.InvalidParameterValueError:  # "is in the future": it never got here
            return "aborted"
    return judged(fleet, xid, begun, status)


def judged(fleet: Fleet, xid: int, begun: int | None, status: str | None) -> str | None:
    """What the primary says of `xid`, a transaction of timeline `begun`, as far as it can know.

    A new primary goes on counting where its log ended: it may have given an id of the old one,
    whose transaction never got here, to another transaction since.
    """
    timeline = fleet.primary.position.timeline if fleet.primary and fleet.primary.position else None
    if begun is None or begun == timeline:
        return status
    if status != "committed":
        return "aborted" if status else None
    forks = [fork for fork in fleet.fork_xids if fork > begun]
    if not forks:
        return None  # we have not seen it happen
    over_before, over_after = fleet.fork_xids[min(forks)]
    if xid < over_before:
        return status
    return "aborted" if xid >= over_after else None
