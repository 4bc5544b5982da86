"""Reading pg_stat_statements: counters without texts, and the texts of what is new."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import asyncpg

from filban.errors import NotSupported
from filban.pg import Query, Server, Session
from filban.pg.loader import place_schemas
from filban.pg.session import fetch
from filban.profile.statements.rows import Active, Counts, Info, Key, Name, Snapshot, Text

_PACKAGE = __package__ or ""
EXTENSION = "pg_stat_statements"
# The extension's version -> the major whose columns it has. A server keeps the old one through
# pg_upgrade until ALTER EXTENSION … UPDATE.
_COLUMNS_OF = {"1.9": 14, "1.10": 15, "1.11": 17, "1.12": 18}
# A statement longer than this is data; the server's log and its activity cut far earlier.
LONGEST_TEXT = 20_000
# Someone who resets while we read: once more; who resets all the time gets what was read last.
_ATTEMPTS = 3
_KEYS = len(Key._fields)


def ready(server: Server) -> bool:
    """Whether something is counted here: the extension is created, and its library loaded."""
    return server.installed(EXTENSION) is not None and loaded(server)


def loaded(server: Server) -> bool:
    """Whether the library is in shared memory: only then it has its settings."""
    return server.setting(f"{EXTENSION}.max") is not None


async def take(opened: Session) -> Snapshot:
    """Every counter as it stands, in three small reads; texts are not read.

    Raises NotSupported (the extension is not there, not loaded or too old), ConnectionLost.
    """
    for _ in range(_ATTEMPTS):
        info = await _info(opened)
        records = await _read(opened, "entries")
        after = await _info(opened)
        if after.epoch == info.epoch:
            break
    entries = {
        Key._make(r[:_KEYS]): Counts._make(r[_KEYS:]) for r in records if r["query_id"] is not None
    }
    return Snapshot(
        cluster=cluster_of(opened),
        info=after,
        entries=entries,
        hidden=sum(r["query_id"] is None for r in records),
    )


async def texts(opened: Session, query_ids: Collection[int]) -> list[Text]:
    """The texts of these statements. Reads the server's whole file of texts: ask for new ones."""
    records = await _read(opened, "texts", list(query_ids), LONGEST_TEXT)
    distinct = {(r["database_id"], r["query_id"]): r["query"] for r in records}
    return [Text(*name, query) for name, query in distinct.items()]


async def names(opened: Session) -> list[Name]:
    """What the databases and roles are called now."""
    return await opened.rows(Query(_PACKAGE, "names"), Name)


async def activity(opened: Session) -> list[Active]:
    """What other sessions are executing at this moment."""
    return await opened.rows(Query(_PACKAGE, "activity"), Active, LONGEST_TEXT)


def cluster_of(opened: Session) -> str:
    """The system identifier, else where it answers."""
    identifier = opened.server.system_identifier
    if identifier is not None:
        return str(identifier)
    return ",".join(f"{a.host}:{a.port}" for a in opened.target.addresses)


async def _info(opened: Session) -> Info:
    [record] = await _read(opened, "info")
    return Info(**dict(record))


async def _read(opened: Session, name: str, *args: Any) -> list[asyncpg.Record]:
    extension = opened.server.installed(EXTENSION)
    if not loaded(opened.server):
        raise NotSupported(
            f"{EXTENSION} is not in shared_preload_libraries",
            hint="add it there and restart the server",
        )
    if extension is None or extension.schema_quoted is None:
        raise NotSupported(
            f"{EXTENSION} is not installed in database {opened.server.database}",
            hint=f"CREATE EXTENSION {EXTENSION};",
        )
    major = _COLUMNS_OF.get(extension.installed_version or "")
    if major is None and _older(extension.installed_version or ""):
        raise NotSupported(
            f"{EXTENSION} {extension.installed_version} is from before an upgrade of the server",
            hint=f"ALTER EXTENSION {EXTENSION} UPDATE;",
        )
    text = Query(_PACKAGE, name).text(min(major or opened.server.major, opened.server.major))
    return await fetch(
        opened.connection, place_schemas(text, {EXTENSION: extension.schema_quoted}), name, *args
    )


def _older(version: str) -> bool:
    """1.0 to 1.8; what is newer than we know has at least the columns of the server's major."""
    return version in {f"1.{minor}" for minor in range(9)}
