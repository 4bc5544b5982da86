"""Find the transaction that dropped or emptied a table, so that a restore can end just before it.

The WAL names files, not tables, and a dropped table's file is in no catalogue any more. A scratch
copy still knows it: recovered to the end of the backup it tells the table's file, the WAL tells the
commits that remove that file, and the copy, recovered up to such a commit and past it, tells
whether the table went, was emptied, or was only rewritten (VACUUM FULL, ALTER TABLE) under another
file.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from filban.backup.restore import recover
from filban.backup.restore.plan import choose_timeline
from filban.backup.restore.reading import Reader
from filban.backup.restore.records import Record
from filban.backup.restore.targets import IMMEDIATE, RecoveryTarget
from filban.backup.shelf import Shelf, Stored
from filban.cluster import Cluster, abandoned
from filban.errors import NotGood
from filban.flows.progress import Progress, Silent, step
from filban.flows.restore.look import look
from filban.flows.restore.scratch import lay_scratch, recover_scratch
from filban.pg import Limits, connection, parse
from filban.pg.driver_errors import statement_errors

_TABLE = """
SELECT pg_relation_filepath(c.oid) AS file, format('%I.%I', n.nspname, c.relname) AS quoted
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname || '.' || c.relname = $1 AND c.relkind = 'r'
"""


@dataclass(frozen=True, slots=True)
class Lost:
    """What happened to a table, and the target just before it. `bytes`: its first gigabyte's size
    then (its rows cannot be counted: recovery holds the transaction's lock until the commit)."""

    table: str
    kind: Literal["dropped", "emptied"]
    xid: int
    lsn: int
    time: datetime | None
    bytes: int

    @property
    def target(self) -> RecoveryTarget:
        """Recovery that ends before the record of the commit."""
        return RecoveryTarget("lsn", self.lsn, inclusive=False)


@dataclass(frozen=True, slots=True)
class _State:
    file: str
    rows: int


async def find_drop(
    shelf: Shelf,
    table: str,
    database: str,
    *,
    timeline: int | None = None,
    label: str | None = None,
    progress: Progress | None = None,
) -> Lost:
    """The last time that `table` (schema.name) lost all its rows by DROP or TRUNCATE.

    Looks from the newest backup on (or from `label`'s), going back a backup at a time. Needs room
    for one more copy of the cluster. Raises NotGood if no backup has the table, or nothing in the
    WAL drops or empties it.
    """
    told = progress or Silent()
    labels = [label] if label else [b.label for b in reversed(await shelf.backups())]
    for one in labels:
        lost = await _from(shelf, one, table, database, timeline, told)
        if lost is not None:
            return lost
    raise NotGood(
        f"{table} of {database} is in no backup, or nothing in the WAL drops or truncates it "
        f"(looked from {', '.join(labels) or 'no backup'} on)",
        hint="another database: --database NAME; rows deleted one by one: restore to a time (--to)",
    )


async def _from(
    shelf: Shelf, label: str, table: str, database: str, timeline: int | None, told: Progress
) -> Lost | None:
    """From one backup on; None if it does not have the table, or nothing drops or empties it."""
    found = await look(shelf, IMMEDIATE, timeline=timeline, label=label)
    base, state = abandoned.begin()
    try:
        with step(told, f"a scratch copy of {label}") as running:
            await lay_scratch(shelf, found, base / "data")
            copy, _ = await recover_scratch(shelf, found, base / "data", action="pause")
            now = await _state(copy, database, table)
            running.summary = f"{'has' if now else 'does not have'} {table}"
        if now is None:
            return None
        line, _ = choose_timeline(found.archive, [found.plan.backup], found.plan.timeline)
        reader = Reader(shelf, found.archive, line, found.binaries)
        with step(told, "commits that remove its file") as running:
            lost = await _follow(copy, reader, found.plan.backup, database, table, now)
            running.summary = f"{lost.kind} by transaction {lost.xid}" if lost else "none"
        return lost
    finally:
        await abandoned.remove(base, state)


async def _follow(
    copy: Cluster, reader: Reader, backup: Stored, database: str, table: str, now: _State
) -> Lost | None:
    """Follow the table from file to file through the WAL; the last time that it lost its rows."""
    lost: Lost | None = None
    async with contextlib.aclosing(reader.records(backup.end_lsn)) as records:
        async for record in records:
            if now.file not in record.files:
                continue
            await recover.go_on(copy, RecoveryTarget("lsn", record.lsn, inclusive=False))
            size = (copy.data_dir / now.file).stat().st_size
            await recover.go_on(copy, RecoveryTarget("lsn", record.lsn))
            after = await _state(copy, database, table)
            lost = _verdict(table, record, size, after) or lost
            if after is None:
                break
            now = after
    return lost


def _verdict(table: str, record: Record, size: int, after: _State | None) -> Lost | None:
    """None for a rewrite, and for a table that was empty already."""
    if not size or (after is not None and after.rows):
        return None
    kind: Literal["dropped", "emptied"] = "dropped" if after is None else "emptied"
    return Lost(table, kind, record.xid, record.lsn, record.time, size)


async def _state(copy: Cluster, database: str, table: str) -> _State | None:
    """The table's file and rows as the copy has them now; None if it has no such table."""
    limits = Limits(statement_timeout_ms=0)
    async with connection(parse(copy.dsn_socket(database)), limits) as session:
        with statement_errors(f"looking for {table} in the scratch copy"):
            row = await session.fetchrow(_TABLE, table)
            if row is None:
                return None
            rows = await session.fetchval(f"SELECT count(*) FROM ONLY {row['quoted']}")
    return _State(row["file"], rows)
