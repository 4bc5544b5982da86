"""`filban pool bench`: a size from measured throughput and latency, not from a formula."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from operator import attrgetter
from typing import Any
from urllib.parse import quote

import asyncpg

from filban import pg
from filban.errors import ConnectError
from filban.flows.pool.loops import Call, calls, closed, open_loop
from filban.flows.pool.plan import RATE_SHARES, BenchOptions, Plan, make_plan
from filban.flows.pool.result import BenchResult
from filban.flows.progress import Progress, Silent, step
from filban.pg.connect import CONNECT_TIMEOUT_SECONDS
from filban.pg.driver_errors import connect_errors
from filban.pool import Pool, create_pool
from filban.tune.pool_size import Choice, Step, choose
from filban.units import duration

# A statement that takes longer than this is no workload to size a pool by.
STATEMENT_TIMEOUT_MS = 10_000


async def bench(
    target: pg.Target,
    options: BenchOptions,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> BenchResult:
    """Sweep sizes and concurrency with a closed loop, choose a size, and try it with open ones.

    `say` is told what will be run before it is. Bounded by the plan; when cancelled, every
    connection is closed. Raises UsageError, ConnectError, StatementFailed.
    """
    started = time.monotonic()
    target, plan, server = await _planned(target, options)
    for line in plan.said:
        say(line)
    call = calls(plan.statements, plan.values, options.seed)
    progress = progress or Silent()
    swept = await _sweep(target, plan, call, progress)
    choice = choose(swept, objective_p95=options.objective_p95)
    opened = await _open_loops(target, plan, call, choice, progress) if choice else []
    return BenchResult(
        server=server,
        workload=plan.about,
        closed=tuple(swept),
        open=tuple(opened),
        choice=choice,
        slots=plan.slots,
        seconds=round(time.monotonic() - started, 3),
    )


async def _planned(target: pg.Target, options: BenchOptions) -> tuple[pg.Target, Plan, str]:
    """The first address that answers, alone: a sweep over several servers measures none of them."""
    failure: ConnectError | None = None
    for address in target.ordered():
        try:
            async with pg.session(target.at(address)) as session:
                return (
                    target.at(address),
                    await make_plan(session, options),
                    str(target.at(address)),
                )
        except ConnectError as error:
            failure = failure or error
    assert failure is not None  # noqa: S101 - a target has an address
    raise failure


async def _sweep(target: pg.Target, plan: Plan, call: Call, progress: Progress) -> list[Step]:
    """Every size in every round, in an order of its own: what else happens on the machine meets all
    sizes alike. The median round of each."""
    order = random.Random(plan.options.seed)  # noqa: S311
    done: dict[tuple[int, int], list[Step]] = {}
    for number in range(1, plan.options.rounds + 1):
        for size in order.sample(plan.sizes, len(plan.sizes)):
            with step(progress, f"round {number}, {size} connections") as running:
                for measured in await _measured(target, plan, call, size):
                    done.setdefault((measured.concurrency, size), []).append(measured)
                    running.summary = _summary(measured)
    return [median(done[key]) for key in sorted(done)]


async def _measured(target: pg.Target, plan: Plan, call: Call, size: int) -> list[Step]:
    seconds = plan.options.seconds
    async with _pool(target, size, writes=plan.options.writes) as pool:
        return [
            await closed(pool, call, size=size, concurrency=concurrency, seconds=seconds)
            for concurrency in plan.options.concurrency
        ]


def median(rounds: Sequence[Step], by: str = "throughput") -> Step:
    """The round that is in the middle (of two, the lower one)."""
    return sorted(rounds, key=attrgetter(by))[(len(rounds) - 1) // 2]


async def _open_loops(
    target: pg.Target, plan: Plan, call: Call, choice: Choice, progress: Progress
) -> list[Step]:
    """Each rate in every round at the chosen size; the round of median p95 latency of each."""
    options = plan.options
    reached = choice.reached * choice.peak_throughput
    rates = [reached * s for s in RATE_SHARES] if options.rates is None else options.rates
    done: dict[float, list[Step]] = {}
    async with _pool(target, choice.size, writes=options.writes) as pool:
        for number in range(1, options.rounds + 1):
            for rate in rates:
                with step(progress, f"round {number}, {rate:,.0f}/s at random") as running:
                    measured = await open_loop(
                        pool,
                        call,
                        size=choice.size,
                        rate=rate,
                        seconds=options.seconds,
                        seed=options.seed + number,
                    )
                    done.setdefault(rate, []).append(measured)
                    running.summary = _summary(measured)
    return [median(done[rate], by="latency_p95") for rate in sorted(done)]


def _summary(step: Step) -> str:
    errors = f", {step.errors:,} errors" if step.errors else ""
    return f"{step.throughput:,.0f}/s, p95 {duration(step.latency_p95)}{errors}"


@contextlib.asynccontextmanager
async def _pool(target: pg.Target, size: int, *, writes: bool) -> AsyncIterator[Pool]:
    """filban's own pool, full; cut at the end whatever has happened."""
    address = target.addresses[0]
    tls = "&".join(f"{k}={quote(v, safe='')}" for k, v in target.tls.items())

    async def connect(*_: Any, **kwargs: Any) -> asyncpg.Connection:
        with connect_errors(target, address, CONNECT_TIMEOUT_SECONDS):
            return await asyncpg.connect(
                dsn=f"postgresql:///?{tls}" if tls else None,
                host=address.host,
                port=address.port,
                user=target.user,
                database=target.database,
                password=target.password_for(address) or "",
                timeout=CONNECT_TIMEOUT_SECONDS,
                server_settings=_settings(target, writes=writes),
                **kwargs,
            )

    pool = create_pool(
        connect=connect, min_size=size, max_size=size, name=f"bench-{size}", acquire_timeout=None
    )
    try:
        yield await pool
    finally:
        pool.terminate()


def _settings(target: pg.Target, *, writes: bool) -> dict[str, str]:
    settings = {
        "application_name": pg.Limits().application_name,
        "statement_timeout": str(STATEMENT_TIMEOUT_MS),
        "lock_timeout": str(STATEMENT_TIMEOUT_MS),
        "default_transaction_read_only": "off" if writes else "on",
    }
    return settings | ({"options": target.options} if target.options else {})
