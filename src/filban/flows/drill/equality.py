"""Exact equality of a restored copy with its primary, while the primary is being written to.

The moment that both are compared at is one point of the WAL. A session locks the tables in SHARE
mode, which waits for their writers and keeps new ones out, so that what is committed and what is
visible are the same; it exports its snapshot, another session takes it over, the first creates a
restore point and commits. The lock is held for these few round trips only. The second session reads
at leisure what was true at that point, and the copy is recovered to it.

A physical copy has the same blocks: TABLESAMPLE SYSTEM with the same seed takes the same ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import asyncpg

from filban.errors import ClusterBusy, NotGood, StatementFailed, UsageError
from filban.pg import Limits, Query, Target, connection
from filban.pg.driver_errors import statement_errors

Mode = Literal["full", "sample"]

# How long our SHARE lock may queue: everybody who wants to write queues behind it.
LOCK_WAIT_MS = 250
# Writers that never pause need patience: with a pause in between, ten seconds in all.
LOCK_TRIES = 20
_PAUSE_SECONDS = 0.25
# What one table may cost in "sample" mode: at 200 MB/s of hashing (our estimate for one
# core) a third of a second, so that a quick drill of a hundred tables stays within its 30 s.
SAMPLE_BYTES = 64 << 20
_LOCK_NOT_AVAILABLE = "55P03"
_PACKAGE = "filban.flows.drill"
# What a row looks like as text depends on these; both sides get the same.
_TEXT = (
    "SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';"
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 3;"
    "SET LOCAL lc_monetary = 'C'; SET LOCAL xmlbinary = 'base64'"
)


@dataclass(frozen=True, slots=True)
class Table:
    """One table that is compared; `quoted` is the server's own quoting of `name`."""

    name: str
    quoted: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Digest:
    """What both sides must agree on: all rows counted, and a hash over the rows of all blocks or of
    `percent` of them. Order does not matter: the sum of each row's 64-bit hash."""

    table: str
    rows: int
    hashed_rows: int
    hash: str
    percent: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One table that is not the same."""

    table: str
    primary: Digest
    copy: Digest | None

    def __str__(self) -> str:
        if self.copy is None:
            return f"{self.table} is not in the copy"
        if self.primary.rows != self.copy.rows:
            return (
                f"{self.table} has {self.copy.rows:,} rows in the copy, {self.primary.rows:,} then"
            )
        return f"{self.table}: {self.primary.rows:,} rows on both sides, not the same contents"


@dataclass(slots=True)
class Moment:
    """A point of the WAL, and a session on the primary that still sees what was true there;
    `superuser` is the name of the role that initdb made, which every copy has.

    `lock_seconds`: how long the tables were locked. `at`: Unix time of the point by our clock.
    """

    name: str
    lsn: str
    segment: str
    at: float
    lock_seconds: float
    tables: tuple[Table, ...]
    reader: asyncpg.Connection
    seed: int
    superuser: str


def percent_for(size_bytes: int, mode: Mode) -> float:
    """How much of a table is hashed: all of a small one."""
    if mode == "full" or size_bytes <= SAMPLE_BYTES:
        return 100.0
    return round(100 * SAMPLE_BYTES / size_bytes, 4)


@contextlib.asynccontextmanager
async def moment(
    primary: Target, only: Sequence[str] | None = None, *, tries: int = LOCK_TRIES
) -> AsyncIterator[Moment]:
    """Fix a moment of a live primary; the session that sees it stays open for the block.

    `only`: names of tables (schema.name); None for all of the database. Raises ClusterBusy if the
    tables never paused for our lock, RightsMissing without the right to create restore points.
    """
    writing = Limits(read_only=False, statement_timeout_ms=0, lock_timeout_ms=LOCK_WAIT_MS)
    reading = Limits(statement_timeout_ms=0)
    async with connection(primary, writing) as locker, connection(primary, reading) as reader:
        await reader.execute("SET idle_in_transaction_session_timeout = 0")
        tables = await _tables(locker, only)
        for _ in range(tries):
            try:
                with statement_errors("fixing the moment of comparison"):
                    found = await _once(locker, reader, tables)
                break
            except StatementFailed as error:
                if error.sqlstate != _LOCK_NOT_AVAILABLE:
                    raise
                await reader.execute("ROLLBACK")
                await asyncio.sleep(_PAUSE_SECONDS)
        else:
            raise ClusterBusy(
                f"the tables were never free of writers for {LOCK_WAIT_MS} ms, {tries} times",
                hint="a long transaction writes them: filban check names it; or --tables with less",
            )
        yield found


async def _tables(session: asyncpg.Connection, only: Sequence[str] | None) -> tuple[Table, ...]:
    text = Query(_PACKAGE, "tables").text(session.get_server_version().major)
    found = tuple(Table(**dict(r)) for r in await session.fetch(text, only and list(only)))
    missing = set(only or ()) - {t.name for t in found}
    if missing:
        raise UsageError(f"there is no table {', '.join(sorted(missing))}", hint="as schema.name")
    return found


async def _once(
    locker: asyncpg.Connection, reader: asyncpg.Connection, tables: tuple[Table, ...]
) -> Moment:
    """One attempt. Raises LockNotAvailableError if the lock could not be had in time."""
    name = f"filban drill {secrets.token_hex(6)}"
    everything = ", ".join(f"ONLY {t.quoted}" for t in tables)
    await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    if tables:  # a TRUNCATE between the moment and our reading would be seen through any snapshot
        await reader.execute(f"LOCK TABLE {everything} IN ACCESS SHARE MODE")
    async with locker.transaction():
        if tables:
            await locker.execute(f"LOCK TABLE {everything} IN SHARE MODE")
        locked = time.monotonic()
        snapshot = await locker.fetchval("SELECT pg_export_snapshot()")
        await reader.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        lsn = await locker.fetchval("SELECT pg_create_restore_point($1)::text", name)
    held, at = time.monotonic() - locked, time.time()
    segment = await locker.fetchval("SELECT pg_walfile_name($1::text::pg_lsn - 1)", lsn)
    await locker.fetchval("SELECT pg_switch_wal()::text")  # archived now, not when it is full
    superuser = await locker.fetchval("SELECT rolname FROM pg_roles WHERE oid = 10")
    seed = secrets.randbelow(1 << 30)
    return Moment(name, lsn, segment, at, held, tables, reader, seed, superuser)


async def digests(
    session: asyncpg.Connection, tables: Iterable[Table], seed: int, mode: Mode
) -> list[Digest]:
    """Count and hash each table as this session's snapshot sees it. Inside a transaction."""
    await session.execute(_TEXT)
    return [
        await _digest(session, table, percent_for(table.size_bytes, mode), seed) for table in tables
    ]


