"""Copy a running server into a directory that follows it: what a standby on this machine is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from filban.cluster.binaries import Binaries
from filban.cluster.run import LineHook, run_program
from filban.errors import ClusterBusy, ProgramFailed, ServerError
from filban.pg import Limits, connection, parse
from filban.pg.driver_errors import statement_errors

# pg_basebackup takes its checkpoint before it keeps the WAL from there on: another checkpoint in
# between (a second copy's, of an idle server without wal_keep_size) removes what it needs.
_WAL_GONE = "has already been removed"
_TRIES = 5
_RELEASE_TRIES = 50
_RELEASE_POLL_SECONDS = 0.1
_SLOT = "FROM pg_replication_slots WHERE slot_name = $1"


async def base_backup(
    binaries: Binaries, source: str, target: Path, slot: str | None, on_line: LineHook | None
) -> None:
    """pg_basebackup into an empty directory, set up to stream from `source` (a DSN).

    slot: of the source, which keeps its WAL already. Raises ProgramFailed, DiskFull.
    """
    arguments = ("-S", slot) if slot else ()
    for tries_left in reversed(range(_TRIES)):
        try:
            await run_program(
                binaries.program("pg_basebackup"), "-D", target, "-d", source, "-R", "-P",
                "-X", "stream", "-c", "fast", "--no-sync", *arguments,
                as_owner_of=target, on_line=on_line,
            )  # fmt: skip
        except ProgramFailed as error:
            if not tries_left or _WAL_GONE not in error.output:
                raise
        else:
            return


@contextlib.asynccontextmanager
async def slot_unless_it_fails(dsn: str, slot: str | None) -> AsyncIterator[None]:
    """Make a slot that keeps the WAL from now on; drop it if the block fails: it would hold back
    WAL for nobody.

    Raises ClusterBusy if there is a slot of that name before, which is not ours to drop.
    """
    if slot is None:
        yield
        return
    if await _active(dsn, slot) is not None:
        raise ClusterBusy(
            f'there is a replication slot "{slot}" already', hint="use another name, or drop it"
        )
    ours = True
    try:
        try:
            await _create(dsn, slot)
        except ServerError:  # somebody was faster
            ours = False
            raise
        yield
    except BaseException:
        if not ours:
            raise
        with contextlib.suppress(ServerError):  # its end has taken the slot's server along
            await _drop(dsn, slot)
        raise


async def _create(dsn: str, slot: str) -> None:
    async with connection(parse(dsn), Limits(read_only=False)) as opened:
        with statement_errors("creating a replication slot"):
            await opened.execute("SELECT pg_create_physical_replication_slot($1, true)", slot)


async def _active(dsn: str, slot: str) -> bool | None:
    """Whether somebody streams from the slot; None if there is none of that name."""
    async with connection(parse(dsn)) as opened:
        with statement_errors("looking for a replication slot"):
            found: bool | None = await opened.fetchval(f"SELECT active {_SLOT}", slot)
            return found


async def _drop(dsn: str, slot: str) -> None:
    """Drop it as soon as its user, who has just been ended, is gone from it."""
    for _ in range(_RELEASE_TRIES):
        if not await _active(dsn, slot):
            break
        await asyncio.sleep(_RELEASE_POLL_SECONDS)
    async with connection(parse(dsn), Limits(read_only=False)) as opened:
        with statement_errors("dropping a replication slot"):
            await opened.execute(f"SELECT pg_drop_replication_slot(slot_name) {_SLOT}", slot)
