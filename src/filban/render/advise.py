"""Advice and its application for a terminal: what was measured as tables, a statement a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from filban.finding import Report
from filban.render.terminal import clean, print_report
from filban.units import count, duration, number, size

_FIRST_TURNED_DOWN = 8
# Cells: of a column but the last at most, of the last at least.
_WIDEST = 32
_NARROWEST = 24
_NUMBERS = {"calls", "before", "after", "promised", "now", "size", "build", "ratio"}


def print_advice(console: Console, report: Report) -> None:
    """What was looked at, what was measured, then what is advised."""
    workload = report.facts["workload"]
    console.print(Text(clean(report.title), style="bold"))
    console.print(
        f"{count(workload['statements'], 'statement')}, {count(workload['calls'], 'call')}, "
        f"{duration(workload['total_ms'] / 1000)}; "
        f"{count(report.facts['candidates'], 'candidate')}, "
        f"{workload['turned_down_in_all']:,} turned down",
        style="dim",
    )
    proof = report.facts.get("proof")
    if proof is not None:
        _proof(console, proof)
    _turned_down(console, workload)
    _listed(console, "not read", workload["unread"])
    console.print()
    print_report(console, replace(report, title="What to do"))


def print_applied(console: Console, report: Report) -> None:
    """The steps, what became of the statements, what disappoints."""
    console.print(Text(clean(report.title), style="bold"))
    steps = _Lines("what", "size", "build", "index")
    for step in report.facts["steps"]:
        steps.add_row(
            step["what"],
            "" if step["size_bytes"] is None else size(step["size_bytes"]),
            "" if step["build_seconds"] is None else duration(step["build_seconds"]),
            Text(clean(step["index"])),
        )
    steps.print(console)
    _watched(console, report.facts)
    console.print()
    print_report(console, replace(report, title="What was found"))


def _proof(console: Console, proof: Mapping[str, Any]) -> None:
    console.print(
        f"cloned {proof['cloned_at']}, {count(proof['executions'], 'execution')} in "
        f"{duration(proof['seconds_of_proof'])}; new indexes {size(proof['new_indexes_bytes'])}; "
        f"the statements whose plan changes, writes included, take "
        f"{proof['after_to_before_ratio']:.1%} of their time",
        style="dim",
    )
    if not proof["complete"]:
        console.print("the time was over before everything was measured: --time", style="yellow")
    _measured(console, "read", proof["statements_compared"])
    _measured(console, "written", proof["writes_compared"])
    _listed(console, "not executed", proof["not_executed"])


def _measured(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Before, after and the interval of their ratio."""
    if not rows:
        return
    table = _Lines("calls", "before", "after", "ratio", "95 %", title)
    for row in rows:
        table.add_row(
            number(round(row["calls"])),
            duration(row["before_ms"] / 1000),
            duration(row["after_ms"] / 1000),
            f"{row['ratio']:.2f}",
            f"{row['ratio_low']:.2f}–{row['ratio_high']:.2f}",
            Text(clean(row["statement"])),
        )
    console.print()
    table.print(console)


def _turned_down(console: Console, workload: Mapping[str, Any]) -> None:
    rows = workload["turned_down"]
    if not rows:
        return
    table = _Lines("why not", "index")
    for row in rows[:_FIRST_TURNED_DOWN]:
        table.add_row(row["why"].replace("_", " "), Text(clean(f"{row['index']}: {row['reason']}")))
    console.print()
    table.print(console)
    left = workload["turned_down_in_all"] - _FIRST_TURNED_DOWN
    if left > 0:
        console.print(f"and {left:,} more (--json has their numbers)", style="dim")


def _listed(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    table = _Lines(title, "statement")
    for row in rows[:_FIRST_TURNED_DOWN]:
        table.add_row(Text(clean(row["why"])), Text(clean(row["statement"])))
    console.print()
    table.print(console)
    if len(rows) > _FIRST_TURNED_DOWN:
        console.print(f"and {len(rows) - _FIRST_TURNED_DOWN:,} more", style="dim")


def _watched(console: Console, facts: Mapping[str, Any]) -> None:
    if facts.get("not_watched"):
        console.print(f"its statements are not watched: {facts['not_watched']}", style="yellow")
    if not facts.get("watched"):
        return
    table = _Lines("calls", "before", "promised", "now", "verdict", "statement")
    for row in facts["watched"]:
        table.add_row(
            number(row["calls"]),
            duration(row["before_ms"] / 1000),
            duration(row["promised_ms"] / 1000),
            "–" if row["now_ms"] is None else duration(row["now_ms"] / 1000),
            Text(row["verdict"], style="yellow" if row["verdict"] == "disappoints" else ""),
            Text(clean(" ".join(row["statement"].split()))),
        )
    console.print()
    table.print(console)


class _Lines:
    """A table whose last column is cut to what the others leave of the line."""

    def __init__(self, *columns: str) -> None:
        self._rows: list[tuple[Text, ...]] = [tuple(Text(c, style="dim") for c in columns)]

    def add_row(self, *cells: str | Text) -> None:
        self._rows.append(tuple(c if isinstance(c, Text) else Text(clean(c)) for c in cells))

    def print(self, console: Console) -> None:
        firsts = [row[:-1] for row in self._rows]
        widths = [
            max(min(c.cell_len, _WIDEST) for c in column) for column in zip(*firsts, strict=True)
        ]
        left = max(console.width - sum(widths) - 2 * len(widths), _NARROWEST)
        table = Table.grid(padding=(0, 2, 0, 0))
        for width, title in zip(widths, firsts[0], strict=True):
            table.add_column(
                width=width, no_wrap=True, overflow="ellipsis",
                justify="right" if title.plain in _NUMBERS else "left",
            )  # fmt: skip
        table.add_column(width=left, no_wrap=True, overflow="ellipsis")
        for row in self._rows:
            table.add_row(*row)
        console.print(table)
