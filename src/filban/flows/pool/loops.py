"""Load on a pool for a span of time: closed (so many tasks) and open (so many a second)."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import asyncpg

from filban.errors import PoolExhausted, StatementFailed, UsageError
from filban.flows.pool.plan import MOST_TASKS, WARM_UP_SECONDS
from filban.pool import HistogramSnapshot, Pool
from filban.tune.pool_size import Step
from filban.tune.pool_size.rows import quantile

# Values whose order is kept by the seed; drawn before, so that drawing is not in the times.
_DRAWN = 4096
# Arrivals come in ticks: a timer for each would cost this process more than the statements do.
TICK_SECONDS = 0.001
Call = Callable[[], tuple[str, tuple[object, ...]]]


def calls(statements: tuple[str, ...], values: tuple[tuple[object, ...], ...], seed: int) -> Call:
    """An endless row of statements with values, the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311
    drawn = itertools.cycle([(draw.choice(statements), draw.choice(values)) for _ in range(_DRAWN)])
    return lambda: next(drawn)


@dataclass(slots=True)
class _Tally:
    """Seconds from when a statement was wanted to its result, once `begin` has passed."""

    begin: float
    latencies: list[float] = field(default_factory=list)
    errors: int = 0

    async def run(self, pool: Pool, call: Call, wanted: float) -> None:
        text, values = call()
        loop = asyncio.get_running_loop()
        try:
            await pool.fetch(text, *values)
        except (
            asyncpg.SyntaxOrAccessError,
            asyncpg.DataError,
            asyncpg.ReadOnlySQLTransactionError,
        ) as e:
            raise _refused(text, e) from e
        except asyncpg.InterfaceError as e:  # so many values for so many parameters
            raise UsageError(
                f"{' '.join(text.split())[:120]}: {e}", hint="--values gives $1, $2 … their values"
            ) from e
        except (asyncpg.PostgresError, PoolExhausted, TimeoutError):
            self.errors += 1  # a deadlock, a constraint, a time-out: part of what a load does
            return
        now = loop.time()
        if wanted >= self.begin:
            self.latencies.append(now - wanted)


def _refused(text: str, error: asyncpg.PostgresError) -> StatementFailed:
    return StatementFailed(
        f"the server refuses {' '.join(text.split())[:120]}: {error.args[0]}",
        sqlstate=error.sqlstate or "",
        hint="run it by hand first; --values gives it $1, $2 …",
    )


async def closed(pool: Pool, call: Call, *, size: int, concurrency: int, seconds: float) -> Step:
    """`concurrency` tasks, each with its next statement as soon as it has the last one's rows."""
    loop = asyncio.get_running_loop()
    begin = loop.time() + WARM_UP_SECONDS
    end = begin + seconds
    tally = _Tally(begin)

    async def work() -> None:
        while (now := loop.time()) < end:
            await tally.run(pool, call, now)

    watched = await _watched(pool, begin, lambda: _together(work, concurrency))
    return _step(tally, size, concurrency, max(loop.time(), end) - begin, watched)


async def open_loop(
    pool: Pool, call: Call, *, size: int, rate: float, seconds: float, seed: int
) -> Step:
    """Statements that come at random (a Poisson process) whether the last ones are back or not.

    Latency counts from the moment when each was due, so that a stall is not left out of the
    figures (G. Tene, "How NOT to measure latency": coordinated omission). Beyond MOST_TASKS under
    way arrivals are counted as errors.
    """
    loop = asyncio.get_running_loop()
    draw = random.Random(seed)  # noqa: S311
    begin = loop.time() + WARM_UP_SECONDS
    end = begin + seconds
    tally = _Tally(begin)

    async def arrive() -> None:
        began = due = loop.time()
        async with asyncio.TaskGroup() as group:
            under_way: set[asyncio.Task[None]] = set()
            while (due := due + draw.expovariate(rate)) < end:
                wanted = began + math.ceil((due - began) / TICK_SECONDS) * TICK_SECONDS
                if (early := wanted - loop.time()) > 0:
                    await asyncio.sleep(early)
                if len(under_way) >= MOST_TASKS:
                    tally.errors += 1
                    continue
                task = group.create_task(tally.run(pool, call, wanted))
                under_way.add(task)
                task.add_done_callback(under_way.discard)

    watched = await _watched(pool, begin, arrive)
    return _step(tally, size, 0, max(loop.time(), end) - begin, watched, rate)


async def _together(work: Callable[[], Awaitable[None]], concurrency: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())  # type: ignore[arg-type]


async def _watched(
    pool: Pool, begin: float, work: Callable[[], Awaitable[None]]
) -> tuple[float, float]:
    """Run; the mean seconds of waiting for a connection, from the pool's own histogram, and the
    share of a core that this process has used."""
    loop = asyncio.get_running_loop()

    def look() -> tuple[HistogramSnapshot, float, float]:
        return pool.stats().wait, time.process_time(), loop.time()

    looks = [look()]
    noted = loop.call_at(begin, lambda: looks.append(look()))
    try:
        await work()
    except BaseExceptionGroup as group:  # the first refusal says it all
        raise group.exceptions[0] from group
    finally:
        noted.cancel()
    (before, cpu, then), (after, cpu_after, now) = looks[-1], look()
    count = after.count - before.count
    waited = (after.sum - before.sum) / count if count else 0.0
    return waited, (cpu_after - cpu) / (now - then) if now > then else 0.0


def _step(
    tally: _Tally,
    size: int,
    concurrency: int,
    seconds: float,
    watched: tuple[float, float],
    rate: float | None = None,
) -> Step:
    ordered = sorted(tally.latencies)
    waited, client_cpu = watched
    return Step(
        size=size,
        concurrency=concurrency,
        seconds=seconds,
        statements=len(ordered),
        errors=tally.errors,
        latency_mean=sum(ordered) / len(ordered) if ordered else 0.0,
        latency_p50=quantile(ordered, 0.5),
        latency_p95=quantile(ordered, 0.95),
        latency_p99=quantile(ordered, 0.99),
        wait_mean=waited,
        client_cpu=client_cpu,
        rate=rate,
    )
