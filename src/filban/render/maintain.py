"""A plan of maintenance and what became of it, for a terminal and as a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from filban.finding import Report
from filban.index.maintain import Done, Plan, Step
from filban.render.terminal import clean
from filban.units import count, duration, size


def print_plan(console: Console, plan: Plan, where: str) -> None:
    """Each statement with its reason, lock, room and forecast."""
    console.print(Text(f"maintenance of {clean(where)}", style="bold"), soft_wrap=True)
    for step in plan.steps:
        console.print(Text(f"  {clean(step.sql)};"), soft_wrap=True)
        console.print(Text(f"    {clean(_words(step))}", style="dim"), soft_wrap=True)
    for left in plan.left:
        console.print(Text(f"  not done: {clean(left)}", style="yellow"), soft_wrap=True)
    if plan.steps:
        console.print(_total(plan.steps), soft_wrap=True)
    else:
        console.print("nothing to do", style="green")


def _total(steps: Sequence[Step]) -> str:
    """Where nothing is known of a table's size yet, there is no forecast."""
    words = count(len(steps), "step")
    if seconds := sum(step.forecast_seconds for step in steps):
        words += f", about {duration(seconds)} beside waiting for others"
    if room := max(step.room_bytes for step in steps):
        words += f"; the largest writes up to {size(room)}"
    return words


def _words(step: Step) -> str:
    words = f"{step.why}; lock {step.lock}"
    if step.room_bytes:
        words += f"; writes up to {size(step.room_bytes)}"
    if step.forecast_seconds:
        words += f"; about {duration(step.forecast_seconds)}"
    return words


def print_done(console: Console, done: Sequence[Done]) -> None:
    """What was done, and what failed."""
    for one in done:
        style, mark = ("red", "✗") if one.failure else ("green", "✓")
        text = Text(f"{mark} ", style=style).append(clean(one.step.sql), style="default")
        text.append(f" ({_outcome(one)})", style=style if one.failure else "dim")
        console.print(text, soft_wrap=True)
    failed = sum(bool(one.failure) for one in done)
    freed = sum(one.freed_bytes for one in done)
    words = f"{count(len(done) - failed, 'step')} done, {size(freed)} freed"
    console.print(words + (f"; {failed:,} failed" if failed else ""))


def _outcome(one: Done) -> str:
    if one.failure:
        return clean(one.failure)
    freed = f", {size(one.freed_bytes)} freed" if one.freed_bytes else ""
    return duration(one.seconds) + freed


def as_report(plan: Plan, done: Sequence[Done], where: str) -> Report:
    """Findings there are none: `filban indexes` tells what is wrong, this what was done."""
    outcomes = {one.step: one for one in done}
    return Report(
        title=f"maintenance of {where}",
        findings=(),
        facts={
            "steps": [_row(step, outcomes.get(step)) for step in plan.steps],
            "not_done": list(plan.left),
        },
    )


def _row(step: Step, one: Done | None) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "subject": step.subject,
        "sql": step.sql,
        "why": step.why,
        "lock": step.lock,
        "room_bytes": step.room_bytes,
        "forecast_seconds": round(step.forecast_seconds, 3),
        "outcome": "planned" if one is None else "failed" if one.failure else "done",
        "failure": one.failure if one else "",
        "seconds": round(one.seconds, 3) if one else None,
        "freed_bytes": one.freed_bytes if one else None,
    }
