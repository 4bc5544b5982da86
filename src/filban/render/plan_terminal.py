"""A plan for a terminal: the tree with what each node cost by itself, then the findings."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from filban.finding import Finding, Report
from filban.profile.plans import Comparison, Node, Plan, misjudged
from filban.render import terminal
from filban.render.plan_words import (
    branches,
    details,
    headline,
    milliseconds,
    nothing_found,
    rows_text,
)
from filban.units import number

_BAR = 8  # characters of a full bar


def print_plan(console: Console, plan: Plan, findings: Sequence[Finding]) -> None:
    """The tree, then the findings worst first."""
    console.print(Text(headline(plan), style="bold"))
    console.print()
    console.print(_table(plan))
    console.print()
    if findings:
        terminal.print_report(console, Report("Findings", tuple(findings)), everything=True)
    else:
        console.print(Text(nothing_found(plan)))


def _table(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("#", justify="right", style="dim")
    timed = plan.root.exclusive_ms is not None
    buffers = plan.root.buffers is not None
    for shown, header in ((timed, "own ms"), (timed, ""), (True, "rows est → real")):
        if shown:
            table.add_column(header, justify="left" if not header else "right", no_wrap=True)
    if buffers:
        table.add_column("blocks", justify="right", no_wrap=True)
    read = any(_io(node) for node in plan.nodes)
    if read:
        table.add_column("I/O ms", justify="right", no_wrap=True)
    table.add_column("node", overflow="fold", ratio=1)
    for node, lead, below in branches(plan):
        cells = [Text(str(node.number + 1))]
        if timed:
            cells += [Text(milliseconds(node.exclusive_ms)), _bar(plan, node)]
        cells.append(Text(rows_text(node), style="bold yellow" if misjudged(plan, node) else ""))
        if buffers:
            cells.append(Text(_blocks(node)))
        if read:
            cells.append(Text(_io(node)))
        table.add_row(*cells, _words(node, lead, below))
    return table


def _bar(plan: Plan, node: Node) -> Text:
    share = plan.share(node.exclusive_ms)
    full = round(share * _BAR)
    style = "red" if share >= 0.5 else "yellow" if share >= 0.1 else "dim"
    return Text("█" * full + "·" * (_BAR - full), style=style)


def _blocks(node: Node) -> str:
    return number(node.own.touched) if node.own else ""


def _io(node: Node) -> str:
    spent = node.own.read_ms + node.own.write_ms if node.own else 0.0
    return milliseconds(spent) if spent else ""


def _words(node: Node, lead: str, below: str) -> Text:
    text = Text(lead, style="dim")
    if node.subplan:
        text.append(f"{terminal.clean(node.subplan)}: ", style="magenta")
    style = "dim" if node.loops == 0 else "bold"
    text.append(terminal.clean(node.title), style=style)
    if node.loops == 0:
        text.append("  never executed", style="dim")
    elif node.loops is not None and node.loops > 1:
        text.append(f"  ×{number(node.loops)}", style="cyan")
    for key, value in details(node):
        text.append(f"\n{below}  {key}: {terminal.clean(value)}", style="dim")
    return text


def print_comparison(console: Console, compared: Comparison) -> None:
    """Both plans' nodes in one table, those of one plan only marked - and +."""
    console.print(Text(f"before  {headline(compared.before)}"))
    console.print(Text(f"after   {headline(compared.after)}"))
    if compared.ratio is not None:
        console.print(Text(f"{compared.ratio:.2f} times the time of before", style="bold"))
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for header in ("", "own ms", "→", "rows", "→", "before", "after"):
        words = header in ("before", "after")
        table.add_column(header, justify="left" if words else "right", overflow="fold")
    for pair in compared.pairs:
        a, b = pair.before, pair.after
        mark = " " if a and b else "-" if a else "+"
        style = {"-": "red", "+": "green"}.get(mark, "")
        table.add_row(
            mark, _own(a), _own(b), _rows(a), _rows(b), _indented(a), _indented(b), style=style
        )  # fmt: skip
    console.print(table)


def _own(node: Node | None) -> str:
    return milliseconds(node.exclusive_ms) if node else ""


def _rows(node: Node | None) -> str:
    if node is None:
        return ""
    return number(round(node.total_rows)) if node.loops is not None else number(node.plan_rows or 0)


def _indented(node: Node | None) -> Text:
    return Text("" if node is None else " " * node.depth + terminal.clean(node.title))
