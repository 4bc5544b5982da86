"""Reading slots, services and keys of one server."""

from __future__ import annotations

from filban.pg import Query, Session
from filban.tune.pool_size.rows import Lookup, ServiceUse, Slots

_PACKAGE = __package__ or ""


async def slots(session: Session) -> Slots:
    """The tightest limit for this role."""
    return await session.row(Query(_PACKAGE, "slots"), Slots)


async def services(session: Session) -> list[ServiceUse]:
    """Who has how many connections now, without filban."""
    return await session.rows(Query(_PACKAGE, "services"), ServiceUse)


async def lookup(session: Session, table: str | None) -> Lookup | None:
    """A table to look rows up in: the one named, or the largest; None: there is none."""
    found = await session.rows(Query(_PACKAGE, "lookups"), Lookup, table)
    return found[0] if found else None
