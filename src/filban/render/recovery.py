"""The recovery windows, drawn: each backup from where it can be restored to where its WAL ends."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from filban.backup.shelf import Stored
from filban.backup.timeline.coverage import Archive, Window
from filban.backup.timeline.history import described
from filban.pg.lsn import format_lsn
from filban.render.terminal import clean

_WIDTH = 48


def print_windows(
    console: Console, archive: Archive, backups: Sequence[Stored], windows: Sequence[Window]
) -> None:
    """A bar a backup and timeline; positions are proportional to the LSN."""
    if not windows:
        console.print("Nothing can be restored: no backup has the WAL that it needs.")
        return
    low = min(w.start for w in windows)
    high = max(max(w.end, w.start) for w in windows)
    finished = {b.label: b.finished_at for b in backups}
    for timeline in sorted({w.timeline for w in windows}):
        line = archive.history(timeline)
        console.print(Text(f"timeline {described(line) if line else timeline}", style="bold"))
        for window in (w for w in windows if w.timeline == timeline):
            label = f"{clean(window.backup):<24.24} "
            bar = _bar(window, low, high)
            style = "green" if window.is_usable and window.gap is None else "red"
            console.print(Text.assemble("  ", label, (bar, style), " ", _says(window)))
            when = f"{finished[window.backup]:%Y-%m-%d %H:%M:%S %Z}"
            console.print(Text(f"  {'':<24} from {when}", style="dim"))


def _bar(window: Window, low: int, high: int) -> str:
    span = max(high - low, 1)
    first = (window.start - low) * (_WIDTH - 1) // span
    last = max((window.end - low) * (_WIDTH - 1) // span, first)
    end = "╳" if window.gap or not window.is_usable else "▶"
    return "·" * first + "█" * (last - first) + end + "·" * (_WIDTH - 1 - last)


def _says(window: Window) -> str:
    if not window.is_usable:
        return "cannot become consistent: its WAL is not all there"
    reach = f"{format_lsn(window.start)} to {format_lsn(window.end)}"
    return f"{reach}, then {window.gap} is missing" if window.gap else reach
