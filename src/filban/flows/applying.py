"""Apply a plan, look after its statements, revert it: `filban apply` and `filban revert`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filban.finding import Finding, Fix, Quantity, Report, Severity
from filban.flows.progress import Progress, Step, step
from filban.index.apply import Journal, Limits, Plan, Work, begun, read
from filban.index.apply.guard import Tell
from filban.index.apply.progress import Seen
from filban.index.apply.watched import Counted, Outcome, Reading, as_line, from_line, outcomes
from filban.index.apply.work import Result
from filban.pg import Session, Target, session
from filban.profile.statements import by_statement, names, take
from filban.profile.statements.collect import ready
from filban.units import duration

CODES = ("index.applied", "index.disappoints")
PERCENT = 100


@dataclass(frozen=True, slots=True)
class Counters:
    """A reading of this database's statements. epoch: since when the counters count."""

    epoch: str
    reading: Reading


async def apply(
    target: Target,
    plan_path: Path,
    limits: Limits,
    progress: Progress,
    tell: Tell,
    *,
    watch_seconds: float = 0.0,
) -> Report:
    """Build what is not built yet, then look after the plan's statements for `watch_seconds`.

    A plan that is applied already is only looked after: what happened since it was. Raises NotGood,
    DiskFull, UsageError, ServerError; what was built until then stays.
    """
    plan = read(plan_path)
    with step(progress, f"applying plan {plan.id}", PERCENT * len(plan.steps), "%") as running:
        shown = _Shown(plan, running)
        async with begun(
            target, plan, Journal(plan_path), limits, tell=tell, show=shown.show
        ) as work:
            await _note(work, target, "before", again=False)
            results = await work.apply()
            changed = any(r.what in ("built", "dropped") for r in results)
            await _note(work, target, "after", again=changed)
            running.summary = _summary(results)
    if watch_seconds:
        with step(progress, "watching its statements", int(watch_seconds), "seconds") as running:
            for second in range(int(watch_seconds)):
                await asyncio.sleep(1)
                running.advance(second + 1)
    found, why_not = await _since(plan, plan_path, target)
    return _report(plan, plan_path, results, found, why_not)


async def revert(
    target: Target, plan_path: Path, limits: Limits, progress: Progress, tell: Tell
) -> Report:
    """Undo what `apply` has done. Raises as `apply` does."""
    plan = read(plan_path)
    with step(progress, f"reverting plan {plan.id}", PERCENT * len(plan.steps), "%") as running:
        shown = _Shown(plan, running)
        async with begun(
            target, plan, Journal(plan_path), limits, tell=tell, show=shown.show
        ) as work:
            results = await work.revert()
            running.summary = _summary(results)
    return Report(f"Plan {plan.id} reverted", (), {"plan": plan.id, "steps": _rows(results)})


class _Shown:
    """Builds as one step of the progress: each index is as much of it as every other."""

    def __init__(self, plan: Plan, running: Step) -> None:
        self._order = {s.index: n for n, s in enumerate(plan.steps)}
        self._running = running
        self._now = 0

    def show(self, seen: Seen) -> None:
        self._now = self._order.get(seen.index, self._now)
        self._running.advance(int(PERCENT * (self._now + seen.ratio)))


async def _note(work: Work, target: Target, when: str, *, again: bool) -> None:
    """Keep the counters in the journal, where a later look finds them."""
    if when in work.state.counts and not again:
        return
    counters = await _counters(work.plan, target)
    if counters is not None:
        work.note_counts(when, as_line(counters.epoch, counters.reading))


async def _counters(plan: Plan, target: Target) -> Counters | None:
    """None where pg_stat_statements is not there."""
    async with session(target) as opened:
        return await _read(plan, opened) if ready(opened.server) else None


