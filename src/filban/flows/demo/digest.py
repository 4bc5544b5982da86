"""The content of a database as numbers that two servers can be compared by."""

from __future__ import annotations

from dataclasses import dataclass

from filban.pg import Query, Session
from filban.pg.driver_errors import statement_errors

PACKAGE = "filban.flows.demo"


@dataclass(frozen=True, slots=True)
class Table:
    """One table and SQL about it, quoted by the server."""

    name: str
    digest_sql: str
    lock_sql: str


@dataclass(frozen=True, slots=True)
class Digest:
    """One table's content: its rows, and the sum of a 64-bit hash of each row's text."""

    rows: int
    hash: str


async def tables(session: Session) -> list[Table]:
    return await session.rows(Query(PACKAGE, "tables"), Table)


async def digest(session: Session) -> dict[str, Digest]:
    """Each table's digest, as this session's transaction sees it. Reads everything."""
    found = {}
    for table in await tables(session):
        with statement_errors(f"digesting {table.name}"):
            (record,) = await session.connection.fetch(table.digest_sql)
        found[table.name] = Digest(**dict(record))
    return found
