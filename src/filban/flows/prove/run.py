"""A whole proof: build the set, execute against it, keep what pays."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

from filban.cluster import Cluster
from filban.errors import ServerError
from filban.flows.progress import Progress, step
from filban.flows.prove.choosing import choose_built
from filban.flows.prove.clone import Clone
from filban.flows.prove.cold import Reopen, cold_ms
from filban.flows.prove.eliminate import Trial
from filban.flows.prove.execute import Runner
from filban.flows.prove.refuse import refusal
from filban.flows.prove.rows import (
    Built,
    Compared,
    Dropped,
    Limits,
    Proof,
    RefusedStatement,
)
from filban.index.advice import Candidate, IndexSpec, Statement, Workload
from filban.pg import Limits as SessionLimits
from filban.pg import Query, session
from filban.pg.driver_errors import statement_errors
from filban.units import count, size

PACKAGE = "filban.flows.prove"


@dataclasses.dataclass(frozen=True, slots=True)
class IndexSize:
    """See index_size.sql."""

    size_bytes: int
    definition: str
    names: tuple[str, ...]


async def prove(
    copy: Clone,
    workload: Workload,
    specs: Sequence[IndexSpec],
    progress: Progress,
    limits: Limits | None = None,
    drops: Sequence[str] = (),
    replaces: Mapping[IndexSpec, tuple[str, ...]] | None = None,
    candidates: Sequence[Candidate] = (),
) -> Proof:
    """Build `specs` on the clone, execute the workload with and without, keep what pays.

    drops: existing indexes ("schema.name" as SQL has it) that are to go; replaces: those that go
    when that spec stays; candidates: what is known of the specs, to choose among them, once they
    are built, by what the planner says and their real sizes. Nothing but the clone is touched.
    Raises StatementFailed, ConnectionLost about the clone.
    """
    bounds = limits or Limits()
    started = time.monotonic()
    async with _runner(copy, workload, bounds) as runner:
        built, failed = await _build(runner, specs, progress)
        if candidates:
            failed += await choose_built(runner, workload, built, candidates, bounds)
        reads, writes, refused = await _sort(runner, workload)
        reads, elsewhere = await _concerned(runner, reads, built.values(), drops)
        with step(progress, "executing the statements", None, "executions") as running:
            instead = {"": tuple(drops)} | {
                name: (replaces or {}).get(b.spec, ()) for name, b in built.items()
            }
            trial = Trial(
                runner, bounds, reads, writes, built, instead, started + bounds.seconds, running
            )
            trial.dropped += failed
            await trial.settle()
            executed = runner.executed
            running.summary = f"{count(len(trial.kept), 'index', 'indexes')} kept"
    compared = sorted(trial.compared.values(), key=lambda c: -c.gain_ms)
    compared = await _cold(copy, workload, trial, compared, bounds, progress)
    changed = {c.statement.id for c in compared}
    return Proof(
        kept=tuple(trial.kept.values()),
        drops=trial.drops,
        dropped=tuple(trial.dropped),
        compared=tuple(compared),
        unchanged=tuple(s.id for s in (*trial.reads, *elsewhere) if s.id not in changed),
        writes=tuple(trial.write_costs),
        refused=(*refused, *trial.refused),
        taken_at=copy.taken_at,
        seconds=time.monotonic() - started,
        executions=executed,
        complete=trial.complete,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """A table; see tables.sql."""

    name: str


@contextlib.asynccontextmanager
async def _runner(copy: Clone, workload: Workload, limits: Limits) -> AsyncIterator[Runner]:
    """A session on the clone that finds names and plans as the workload's do."""
    bounds = SessionLimits(statement_timeout_ms=0, read_only=False)
    async with session(copy.target, bounds) as opened:
        with statement_errors("preparing a session on the clone"):
            await opened.connection.execute(
                f"SET search_path = {workload.search_path};"
                f"SET jit = {'on' if copy.jit else 'off'};"
                "SET idle_in_transaction_session_timeout = 0;"
                f"SET statement_timeout = {limits.statement_timeout_ms}"
            )
        yield Runner(opened, copy.cluster.status().pid, limits.statement_timeout_ms)


async def _build(
    runner: Runner, specs: Sequence[IndexSpec], progress: Progress
) -> tuple[dict[str, Built], list[Dropped]]:
    """Every index for real; with the statistics that an expression's index brings."""
    built: dict[str, Built] = {}
    failed: list[Dropped] = []
    connection = runner.session.connection
    with step(progress, "building the indexes on the clone", len(specs), "indexes") as running:
        with statement_errors("preparing a session on the clone"):
            timeout = await connection.fetchval("SHOW statement_timeout")
            await connection.execute("SET statement_timeout = 0")
        for number, spec in enumerate(dict.fromkeys(specs), 1):
            try:
                done = await _build_one(runner, spec, built)
                built[done.name] = done
            except ServerError as error:
                failed.append(Dropped(spec, "not_built", error.message))
            running.advance(number)
        with statement_errors("preparing a session on the clone"):
            await connection.execute(f"SET statement_timeout = '{timeout}'")
        running.summary = f"{len(built)} built, {size(sum(b.size_bytes for b in built.values()))}"
    return built, failed


