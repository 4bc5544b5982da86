"""How far the standby is behind, by what a client reads from it: a marker's way from its commit on
the primary until it is visible there.

Clocks and pg_stat_replication's `replay_lag` are not asked: one commit, two connections, one clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from statistics import median

from filban.errors import NotGood
from filban.flows.demo.servers import OURS, STANDBY, Servers
from filban.flows.progress import Step
from filban.pg import Query, Session, parse, session
from filban.pg.driver_errors import statement_errors

PACKAGE = "filban.flows.demo"
PAUSE_SECONDS = 0.05
POLL_SECONDS = 0.0005
# A standby on the same machine that shows nothing for so long does not replay at all.
DEADLINE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Position:
    """The standby as the primary sees it, in bytes of WAL."""

    state: str
    sync_state: str
    unsent_bytes: int
    lag_bytes: int


@dataclass(frozen=True, slots=True)
class Beat:
    """A marker, committed on the primary."""

    id: int


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether a marker can be read on the standby."""

    seen: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One marker: seconds from its commit until it was read on the standby; bytes the standby had
    still to replay at the moment of the commit."""

    seconds: float
    bytes: int


@dataclass(slots=True)
class Lag:
    """The samples of one period."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def median_seconds(self) -> float:
        return median(s.seconds for s in self.samples)

    @property
    def worst_seconds(self) -> float:
        return max(s.seconds for s in self.samples)

    @property
    def worst_bytes(self) -> int:
        return max(s.bytes for s in self.samples)


async def sample(servers: Servers, count: int, step: Step) -> Lag:
    """`count` markers, one after the other. Raises NotGood when the standby does not replay."""
    lag = Lag()
    async with _pair(servers) as (primary, standby):
        for number in range(1, count + 1):
            lag.samples.append(await _marker(primary, standby))
            step.advance(number)
            await asyncio.sleep(PAUSE_SECONDS)
    return lag


@contextlib.asynccontextmanager
async def sampling(servers: Servers) -> AsyncIterator[Lag]:
    """Sample while the block runs; what went wrong in it is raised at the end of the block."""
    lag = Lag()
    stopped = asyncio.Event()

    async def go_on() -> None:
        async with _pair(servers) as (primary, standby):
            while not (stopped.is_set() and lag.samples):
                lag.samples.append(await _marker(primary, standby))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopped.wait(), PAUSE_SECONDS)

    task = asyncio.create_task(go_on())
    try:
        yield lag
        stopped.set()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def _pair(servers: Servers) -> AsyncIterator[tuple[Session, Session]]:
    async with (
        session(parse(servers.dsn), OURS) as primary,
        session(parse(servers.standby_dsn)) as standby,
    ):
        yield primary, standby


async def _marker(primary: Session, standby: Session) -> Sample:
    with statement_errors("measuring the standby's lag"):
        beat = await primary.row(Query(PACKAGE, "beat"), Beat)
        seconds, position = await asyncio.gather(_seen(standby, beat), _position(primary))
    return Sample(seconds, position.lag_bytes)


async def _seen(standby: Session, beat: Beat) -> float:
    """Seconds until the marker can be read there."""
    started = time.perf_counter()
    while not (await standby.row(Query(PACKAGE, "seen"), Seen, beat.id)).seen:
        if time.perf_counter() - started > DEADLINE_SECONDS:
            raise NotGood(
                f"the standby has not shown a commit of {DEADLINE_SECONDS:g} seconds ago",
                hint="see its log: is it streaming, is replay paused or in conflict?",
            )
        await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter() - started


async def _position(primary: Session) -> Position:
    rows = await primary.rows(Query(PACKAGE, "lag"), Position, STANDBY)
    if not rows:
        raise NotGood(
            "the standby is not connected to the primary",
            hint="its log says why: wrong primary_conninfo, no slot, no pg_hba.conf line?",
        )
    return rows[0]
