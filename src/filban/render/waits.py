"""Waits for a terminal: load over time, what it consists of, who blocks whom."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from filban.profile.waits import Blocking, Load, Share, Watched
from filban.render.terminal import clean
from filban.units import duration

SHOWN = 5
_BAR = 20
_BLOCKS = " ▁▂▃▄▅▆▇█"
_NAMES = {
    "event": "waits for", "query": "statement", "role": "role", "application": "application",
    "client": "client", "database": "database", "background": "server's own processes",
}  # fmt: skip


def print_waits(console: Console, watched: Watched) -> None:
    """Everything that a screen has room for; JSON and the page have all."""
    load = watched.load
    seconds = (load.until - load.since).total_seconds()
    console.print(Text(clean(watched.subject), style="bold"))
    console.print(
        f"{load.sessions:.2f} sessions at work on average, {load.samples} samples in "
        f"{duration(seconds)} from {load.since.astimezone():%Y-%m-%d %H:%M:%S%z}",
        soft_wrap=True,
    )
    if load.idle_in_transaction >= 0.005:  # what two digits show
        console.print(f"{load.idle_in_transaction:.2f} idle in transaction", soft_wrap=True)
    if load.hidden:
        console.print(
            f"{load.hidden:.2f} sessions not visible to this role: GRANT pg_monitor shows them",
            style="magenta", soft_wrap=True,
        )  # fmt: skip
    if load.sessions:
        console.print()
        _over_time(console, load)
        console.print(_table("class", load.by["class"], len(load.by["class"])))
    for name, title in _NAMES.items():
        if _says_something(load.by[name]):
            console.print()
            console.print(_table(title, load.by[name], SHOWN))
    if watched.moment is not None:
        print_blocking(console, watched.moment)


def _says_something(shares: Sequence[Share]) -> bool:
    return any(not share.name.startswith("(") for share in shares)


def _over_time(console: Console, load: Load) -> None:
    """One line: each character is a slice, its height the sessions at work."""
    heights = [sum(s.classes.values()) for s in load.slices]
    top = max(heights)
    if len(heights) < 2 or not top:
        return
    steps = len(_BLOCKS) - 1
    line = "".join(_BLOCKS[round(h / top * steps)] for h in heights)
    console.print(Text(f"{line} at most {top:.1f}", style="cyan"), soft_wrap=True)


def _table(title: str, shares: Sequence[Share], most: int) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("sessions", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column(title, overflow="ellipsis", no_wrap=True, ratio=1)
    for share in shares[:most]:
        full = round(share.share * _BAR)
        table.add_row(
            f"{share.sessions:.2f}",
            f"{100 * share.share:.0f} %",
            Text("█" * full + "·" * (_BAR - full), style="cyan"),
            Text(clean(share.name)),
        )
    if len(shares) > most:
        table.add_row("", "", "", Text(f"and {len(shares) - most} more", style="dim"))
    return table


def print_blocking(console: Console, found: Blocking) -> None:
    """The root blocker first, its waiters below it."""
    console.print()
    sessions = "session waits" if found.waiting == 1 else "sessions wait"
    console.print(
        Text(
            f"who blocks whom at {found.at.astimezone():%Y-%m-%d %H:%M:%S%z}: "
            f"{found.waiting} {sessions} for locks",
            style="bold yellow",
        )
    )
    for tree in found.trees:
        console.print(Text(clean(tree)), soft_wrap=True)
