"""Apply and revert: the steps of a plan, one at a time, each noted before and after."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from filban.cluster import process
from filban.errors import NotGood, NotSupported, ServerError, UsageError
from filban.index.apply.build import (
    PARTITIONED_INDEX,
    Builder,
    Built,
    Show,
    at_once,
    concurrently,
)
from filban.index.apply.guard import Bounds, Guard, Tell
from filban.index.apply.journal import Journal, State
from filban.index.apply.partitions import build_partitioned
from filban.index.apply.plan import Plan, Step
from filban.index.apply.rows import Backend, Found, Place
from filban.pg import Limits as SessionLimits
from filban.pg import Query, Session, Target, session
from filban.pg.driver_errors import statement_errors

_PACKAGE = "filban.index.apply"
# One apply at a time in a database; "filban" in ASCII, so that a person can tell whose it is.
LOCK_KEY = int.from_bytes(b"filban", "big")
# A server that looks whether its client is still there ends our build soon after a kill -9 of us.
CLIENT_CHECK = "2s"
END_MS = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """lock_timeout_ms: for each wait of a build, for a lock or for an old transaction; waiting
    blocks no reads or writes. tries: of each step. any_server: also another than the plan's."""

    lock_timeout_ms: int = 60_000
    tries: int = 5
    bounds: Bounds = field(default_factory=Bounds)
    any_server: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one step. what: "built", "dropped", "found" (it was there already), "earlier"
    (done by an earlier run), "reverted", "absent" (nothing to revert). built: only of "built"."""

    step: Step
    what: str
    built: Built | None = None


class Work:
    """A plan on a server. Made by `begun`."""

    def __init__(
        self, plan: Plan, journal: Journal, looks: Session, builder: Builder, tell: Tell,
        limits: Limits, backend: dict[str, Any],
    ) -> None:  # fmt: skip
        self.plan = plan
        self.server = server_name(looks)
        self._journal = journal
        self._looks = looks
        self._builder = builder
        self._tell = tell
        self._limits = limits
        self._backend = backend

    @property
    def state(self) -> State:
        return self._journal.state(self.plan.id, self.server)

    def note_counts(self, when: str, counts: dict[str, Any]) -> None:
        """Keep counters of the watched statements; when: "before" or "after"."""
        self._journal.note(self.plan.id, self.server, "counted", when=when, **counts)

    async def apply(self) -> list[Result]:
        """Do what is not done yet. Raises NotGood, DiskFull, UsageError, ConnectionLost; what was
        done until then stays, and is gone on with by the next call."""
        await self._clean()
        return [await self._apply(n, step) for n, step in enumerate(self.plan.steps)]

    async def revert(self) -> list[Result]:
        """Undo what was done by us, the last step first."""
        await self._clean()
        return [
            await self._revert(n, step) for n, step in reversed(list(enumerate(self.plan.steps)))
        ]

    def _note(self, event: Any, number: int, **more: Any) -> None:
        self._journal.note(self.plan.id, self.server, event, step=number, **more)

    async def _clean(self) -> None:
        """What a run that was killed has left: its backend, and an index that is half there."""
        begun = self.state.begun
        if begun is None:
            return
        number, line = begun
        if not 0 <= number < len(self.plan.steps):
            raise UsageError(
                f"the journal {self._journal.path} is not this plan's", hint="move it away"
            )
        step = self.plan.steps[number]
        self._tell(
            f"an earlier run (process {line.get('pid')}) ended while it was {line['event']} "
            f"{step.index}"
        )
        there = await self._builder.found(step.schema, step.name)
        if line["event"] == "building" and there is not None and _whole(there):
            # killed between the end of the build and our note of it
            self._note("built", number, size_bytes=there.size_bytes)
            return
        if there is None and line["event"] == "dropping":
            self._note("dropped", number)
            return
        await self._builder.drop_leftover(step.schema, step.name)
        if line["event"] != "reverting":
            self._note("given_up", number)

    async def _apply(self, number: int, step: Step) -> Result:
        if number in self.state.done:
            return Result(step, "earlier")
        if step.action == "drop":
            return await self._drop(number, step)
        there = await self._builder.found(step.schema, step.name)
        if there is not None and _whole(there):
            return self._there_already(number, step, there)
        self._note("building", number, index=step.index, **self._backend)
        try:
            built = await self._build(step)
        except NotGood:
            self._note("given_up", number)
            raise
        self._note("built", number, seconds=built.seconds, size_bytes=built.size_bytes)
        return Result(step, "built", built)

    async def _build(self, step: Step) -> Built:
        if (await self._builder.table(step)).kind == "p":
            return await build_partitioned(self._looks, self._builder, step)
        return await self._builder.create(step)

    def _there_already(self, number: int, step: Step, there: Found) -> Result:
        wanted = at_once(step.sql)
        if there.kind != "i" or " ".join(wanted.split()) != there.definition:
            raise UsageError(
                f"{step.index} is there already and is another index: {there.definition}",
                hint="give the plan's index another name, or drop that one",
            )
        self._note("found", number)
        return Result(step, "found")

    async def _drop(self, number: int, step: Step) -> Result:
        there = await self._builder.found(step.schema, step.name)
        if there is None:
            self._note("found", number)
            return Result(step, "found")
        if there.definition is None:
            raise UsageError(
                f"the definition of {step.index} cannot be read: there would be no way back",
                hint="somebody has locked its table: try again",
            )
        self._note(
            "dropping", number, index=step.index, definition=there.definition, **self._backend
        )
        await self._builder.drop(step.schema, step.name, f"dropping {step.index}")
        self._note("dropped", number)
        return Result(step, "dropped")

    async def _revert(self, number: int, step: Step) -> Result:
        state = self.state
        if state.done.get(number) not in ("built", "dropped"):
            if step.action == "create" and number not in state.done:
                await self._builder.drop_leftover(step.schema, step.name)
            return Result(step, "absent")
        self._note("reverting", number, index=step.index, **self._backend)
        if step.action == "create":
            await self._builder.drop(step.schema, step.name, f"dropping {step.index}")
        elif number in state.definitions:
            await self._bring_back(step, state.definitions[number])
        self._note("reverted", number)
        return Result(step, "reverted")

    async def _bring_back(self, step: Step, definition: str) -> None:
        back = Step(concurrently(definition), step.reason, step.size_bytes, step.build_seconds)
        there = await self._builder.found(back.schema, back.name)
        if there is None or not _whole(there):
            await self._build(back)


def _whole(index: Found) -> bool:
    return index.kind in ("i", PARTITIONED_INDEX) and index.is_valid and index.is_live


def server_name(opened: Session) -> str:
    """Which database of which server, for the journal."""
    return f"{opened.server.system_identifier}/{opened.server.database}"


@contextlib.asynccontextmanager
async def begun(
    target: Target,
    plan: Plan,
    journal: Journal,
    limits: Limits,
    *,
    tell: Tell = lambda _: None,
    show: Show = lambda _: None,
) -> AsyncIterator[Work]:
    """Two sessions on the server, and the right to be the only one who applies there.

    tell gets sentences, show what a build's progress is. Raises UsageError (another server, another
    apply), NotSupported (a standby, a pooler), ConnectError.
    """
    writing = SessionLimits(
        statement_timeout_ms=0, lock_timeout_ms=limits.lock_timeout_ms, read_only=False
    )
    async with session(target, writing) as works, session(target) as looks:
        _fits(plan, works, limits)
        begun_step = journal.state(plan.id, server_name(works)).begun
        if begun_step is not None:
            await _end_backend(looks, begun_step[1], tell)
        await _alone(works)
        await _prepare(works, plan.search_path)
        place = await looks.row(Query(_PACKAGE, "place"), Place)
        guard = Guard(looks, limits.bounds, place, tell)
        if not guard.sees_the_disk and limits.bounds.room_bytes is None:
            tell("the server's disk cannot be seen from here: say --room SIZE to have it respected")
        builder = Builder(works, looks, guard, limits.tries, tell, show)
        yield Work(plan, journal, looks, builder, tell, limits, await _identity(works))


def _fits(plan: Plan, opened: Session, limits: Limits) -> None:
    if opened.server.pooled:
        raise NotSupported(
            "an index cannot be built through a pooler: it may change the session in the middle",
            hint="connect to the server itself",
        )
    if opened.server.in_recovery:
        raise NotSupported("this is a standby", hint="connect to its primary")
    there = (opened.server.system_identifier, opened.server.database)
    made_for = (plan.system_identifier or there[0], plan.database or there[1])
    if made_for != there and not limits.any_server:
        raise UsageError(
            f"the plan was made for database {made_for[1]} of system {made_for[0]}, and this is "
            f"database {there[1]} of system {there[0]}",
            hint="--any-server applies it all the same",
        )


async def _end_backend(looks: Session, line: Mapping[str, Any], tell: Tell) -> None:
    """The backend of a run of ours that was killed: it may build on for nobody, and holds the right
    to apply. Only that very backend is ended, and only if its program is surely gone."""
    pid, started = line.get("backend_pid"), line.get("backend_start")
    if pid is None or started is None or _may_live(line):
        return
    for _ in await looks.rows(Query(_PACKAGE, "backend"), Backend, pid, started):
        tell(f"ending backend {pid}, which a killed run has left at work")
        with statement_errors("ending our own backend of an earlier run"):
            # waits until it is gone (14+)
            await looks.connection.execute("SELECT pg_terminate_backend($1, $2)", pid, END_MS)


def _may_live(line: Mapping[str, Any]) -> bool:
    """Whether the program that wrote a line may still run; another machine's always may."""
    if line.get("boot") != process.boot_id():
        return True
    if line.get("pid_namespace") != process.pid_namespace():
        return True
    pid = int(line["pid"])
    return process.alive(pid) and process.start_time(pid) == line.get("start_time")


async def _alone(works: Session) -> None:
    with statement_errors("looking for another apply"):
        if await works.connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
            return
    raise ServerError(
        "another filban applies or reverts a plan in this database now",
        hint="wait for it: indexes are built one at a time",
    )


async def _prepare(works: Session, search_path: str) -> None:
    with statement_errors("preparing the session"):
        await works.connection.execute("SELECT set_config('search_path', $1, false)", search_path)
        await works.connection.execute(f"SET client_connection_check_interval = '{CLIENT_CHECK}'")


async def _identity(works: Session) -> dict[str, Any]:
    """What the journal keeps, so that the next run can tell whether this one still works."""
    with statement_errors("asking who we are"):
        started = await works.connection.fetchval(
            "SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
    pid = os.getpid()
    return {
        "pid": pid,
        "start_time": process.start_time(pid),
        "boot": process.boot_id(),
        "pid_namespace": process.pid_namespace(),
        "backend_pid": works.connection.get_server_pid(),
        "backend_start": started,
    }
