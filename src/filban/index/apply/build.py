"""One index: built, dropped, and what a failed build has left cleaned away.

CREATE INDEX CONCURRENTLY blocks nobody, but waits for every transaction that could still see the
table as it was, and leaves an invalid index behind when it fails: every write keeps that up and no
query may use it (PostgreSQL documentation, CREATE INDEX, "Building Indexes Concurrently").
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import asyncpg

from filban.errors import (
    ConnectionLost,
    NotGood,
    ServerError,
    StatementFailed,
    UsageError,
)
from filban.index.apply.guard import POLL_SECONDS, Guard, Tell
from filban.index.apply.plan import Step
from filban.index.apply.progress import Seen, seen
from filban.index.apply.rows import Building, Found, Table
from filban.pg import Query, Session
from filban.pg.driver_errors import statement_errors
from filban.sql import parse

_PACKAGE = "filban.index.apply"
# What another try may mend: a lock that was not to be had, a deadlock, somebody who cancelled.
TRY_AGAIN = frozenset({"55P03", "40P01", "57014"})
FIRST_PAUSE_SECONDS = 1.0
# How long an interrupted run waits for each lock while it cleans up.
HURRY_MS = 1_000
PARTITIONED_INDEX = "I"

Show = Callable[[Seen], None]


@dataclass(frozen=True, slots=True)
class Built:
    """seconds: of the try that succeeded; tries: how many it took."""

    index: str
    seconds: float
    size_bytes: int
    tries: int


class Builder:
    """One session that builds, one that looks on; one statement at a time."""

    def __init__(
        self, works: Session, looks: Session, guard: Guard, tries: int, tell: Tell, show: Show
    ) -> None:
        self._works = works
        self._looks = looks
        self._guard = guard
        self._tries = tries
        self._tell = tell
        self._show = show

    async def found(self, schema: str, name: str) -> Found | None:
        """The relation of this name, as it is now."""
        rows = await self._looks.rows(Query(_PACKAGE, "named"), Found, schema, name)
        return rows[0] if rows else None

    async def table(self, step: Step) -> Table:
        """Raises UsageError where there is none."""
        rows = await self._looks.rows(Query(_PACKAGE, "table"), Table, step.schema, step.table)
        if not rows:
            raise UsageError(
                f"there is no table {step.schema}.{step.table} in this database",
                hint="the plan was made for another one, or the table is gone",
            )
        return rows[0]

    async def create(self, step: Step) -> Built:
        """Build it, as often as it takes and is allowed.

        Raises NotGood when the tries are used up or nothing would help, DiskFull, ConnectionLost.
        What was half built is dropped, also when the caller is cancelled.
        """
        table = await self.table(step)
        pause = FIRST_PAUSE_SECONDS
        for number in range(1, self._tries + 1):
            await self.drop_leftover(step.schema, step.name)
            await self._guard.ready(step, table)
            started = time.perf_counter()
            async with self._cleaned(step):
                failure = await self._try(step.sql, step)
            if failure is None:
                if step.has_expression:
                    await self.insist(f"ANALYZE {table.quoted}", f"analysing {table.quoted}")
                done = await self.found(step.schema, step.name)
                size = done.size_bytes if done else 0
                return Built(step.index, time.perf_counter() - started, size, number)
            await self.drop_leftover(step.schema, step.name)
            self._tell(f"try {number} of {self._tries} for {step.index} failed: {failure}")
            if number < self._tries:
                await asyncio.sleep(pause)
                pause *= 2
        raise NotGood(
            f"{step.index} could not be built in {self._tries} tries; the last one: {failure}",
            hint="nothing of it is left; `filban check` names long transactions; run it again",
        )

    async def drop(self, schema: str, name: str, what: str = "dropping") -> None:
        """Drop an index without blocking where PostgreSQL can; nothing to do where there is none.

        Raises NotGood when the tries are used up, UsageError for what must stay.
        """
        there = await self.found(schema, name)
        if there is None:
            return
        _may_go(there, f"{schema}.{name}")
        how = "" if there.kind == PARTITIONED_INDEX else "CONCURRENTLY "
        await self.insist(f"DROP INDEX {how}{there.quoted}", what)

    async def insist(self, sql: str, what: str) -> None:
        """Run a short statement that may wait for a lock. Raises NotGood, StatementFailed."""
        pause = FIRST_PAUSE_SECONDS
        for number in range(1, self._tries + 1):
            failure = await self._try(sql, None)
            if failure is None:
                return
            self._tell(f"try {number} of {self._tries} of {what} failed: {failure}")
            if number < self._tries:
                await asyncio.sleep(pause)
                pause *= 2
        raise NotGood(
            f"{what} failed in {self._tries} tries; the last one: {failure}",
            hint="somebody's transaction is in the way: `filban check` names it. The next apply or "
            f"revert of the plan tries again; to do it by hand: {sql};",
        )

    async def drop_leftover(self, schema: str, name: str) -> None:
        """Drop what a failed build has left under this name, and say so.

        Raises UsageError where somebody builds it now, or where it is no index.
        """
        there = await self.found(schema, name)
        if there is None or (there.kind == "i" and there.is_valid):
            return
        if there.kind == PARTITIONED_INDEX:  # made ON ONLY its table: to be completed, not dropped
            return
        if there.kind != "i":
            raise UsageError(
                f"{schema}.{name} is there already and is no index", hint="change the name"
            )
        if there.builder_pid is not None:
            raise UsageError(
                f"{schema}.{name} is being built by backend {there.builder_pid}",
                hint="wait for it, or end that backend; what it leaves is cleaned then",
            )
        self._tell(f"dropping {schema}.{name}, an invalid index that a failed build has left")
        await self.drop(schema, name, "dropping what a failed build has left")

    @contextlib.asynccontextmanager
    async def _cleaned(self, step: Step) -> AsyncIterator[None]:
        """Drop what is half built when the block ends by an exception and the server lives."""
        try:
            yield
        except ConnectionLost:
            raise
        except asyncio.CancelledError:
            await self._drop_if_free(step)
            raise
        except BaseException:
            await self.drop_leftover(step.schema, step.name)
            raise

    async def _drop_if_free(self, step: Step) -> None:
        """Who interrupts does not wait for others' transactions, as even the drop of what is half
        built has to: then it stays, is named, and goes with the next run."""
        try:
            with statement_errors("hurrying"):
                await self._works.connection.execute(f"SET lock_timeout = {HURRY_MS}")
            there = await self.found(step.schema, step.name)
            if there is None or there.is_valid:
                return
            failure = await self._try(f"DROP INDEX CONCURRENTLY {there.quoted}", None)
        except ServerError as error:
            failure = error.message
        if failure is not None:
            self._tell(f"{step.index} is left behind, invalid ({failure}): the next apply drops it")

    async def _try(self, sql: str, step: Step | None) -> str | None:
        """Run a statement; what went wrong, if another try may mend it.

        step: to be looked after and shown while it runs. Raises NotGood, StatementFailed …
        """
        try:
            return await self._run(sql, step)
        except StatementFailed as error:
            if error.sqlstate in TRY_AGAIN:
                return error.message
            if step is None:
                raise
            raise NotGood(
                f"{step.index} cannot be built: {error.message}",
                hint=error.hint or "nothing of it is left; mend that and run it again",
            ) from error

    async def _run(self, sql: str, step: Step | None) -> str | None:
        connection = self._works.connection
        running = asyncio.create_task(connection.execute(sql))
        try:
            reason = await self._look_on(running, step)
        except BaseException:
            await self._cancel(running)
            raise
        if reason is not None:
            await self._cancel(running)
            return reason
        with statement_errors(f"running {_short(sql)}"):
            await running
        return None

    async def _look_on(self, running: asyncio.Task[str], step: Step | None) -> str | None:
        """Until it ends (None), or until something speaks against it (what)."""
        started = time.monotonic()
        while not (await asyncio.wait({running}, timeout=POLL_SECONDS))[0]:
            if step is None:
                continue
            pid = self._works.connection.get_server_pid()
            for row in await self._looks.rows(Query(_PACKAGE, "progress"), Building, pid):
                self._show(seen(step.index, row, time.monotonic() - started))
            if reason := await self._guard.trouble():
                return reason
        return None

    async def _cancel(self, running: asyncio.Task[str]) -> None:
        """End the statement on the server and wait until it has ended."""
        pid = self._works.connection.get_server_pid()
        if not running.done():
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await self._looks.connection.execute("SELECT pg_cancel_backend($1)", pid)
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await running


def _may_go(index: Found, name: str) -> None:
    if index.kind not in ("i", PARTITIONED_INDEX):
        raise UsageError(f"{name} is no index", hint="the plan is not for this database")
    if index.has_constraint:
        raise UsageError(
            f"{name} carries a constraint and is not dropped",
            hint="ALTER TABLE … DROP CONSTRAINT, if it is really not wanted any more",
        )


_CONCURRENTLY = re.compile(r"\b(INDEX)\s+CONCURRENTLY\b", re.IGNORECASE)


def at_once(sql: str) -> str:
    """The same statement without CONCURRENTLY."""
    return _CONCURRENTLY.sub(r"\1", sql, count=1)


def concurrently(definition: str) -> str:
    """pg_get_indexdef's statement, made CONCURRENTLY."""
    return re.sub(r"^(CREATE (?:UNIQUE )?INDEX) ", r"\1 CONCURRENTLY ", definition, count=1)


def only(sql: str) -> str:
    """A partitioned table's: without CONCURRENTLY, which it cannot have, and ON ONLY the parent."""
    relation = parse(sql).statements[0].fields["relation"]
    if not relation.get("inh"):
        return at_once(sql)  # it says ONLY already, as pg_get_indexdef does
    raw, table_at = sql.encode(), relation["location"]
    return at_once((raw[:table_at] + b"ONLY " + raw[table_at:]).decode())


def _short(sql: str) -> str:
    return sql if len(sql) <= 80 else sql[:79] + "…"
