"""Indexes for a terminal: a line each, the largest first, then what was found."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from filban.index.usage import Survey, Used, report
from filban.render.terminal import clean, print_report
from filban.units import count, number, size


def print_indexes(console: Console, found: Survey, *, top: int = 30) -> None:
    """The first `top` indexes; all findings."""
    console.print(Text(clean(found.subject), style="bold"))
    for server in found.servers:
        since = server.since or "a time that it does not say"
        console.print(f"{server.role} {server.address}: scans counted since {since}", style="dim")
    if found.uncounted:
        console.print(
            f"{count(found.uncounted, 'standby streams', 'standbys stream')} from the primary and "
            "is not counted here: name it in the DSN or with --on",
            style="yellow", soft_wrap=True,
        )  # fmt: skip
    console.print()
    console.print(_table(found, top))
    left = len(found.indexes) - top
    if left > 0:
        console.print(f"and {count(left, 'smaller one')} (--top, or --json for all)", style="dim")
    console.print()
    print_report(console, replace(report(found), title="What was found"))
    for hidden in found.hidden:
        console.print(f"not visible: {hidden.what} ({hidden.remedy})", style="magenta")


def _table(found: Survey, top: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("size", justify="right", no_wrap=True)
    if len(found.servers) > 1:
        for server in found.servers:
            table.add_column(f"scans {server.role}", justify="right")
    else:
        table.add_column("scans", justify="right", no_wrap=True)
    dated = any(used.last_scan for used in found.indexes)
    if dated:
        table.add_column("last scan", no_wrap=True)
    table.add_column("written", justify="right", no_wrap=True)
    table.add_column("index", overflow="fold", ratio=1)
    table.add_column("verdict", overflow="fold")
    for used in found.indexes[:top]:
        last = f"{used.last_scan:%Y-%m-%d %H:%M}" if used.last_scan else "–"
        table.add_row(
            size(used.index.size_bytes),
            *(number(use.scans) for use in used.uses),
            *((last,) if dated else ()),
            number(used.index.entries_written),
            _name(used),
            Text(", ".join(used.codes), style="yellow"),
        )
    return table


def _name(used: Used) -> Text:
    text = Text(clean(used.index.name))
    kind = "" if used.index.access_method == "btree" else f" {used.index.access_method}"
    mark = " primary key" if used.index.is_primary else " unique" if used.index.is_unique else ""
    return text.append(f"{kind}{mark}", style="dim")