async def _build_one(runner: Runner, spec: IndexSpec, others: dict[str, Built]) -> Built:
    connection = runner.session.connection
    name = await _free_name(runner, spec, others)
    started = time.perf_counter()
    with statement_errors(f"building {name} on the clone"):
        await connection.execute(spec.definition(name))
        seconds = time.perf_counter() - started
        if any(key.sql.startswith("(") for key in spec.keys):
            await connection.execute(f"ANALYZE {spec.on}")
    found = await _built(runner, f"{spec.schema}.{name}")
    return Built(spec, name, seconds, found.size_bytes, found.definition, found.names)


async def _built(runner: Runner, index: str) -> IndexSize:
    """Read without a search_path, so that the server qualifies the names in the definition."""
    connection = runner.session.connection
    with statement_errors("looking at an index on the clone"):
        async with connection.transaction():
            await connection.execute("SET LOCAL search_path = pg_catalog")
            return await runner.session.row(Query(PACKAGE, "index_size"), IndexSize, index)


async def _free_name(runner: Runner, spec: IndexSpec, others: dict[str, Built]) -> str:
    """Its suggestion, with a number where that is taken on this database."""
    for number in range(1, 100):
        tail = "" if number == 1 else f"_{number}"
        name = spec.name[: 63 - len(tail)] + tail
        taken = await runner.session.connection.fetchval(
            "SELECT to_regclass($1) IS NOT NULL", f"{spec.schema}.{name}"
        )
        if not taken and name not in others:
            return name
    return spec.name


async def _sort(
    runner: Runner, workload: Workload
) -> tuple[list[Statement], list[Statement], list[RefusedStatement]]:
    """Reads, writes, and what may not be executed; of a statement those examples that may be."""
    reads: list[Statement] = []
    writes: list[Statement] = []
    refused: list[RefusedStatement] = []
    for statement in workload.statements:
        fit, why = await _fit(runner, statement)
        if not fit:
            refused.append(RefusedStatement(statement, why))
            continue
        able = dataclasses.replace(statement, examples=tuple(fit))
        (reads if statement.kind == "read" else writes).append(able)
    return reads, writes, refused


async def _concerned(
    runner: Runner, reads: list[Statement], built: Iterable[Built], drops: Sequence[str]
) -> tuple[list[Statement], list[Statement]]:
    """Statements that read a table of the set, or a partition of it, and the others: of thousands
    a plan each would be asked for again after every member that goes."""
    if drops:
        return reads, []
    names = sorted({b.spec.on for b in built})
    rows = await runner.session.rows(Query(PACKAGE, "tables"), Named, names)
    tables = {row.name for row in rows} | set(names)
    near = [s for s in reads if not tables.isdisjoint(s.tables)]
    ids = {s.id for s in near}
    return near, [s for s in reads if s.id not in ids]


async def _fit(runner: Runner, statement: Statement) -> tuple[list[str], str]:
    fit: list[str] = []
    why = "there are no values for its parameters"
    for text in statement.examples:
        reason = await refusal(runner.session, statement, text)
        if reason is None:
            try:
                await runner.plan(text)
                fit.append(text)
                continue
            except ServerError as error:
                reason = error.message
        why = reason
    return fit, why


async def _cold(
    copy: Clone,
    workload: Workload,
    trial: Trial,
    compared: Sequence[Compared],
    limits: Limits,
    progress: Progress,
) -> list[Compared]:
    """The most important statements once more, from disk, one execution a side."""
    chosen = [c for c in compared if not c.timed_out][: limits.cold_statements]
    hidden = tuple(b.qualified for b in trial.kept.values())
    done: dict[str, Compared] = {}

    async def reopen(run: Callable[[Runner], Awaitable[float]]) -> float:
        async with _runner(copy, workload, limits) as runner:
            return await run(runner)

    with step(progress, "executing from disk", len(chosen), "statements") as running:
        for number, found in enumerate(chosen, 1):
            if time.monotonic() > trial.deadline:
                break
            done[found.statement.id] = await _cold_one(copy.cluster, reopen, found, hidden, trial)
            running.advance(number)
    return [done.get(c.statement.id, c) for c in compared]


async def _cold_one(
    cluster: Cluster, reopen: Reopen, found: Compared, hidden: tuple[str, ...], trial: Trial
) -> Compared:
    text = found.statement.examples[0]
    before = await cold_ms(cluster, reopen, text, hidden)
    after = await cold_ms(cluster, reopen, text, trial.drops)
    return dataclasses.replace(found, cold_before_ms=before, cold_after_ms=after)