async def _digest(session: asyncpg.Connection, table: Table, percent: float, seed: int) -> Digest:
    whole = percent >= 100
    sample = "" if whole else f" TABLESAMPLE SYSTEM ({percent}) REPEATABLE ({seed})"
    with statement_errors(f"hashing {table.name}"):
        row: Any = await session.fetchrow(
            "SELECT count(*), "
            "coalesce(sum(hashtextextended(filban_row::text, 0)::numeric), 0)::text "
            f"FROM ONLY {table.quoted} filban_row{sample}"
        )
        rows = (
            row[0] if whole else await session.fetchval(f"SELECT count(*) FROM ONLY {table.quoted}")
        )
    return Digest(table.name, rows, row[0], row[1], percent)


async def digests_of_copy(copy: Target, found: Moment, mode: Mode) -> list[Digest]:
    """The same of the restored copy: the same blocks, whatever the sizes are there."""
    async with connection(copy, Limits(statement_timeout_ms=0)) as session:
        present = {t.name for t in await _tables(session, None)}
        async with session.transaction(isolation="repeatable_read", readonly=True):
            tables = [t for t in found.tables if t.name in present]
            return await digests(session, tables, found.seed, mode)


def differences(primary: Sequence[Digest], copy: Sequence[Digest]) -> list[Difference]:
    """Every table on which the two do not agree."""
    there = {d.table: d for d in copy}
    return [Difference(d.table, d, there.get(d.table)) for d in primary if d != there.get(d.table)]


def assert_equal(primary: Sequence[Digest], copy: Sequence[Digest]) -> None:
    """Raises NotGood that names the tables that differ."""
    found = differences(primary, copy)
    if found:
        raise NotGood(
            "the restored copy is not what the primary had: " + "; ".join(map(str, found[:5])),
            hint="the backup or its WAL is not good: filban backup verify",
        )
