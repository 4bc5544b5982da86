"""Bring one table back: a whole scratch copy, and pg_dump of the one table into a database."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from filban.backup.shelf import Shelf
from filban.cluster import abandoned, run_program
from filban.errors import NotGood, UsageError
from filban.flows.progress import Progress, Silent, step
from filban.flows.restore.look import Look, assert_reachable
from filban.flows.restore.scratch import lay_scratch, recover_scratch
from filban.pg import Limits, Target, connection, parse
from filban.pg.driver_errors import statement_errors

_QUOTED = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname || '.' || c.relname = $1 AND c.relkind IN ('r', 'p')
"""


@dataclass(frozen=True, slots=True)
class TableRestored:
    """What came back. `rows` as counted in the database that it went into."""

    table: str
    database: str
    rows: int
    look: Look
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return self.look.as_json() | {
            "table": self.table,
            "database": self.database,
            "rows": self.rows,
            "seconds": round(self.seconds, 2),
        }


async def restore_table(
    shelf: Shelf,
    found: Look,
    table: str,
    database: str,
    into: Target,
    progress: Progress | None = None,
) -> TableRestored:
    """Restore `table` (schema.name) of `database` as it was at the target into another database.

    All or nothing: one transaction. Raises UsageError if there
    is such a table already, NotGood if there was none at the target.
    """
    assert_reachable(found)
    told, begun = progress or Silent(), time.monotonic()
    await _must_be_free(into, table)
    base, state = abandoned.begin()
    try:
        data = base / "data"
        with step(told, f"a scratch copy of {found.plan.backup.label}") as running:
            await lay_scratch(shelf, found, data)
            copy, _ = await recover_scratch(shelf, found, data)
            running.summary = str(found.plan.target)
        async with connection(parse(copy.dsn_socket(database))) as session:
            quoted = await session.fetchval(_QUOTED, table)
        if quoted is None:
            raise NotGood(
                f"{database} had no table {table} at {found.plan.target}",
                hint="an earlier target: --to, --before-drop",
            )
        with step(told, f"{table} into {into.database}") as running:
            dump = base / "table.dump"
            await run_program(
                copy.binaries.program("pg_dump"), "-Fc", "--no-sync", f"--table={quoted}",
                f"--file={dump}", "-d", copy.dsn_socket(database), as_owner_of=base,
            )  # fmt: skip
            await run_program(
                copy.binaries.program("pg_restore"), "--single-transaction", "--exit-on-error",
                "--no-owner", "-d", into.uri(), dump, as_owner_of=base, env=into.libpq_env(),
            )  # fmt: skip
            rows = await _rows(into, quoted)
            running.summary = f"{rows:,} rows"
        return TableRestored(table, into.database, rows, found, time.monotonic() - begun)
    finally:
        await abandoned.remove(base, state)


async def _must_be_free(into: Target, table: str) -> None:
    async with connection(into) as session:
        if await session.fetchval(_QUOTED, table) is not None:
            raise UsageError(
                f"there is a table {table} in {into.database} already",
                hint="rename it first, or give another database",
            )


async def _rows(into: Target, quoted: str) -> int:
    async with connection(into, Limits(statement_timeout_ms=0)) as session:
        with statement_errors("counting the rows that came back"):
            count: int = await session.fetchval(f"SELECT count(*) FROM {quoted}")
            return count
