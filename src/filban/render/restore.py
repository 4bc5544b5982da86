"""A restore for a terminal: what it will do, and what it has done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from filban.render.terminal import clean
from filban.units import count, duration, size

if TYPE_CHECKING:
    from filban.flows.restore import Look


def print_look(console: Console, found: Look) -> None:
    """What will be done, lost and taken, before it is done."""
    plan = found.plan
    lost = {
        None: "what comes behind it (too much WAL to count its transactions)",
        0: "nothing of what the repository has",
    }.get(found.commits_lost, f"{count(found.commits_lost or 0, 'transaction')} behind it")
    took = f"{duration(found.forecast_seconds)}, {size(plan.replay_bytes)} of WAL to replay"
    rows = (
        ("backup", f"{plan.backup.label}, {size(plan.backup.bytes)}"),
        ("target", str(plan.target)),
        ("timeline", f"{plan.timeline} ({plan.why})"),
        ("will be lost", lost),
        ("newest commit", f"{found.last_commit or 'none in the WAL'}"),
        ("takes about", took),
    )
    for name, value in rows:
        console.print(Text.assemble((f"{name:>14}  ", "dim"), clean(value)), soft_wrap=True)


def print_done(console: Console, done: dict[str, Any]) -> None:
    """`done`: as_json of a `Restored` or a `TableRestored`."""
    for line in _table(done) if "table" in done else _cluster(done):
        console.print(Text(clean(line)), soft_wrap=True)


def _table(done: dict[str, Any]) -> tuple[str, ...]:
    return (f"{done['table']} is back in {done['database']}: {done['rows']:,} rows",)


def _cluster(done: dict[str, Any]) -> tuple[str, ...]:
    took = done["files_seconds"] + done["replay_seconds"]
    return (
        f"restored to {done['data_directory']} in {duration(took)}, proven from its log",
        f"  recovery stopped {done['stopped'] or 'at the end of the WAL'}",
        f"  last commit {done['last_commit_replayed']}",
        "  it is stopped, and archiving is off until you set it up again",
    )
