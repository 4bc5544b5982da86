"""A plan of maintenance, done: one statement at a time, looked after while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from filban.errors import ConnectionLost, DiskFull, FilbanError, ServerError, StatementFailed
from filban.index.apply.build import FIRST_PAUSE_SECONDS, HURRY_MS, TRY_AGAIN
from filban.index.apply.guard import POLL_SECONDS, Bounds, Guard, Tell
from filban.index.apply.progress import Seen, seen
from filban.index.apply.rows import Building, Place
from filban.index.apply.work import CLIENT_CHECK, LOCK_KEY
from filban.index.maintain.collect import fits
from filban.index.maintain.plan import Step
from filban.index.maintain.window import Window
from filban.index.upkeep import collect
from filban.index.upkeep.invalid import invalid, to_drop
from filban.index.upkeep.rows import Index
from filban.pg import Limits as SessionLimits
from filban.pg import Query, Session, Target, session
from filban.pg.driver_errors import statement_errors

_PACKAGE = __package__ or ""
_APPLY = "filban.index.apply"
# How long to sleep at most before the clock is looked at again: it may be set, a laptop may sleep.
_CLOCK_SECONDS = 30.0

Show = Callable[[Seen], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """lock_timeout_ms: for each wait for a lock or an old transaction, which blocks no reads or
    writes; tries: of each step; pause_seconds: between two steps. window: a step is begun only in
    it, and only when its forecast ends in it too."""

    lock_timeout_ms: int = 60_000
    tries: int = 3
    pause_seconds: float = 0.0
    window: Window | None = None
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one step. failure: "" where it was done. freed_bytes: of a rebuild or drop."""

    step: Step
    seconds: float
    freed_bytes: int = 0
    failure: str = ""


async def run(
    target: Target, steps: Sequence[Step], limits: Limits, *, tell: Tell, show: Show
) -> list[Done]:
    """Do the steps. One that fails leaves nothing behind and does not keep the others from it.

    Raises ServerError when another run works on this database, NotSupported, ConnectionLost. When
    the caller is cancelled, the statement is, too, and what it leaves is dropped.
    """
    async with _opened(target, limits) as (works, looks):
        place = await looks.row(Query(_APPLY, "place"), Place)
        guard = Guard(looks, limits.bounds, place, tell)
        if not guard.sees_the_disk and limits.bounds.room_bytes is None:
            tell("the server's disk cannot be seen from here: say --room SIZE to have it respected")
        return await _Work(works, looks, guard, limits, tell, show).all(steps)


@contextlib.asynccontextmanager
async def _opened(target: Target, limits: Limits) -> AsyncIterator[tuple[Session, Session]]:
    """One session that works, and one that looks on, on the same server."""
    doing = SessionLimits(
        statement_timeout_ms=0, lock_timeout_ms=limits.lock_timeout_ms, read_only=False
    )
    async with session(target, doing) as works, session(target) as looks:
        fits(works)
        with statement_errors("looking for another run"):
            free = await works.connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY)
            await works.connection.execute(f"SET client_connection_check_interval='{CLIENT_CHECK}'")
        if not free:
            raise ServerError(
                "another filban maintains this database or applies a plan now",
                hint="wait for it: indexes are built one at a time",
            )
        yield works, looks


