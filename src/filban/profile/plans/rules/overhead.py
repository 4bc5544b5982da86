"""Time that goes to something else than the plan's nodes: planning, JIT, triggers, workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.profile.plans.model import Plan, Trigger
from filban.profile.plans.rules.common import Known, subject

CODES = ("plan.planning", "plan.jit", "plan.workers", "plan.triggers")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """planning_ms: a plan for a simple statement takes under a millisecond; ten times that, and
    longer than the execution, is what preparing can save. jit_share: a quarter of the time spent
    on compiling what should have saved time. jit_ms: below, nobody notices. trigger_share: a
    quarter of the time in triggers. All filban's own."""

    planning_ms: float = 10.0
    jit_share: float = 0.25
    jit_ms: float = 10.0
    trigger_share: float = 0.25


LIMITS = Thresholds()


def find(plan: Plan, known: Known) -> Iterator[Finding]:  # noqa: ARG001 - every rule's signature
    yield from _planning(plan)
    yield from _jit(plan)
    yield from _workers(plan)
    for trigger in plan.triggers:
        yield from _trigger(plan, trigger)


def _planning(plan: Plan) -> Iterator[Finding]:
    planning, execution = plan.planning_ms or 0.0, plan.execution_ms
    if execution is None or planning < LIMITS.planning_ms or planning <= execution:
        return
    yield Finding(
        code="plan.planning",
        severity=Severity.info,
        subject="planning",
        title=f"Planning took {planning:,.1f} ms, execution {execution:,.1f} ms",
        why="Many joins, partitions or indexes make planning long; the first statement of a "
        "session also fills the catalogue's caches.",
        evidence={"planning": Quantity(planning, "ms"), "execution": Quantity(execution, "ms")},
        fix=Fix(
            advice="Run it again to see past cold caches. Prepare the statement, so that the plan "
            "can be kept; name the partitions' key; join fewer tables."
        ),
    )


def _jit(plan: Plan) -> Iterator[Finding]:
    ms = plan.jit.total_ms if plan.jit else None
    if ms is None or ms < LIMITS.jit_ms or plan.share(ms) < LIMITS.jit_share:
        return
    yield Finding(
        code="plan.jit",
        severity=Severity.warning,
        subject="JIT",
        title=f"Compiling took {ms:,.0f} ms, {100 * plan.share(ms):.0f} % of the execution",
        why="The estimated cost passed jit_above_cost, and the execution was too short to win the "
        "compiling back.",
        evidence={
            "jit": Quantity(ms, "ms"),
            "functions": Quantity(plan.jit.functions if plan.jit else 0, "count"),
            "execution": Quantity(plan.total_ms or 0.0, "ms"),
        },
        fix=Fix(
            sql="SET LOCAL jit = off;",
            caution="For this statement; raise jit_above_cost where short statements meet it "
            "everywhere.",
        ),
    )


def _workers(plan: Plan) -> Iterator[Finding]:
    for node in plan.nodes:
        planned = node.number_of("Workers Planned")
        if not node.executed or "Workers Launched" not in node.properties:
            continue
        launched = node.number_of("Workers Launched") / (node.loops or 1.0)
        if launched >= planned:
            continue
        yield Finding(
            code="plan.workers",
            severity=Severity.warning if launched == 0 else Severity.info,
            subject=subject(node),
            title=f"{launched:,.0f} of {planned:,.0f} parallel workers were launched",
            why="The plan was chosen for more processes than there were to have.",
            evidence={
                "planned": Quantity(planned, "count"),
                "launched": Quantity(launched, "count"),
            },
            fix=Fix(
                advice="max_parallel_workers and max_worker_processes are shared by all sessions: "
                "raise them if there are cores to spare, or lower "
                "max_parallel_workers_per_gather so that fewer are planned."
            ),
        )


def _trigger(plan: Plan, trigger: Trigger) -> Iterator[Finding]:
    if plan.share(trigger.ms) < LIMITS.trigger_share:
        return
    name = trigger.constraint or trigger.name
    key = name.startswith("RI_") or bool(trigger.constraint)
    yield Finding(
        code="plan.triggers",
        severity=Severity.warning,
        subject=f"{'constraint' if key else 'trigger'} {name}",
        title=f"{100 * plan.share(trigger.ms):.0f} % of the time went to "
        f"{'the foreign key' if key else 'the trigger'} {name}",
        why="It runs once for each row."
        + (" Deleting or changing a referenced row looks for the rows that refer to it." if key
           else ""),
        evidence={
            "time": Quantity(trigger.ms or 0.0, "ms"),
            "calls": Quantity(round(trigger.calls), "count"),
        },
        fix=Fix(
            advice="Give the referring table an index that begins with the foreign key's columns "
            "(filban check: index.missing_foreign_key)."
            if key
            else "Explain the statements inside with auto_explain.log_nested_statements; make it a "
            "statement-level trigger with transition tables if it can be."
        ),
    )  # fmt: skip