async def _read(plan: Plan, opened: Session) -> Counters:
    snapshot = await take(opened)
    here = next(
        n.id
        for n in await names(opened)
        if n.kind == "database" and n.name == opened.server.database
    )
    wanted = {w.query_id for w in plan.watched}
    counts = {
        query: Counted(c.calls, c.exec_ms)
        for (database, query), c in by_statement(snapshot.entries).items()
        if database == here and query in wanted
    }
    return Counters(snapshot.info.epoch.isoformat(), counts)


async def _since(plan: Plan, plan_path: Path, target: Target) -> tuple[list[Outcome], str]:
    """What became of the statements since the indexes are there, or why that is not known."""
    from filban.index.apply.work import server_name

    async with session(target) as opened:
        if not plan.watched:
            return [], "the plan names no statement by the server's own id"
        if not ready(opened.server):
            return [], "pg_stat_statements is not there"
        now = await _read(plan, opened)
        state = Journal(plan_path).state(plan.id, server_name(opened))
    after = from_line(state.counts.get("after"), now.epoch)
    if after is None:
        return [], "the counters were reset since"
    return outcomes(plan, after, now.reading), ""


def _report(
    plan: Plan, path: Path, results: Sequence[Result], found: Sequence[Outcome], why_not: str
) -> Report:
    findings = [_disappointment(o, path) for o in found if o.verdict == "disappoints"]
    findings += [_applied(r, path) for r in results if r.what in ("built", "dropped")]
    facts: dict[str, Any] = {
        "plan": plan.id,
        "steps": _rows(results),
        "watched": [_outcome(o) for o in found],
    }
    if why_not:
        facts["not_watched"] = why_not
    return Report(f"Plan {plan.id} applied", tuple(findings), facts)


def _applied(result: Result, path: Path) -> Finding:
    evidence: dict[str, Quantity] = {}
    if result.built is not None:
        evidence = {
            "build": Quantity(round(result.built.seconds, 3), "seconds"),
            "size": Quantity(result.built.size_bytes, "bytes"),
            "tries": Quantity(result.built.tries, "count"),
        }
    return Finding(
        code="index.applied",
        severity=Severity.info,
        subject=result.step.index,
        title=f"The index was {result.what}",
        why=result.step.reason or "The plan says so.",
        evidence=evidence,
        fix=Fix(command=f"filban revert {path}", lock="SHARE UPDATE EXCLUSIVE"),
    )


def _disappointment(outcome: Outcome, path: Path) -> Finding:
    return Finding(
        code="index.disappoints",
        severity=Severity.warning,
        subject=f"statement {outcome.watched.query_id}",
        title="A statement did not become as quick as promised",
        why=f"{outcome.watched.sql} It costs every write and does not bring what it was built for.",
        evidence={
            "calls": Quantity(outcome.calls, "count"),
            "before": Quantity(round(outcome.before_ms, 3), "ms"),
            "promised": Quantity(round(outcome.forecast_ms, 3), "ms"),
            "now": Quantity(round(outcome.now_ms or 0.0, 3), "ms"),
        },
        fix=Fix(command=f"filban revert {path}", lock="SHARE UPDATE EXCLUSIVE"),
    )


def _rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [
        {
            "index": r.step.index,
            "what": r.what,
            "size_bytes": r.built.size_bytes if r.built else None,
            "build_seconds": round(r.built.seconds, 3) if r.built else None,
        }
        for r in results
    ]


def _outcome(outcome: Outcome) -> dict[str, Any]:
    now = outcome.now_ms
    return {
        "query_id": str(outcome.watched.query_id),
        "statement": outcome.watched.sql,
        "calls": outcome.calls,
        "before_ms": outcome.before_ms,
        "promised_ms": outcome.forecast_ms,
        "now_ms": now,
        "verdict": outcome.verdict,
    }


def _summary(results: Sequence[Result]) -> str:
    built = [r.built for r in results if r.built]
    words = ", ".join(
        f"{sum(r.what == what for r in results)} {what}"
        for what in sorted({r.what for r in results})
    )
    return f"{words} in {duration(sum(b.seconds for b in built))}" if built else words
