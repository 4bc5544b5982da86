"""The demo: filban's whole job on a real PostgreSQL, one step after the other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator

from filban.finding import Report
from filban.flows.check import run_check
from filban.flows.demo import backup, keep, lag, prove, statements
from filban.flows.demo.lag import Lag
from filban.flows.demo.news import traffic
from filban.flows.demo.news.load import Loaded, load
from filban.flows.demo.news.vocabulary import require_faker
from filban.flows.demo.options import DemoOptions
from filban.flows.demo.report import Measurements, report
from filban.flows.demo.servers import DATABASE, OURS, Servers, choose, servers
from filban.flows.progress import Progress, Silent, step
from filban.pg import Session, parse, session
from filban.pg.driver_errors import statement_errors
from filban.pool import Pool, create_pool
from filban.units import count, duration, number, size

MARKERS_AT_REST = 20
# Writes between the base backup and the restore point, which replay has to bring back, and after
# it, which it must not.
WRITES = 200
WRITING = ("publish", "count_read")


async def demo(options: DemoOptions | None = None, progress: Progress | None = None) -> Report:
    """Run the demo and report every number that it measured.

    Starts servers of its own in a temporary directory and removes them, however it ends (unless
    `options.keep` and it succeeded). Raises BinariesNotFound, ExtraMissing, ClusterError,
    ServerError, PoolError, NotGood; cancelling it stops what it started.
    """
    options, progress = options or DemoOptions(), progress or Silent()
    require_faker()
    started = time.perf_counter()
    async with contextlib.AsyncExitStack() as stack:
        with step(progress, "start a primary and a standby") as running:
            binaries = choose(options.bin_dir)
            up = await stack.enter_async_context(servers(options, binaries))
            running.summary = str(binaries)
        run = _Run(options, progress, up, start_seconds=time.perf_counter() - started)
        measured = await run.everything()
        return report(options, measured, keep.note(up) if options.keep else {})


class _Run:
    """One run on its servers: a method a step."""

    def __init__(
        self, options: DemoOptions, progress: Progress, up: Servers, start_seconds: float
    ) -> None:
        self._options = options
        self._progress = progress
        self._up = up
        self._start_seconds = start_seconds

    async def everything(self) -> Measurements:
        """The steps in their order."""
        started = time.perf_counter()
        loaded = await self._load()
        async with self._pool() as pool, session(parse(self._up.dsn), OURS) as ours:
            ran, under_load, slowest = await self._traffic(pool, ours)
            pool_stats = pool.stats()
            advice = await self._index(pool, ours, slowest)
            taken = await self._backup()
            restored = await self._restore(pool, taken)
        at_rest = await self._lag()
        check = await self._check()
        return Measurements(
            binaries=self._up.primary.binaries, contrib=self._up.contrib, loaded=loaded, ran=ran,
            pool=pool_stats, lag_under_load=under_load, slowest=slowest, advice=advice, taken=taken,
            restored=restored, lag_at_rest=at_rest, check=check,
            start_seconds=self._start_seconds,
            took_seconds=self._start_seconds + time.perf_counter() - started,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def _pool(self) -> AsyncIterator[Pool]:
        count = self._options.connections
        with statement_errors("working through the pool"):
            async with create_pool(
                self._up.dsn, min_size=count, max_size=count, name=DATABASE,
                server_settings={"application_name": DATABASE},
            ) as pool:  # fmt: skip
                yield pool

    async def _load(self) -> Loaded:
        articles = self._options.articles
        with step(self._progress, "load the news database", articles, "articles") as running:
            loaded = await load(parse(self._up.dsn), articles, self._options.seed, running)
            total = sum(table.size_bytes for table in loaded.sizes)
            running.summary = f"{number(sum(loaded.rows.values()))} rows, {size(total)}"
        return loaded

    async def _traffic(
        self, pool: Pool, ours: Session
    ) -> tuple[traffic.Ran, Lag, statements.Slowest]:
        options = self._options
        with step(
            self._progress, "run its traffic through the pool", options.traffic_calls, "statements"
        ) as running:
            before = await statements.counted(ours)
            async with lag.sampling(self._up) as lagging:
                ran = await traffic.run(
                    pool, ours.server.major, traffic.Readers(options.seed, options.articles),
                    tasks=options.tasks, calls=options.traffic_calls,
                    seconds=options.traffic_seconds, step=running,
                )  # fmt: skip
            running.summary = f"{number(ran.calls)} statements"
        with step(self._progress, "find the slowest statements") as running:
            async with pool.acquire() as connection:
                slowest = await statements.slowest(ours, connection, before, ran)
            worst = slowest.statements[0]
            running.summary = (
                f"{worst.asked.name} takes {number(100 * worst.share_ratio)} % of the time"
                f" (by {slowest.source})"
            )
        return ran, lagging, slowest

    async def _index(self, pool: Pool, ours: Session, slowest: statements.Slowest) -> prove.Advice:
        slow = slowest.statements
        with step(
            self._progress, "name an index, build it, measure", len(slow), "statements"
        ) as running:
            async with pool.acquire() as connection:
                advice = await prove.advise(ours, connection, slow, running)
            running.summary = _said(advice)
        return advice

    async def _backup(self) -> backup.Taken:
        with step(self._progress, "take a base backup", None, "bytes") as running:
            taken = await backup.take(self._up, running)
            running.summary = size(taken.size_bytes)
        return taken

    async def _restore(self, pool: Pool, taken: backup.Taken) -> backup.Restored:
        options = self._options
        readers = traffic.Readers(options.seed, options.articles, only=WRITING)

        async def write() -> None:
            await traffic.run(
                pool, self._up.primary.binaries.major, readers,
                tasks=options.connections, calls=WRITES, seconds=options.traffic_seconds,
            )  # fmt: skip

        with step(self._progress, "restore it and compare with the source") as running:
            restored = await backup.restore(self._up, taken, write, write)
            running.summary = (
                f"{number(restored.rows)} rows {'equal' if restored.equal else 'DIFFER'},"
                f" writable after {duration(restored.rto_seconds)}"
            )
        return restored

    async def _lag(self) -> Lag:
        with step(
            self._progress, "follow commits to the standby", MARKERS_AT_REST, "commits"
        ) as running:
            found = await lag.sample(self._up, MARKERS_AT_REST, running)
            running.summary = f"visible after {duration(found.median_seconds)}"
        return found

    async def _check(self) -> Report:
        with step(self._progress, "filban check") as running:
            found = await run_check(self._up.dsn)
            running.summary = count(len(found.findings), "finding")
        return found


def _said(advice: prove.Advice) -> str:
    trial = advice.proven
    if trial is None:
        return "none that helped"
    return (
        f"{trial.index.name} on {trial.statement.name}:"
        f" {duration(trial.before.median_ms / 1000)} -> {duration(trial.after.median_ms / 1000)}"
    )