class _Work:
    def __init__(
        self, works: Session, looks: Session, guard: Guard, limits: Limits, tell: Tell, show: Show
    ) -> None:
        self._works = works
        self._looks = looks
        self._guard = guard
        self._limits = limits
        self._tell = tell
        self._show = show
        self._forecast = 0.0
        self._taken = 0.0

    async def all(self, steps: Sequence[Step]) -> list[Done]:
        done: list[Done] = []
        for number, step in enumerate(steps):
            if number and self._limits.pause_seconds:
                await asyncio.sleep(self._limits.pause_seconds)
            await self._hours(step)
            done.append(await self._one(step))
            said = done[-1].failure or "done"
            self._tell(f"{number + 1} of {len(steps)}: {step.sql}: {said}")
        return done

    async def _hours(self, step: Step) -> None:
        """Until the window is open, and long enough for the forecast as this run has corrected it;
        what no window is long enough for begins when it opens."""
        window = self._limits.window
        said = False
        while window is not None:
            now = datetime.now().astimezone()
            wait = window.opens_in(now)
            if not wait and self._seconds(step) > window.closes_in(now):
                if self._fresh_window(window, now):
                    return
                wait = window.closes_in(now) + 1.0
            if not wait:
                return
            if not said:
                self._tell(f"waiting for the window {window} with {step.sql}")
                said = True
            await asyncio.sleep(min(wait, _CLOCK_SECONDS))

    @staticmethod
    def _fresh_window(window: Window, now: datetime) -> bool:
        opened = (now.hour * 60 + now.minute) - (window.start.hour * 60 + window.start.minute)
        return opened % (24 * 60) < 1

    def _seconds(self, step: Step) -> float:
        """The forecast, times what this run's steps have taken for each second of theirs."""
        correction = self._taken / self._forecast if self._forecast >= 1.0 else 1.0
        return step.forecast_seconds * correction

    async def _one(self, step: Step) -> Done:
        before = await self._index(step)
        if step.kind == "drop" and (before is None or not to_drop(before) or before.busy):
            return Done(step, 0.0, failure="it is no leftover any more")
        started = time.monotonic()
        try:
            self._guard.require(step.subject, step.room_bytes)
            await self._tried(step)
        except ConnectionLost:
            raise
        except (ServerError, DiskFull) as error:
            return Done(step, time.monotonic() - started, failure=_told(error))
        seconds = time.monotonic() - started
        self._forecast += step.forecast_seconds
        self._taken += seconds if step.forecast_seconds else 0.0
        return Done(step, seconds, await self._freed(before))

    async def _index(self, step: Step) -> Index | None:
        if step.kind not in ("drop", "reindex"):
            return None
        return next((i for i in await collect.indexes(self._looks) if i.oid == step.oid), None)

    async def _freed(self, before: Index | None) -> int:
        """A rebuilt index has another oid and the same name."""
        if before is None:
            return 0
        now = [i for i in await collect.indexes(self._looks) if i.quoted == before.quoted]
        return before.size_bytes - sum(i.size_bytes for i in now)

    async def _tried(self, step: Step) -> None:
        """Raises StatementFailed when the tries are used up or another one would not help."""
        pause = FIRST_PAUSE_SECONDS
        for number in range(1, self._limits.tries + 1):
            try:
                return await self._cleaned(step)
            except StatementFailed as error:
                if error.sqlstate not in TRY_AGAIN or number == self._limits.tries:
                    raise
                self._tell(f"try {number} of {self._limits.tries}: {error.message}")
                await asyncio.sleep(pause)
                pause *= 2
        return None

    async def _cleaned(self, step: Step) -> None:
        """Run it; when it ends otherwise than well, drop what it has left."""
        try:
            await self._run(step)
        except ConnectionLost:
            raise
        except asyncio.CancelledError:
            await self._hurry(step)
            raise
        except FilbanError:
            await self._drop_leftovers(step)
            raise

    async def _run(self, step: Step) -> None:
        await self._calm()
        running = asyncio.create_task(self._works.connection.execute(step.sql))
        try:
            trouble = await self._look_on(running, step)
        except BaseException:
            await self._cancel(running)
            raise
        if trouble:
            await self._cancel(running)
            raise ServerError(trouble, hint="run it again when that is over")
        with statement_errors(f"running {step.sql}"):
            await running

    async def _calm(self) -> None:
        """Until disk and standbys allow a start. Raises ServerError when patience is over."""
        started = time.monotonic()
        said = ""
        while reason := await self._guard.trouble():
            if time.monotonic() - started > self._limits.bounds.patience_seconds:
                raise ServerError(f"not begun: {reason}", hint="run it again when that is over")
            if reason != said:
                self._tell(f"waiting: {reason}")
                said = reason
            await asyncio.sleep(POLL_SECONDS)

    async def _look_on(self, running: asyncio.Task[str], step: Step) -> str | None:
        """Until it ends (None), or until something speaks against it (what)."""
        started = time.monotonic()
        pid = self._works.connection.get_server_pid()
        while not (await asyncio.wait({running}, timeout=POLL_SECONDS))[0]:
            for row in await self._looks.rows(Query(_PACKAGE, "progress"), Building, pid):
                self._show(_seen(step, row, time.monotonic() - started))
            if trouble := await self._guard.trouble():
                return trouble
        return None

    async def _cancel(self, running: asyncio.Task[str]) -> None:
        """End the statement on the server and wait until it has ended."""
        pid = self._works.connection.get_server_pid()
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            if not running.done():
                await self._looks.connection.execute("SELECT pg_cancel_backend($1)", pid)
            await running

    async def _hurry(self, step: Step) -> None:
        """Who interrupts does not wait for others' transactions: what cannot go at once stays."""
        with contextlib.suppress(ServerError):
            with statement_errors("hurrying"):
                await self._works.connection.execute(f"SET lock_timeout = {HURRY_MS}")
            await self._drop_leftovers(step)

    async def _drop_leftovers(self, step: Step) -> None:
        """Of a failed rebuild: spare copies on its table that nobody works on."""
        if step.kind != "reindex":
            return
        for index in _leftovers(await collect.indexes(self._looks), step.table_oid):
            try:
                with statement_errors("dropping a leftover"):
                    await self._works.connection.execute(f"DROP INDEX CONCURRENTLY {index.quoted}")
                self._tell(f"dropped {index.name}, which the failed rebuild had left")
            except ServerError as error:
                self._tell(f"{index.name} is left behind ({error.message}): the next run drops it")


def _leftovers(known: Iterable[Index], table_oid: int) -> list[Index]:
    return [i for i in invalid(known) if i.table_oid == table_oid and to_drop(i)]


def _seen(step: Step, row: Building, elapsed_seconds: float) -> Seen:
    if step.kind == "reindex":
        return seen(step.subject, row, elapsed_seconds)
    ratio = min(row.blocks_done / row.blocks_total, 1.0) if row.blocks_total else 0.0
    return Seen(step.subject, row.phase, ratio, None, None)


def _told(error: FilbanError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
