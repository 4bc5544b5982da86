"""The catalogue of one database -> rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg

from filban.pg.loader import Query
from filban.pool.clean.rows import Function, Named, Use

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of a database. version: read before the rest, so that a change in between
    shows at the next look."""

    version: str
    names: list[Named]
    functions: list[Function]
    uses: list[Use]


async def read_version(connection: asyncpg.Connection[Any], *, timeout: float | None) -> str:
    """A text that differs when something that counts has changed. Raises what asyncpg raises."""
    text = Query(__package__, "version").text(connection.get_server_version().major)
    # asyncpg's own method: a service's connection class may have another signature.
    return str(await asyncpg.Connection.fetchval(connection, text, timeout=timeout))


async def read_rows(
    connection: asyncpg.Connection[Any], version: str, *, timeout: float | None
) -> Rows:
    """Everything about the objects of the database. Raises what asyncpg raises."""

    async def read(name: str, row: type[T]) -> list[T]:
        text = Query(__package__, name).text(connection.get_server_version().major)
        records = await asyncpg.Connection.fetch(connection, text, timeout=timeout)
        return [row(**record) for record in records]

    return Rows(
        version=version,
        names=await read("names", Named),
        functions=await read("functions", Function),
        uses=await read("uses", Use),
    )
