"""A flow's progress on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from filban.cli.common import err
from filban.flows.progress import Progress as FlowProgress
from filban.flows.progress import Silent
from filban.units import duration

LINE_EVERY_SECONDS = 10.0  # a log of a job needs a sign of life, not a film


@contextlib.contextmanager
def shown(console: Console = err, *, quiet: bool = False) -> Iterator[FlowProgress]:
    """The right kind of progress for where standard error goes."""
    if quiet:
        yield Silent()
    elif console.is_terminal:
        with _bars(console) as bars:
            yield _Bars(bars)
    else:
        yield _Lines(console)


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


class _Bars:
    """Running steps as bars; a finished one becomes a line above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, tuple[TaskID, int | None, str]] = {}

    def started(self, step: str, total: int | None, unit: str) -> None:
        task = self._bars.add_task(escape(step), total=total, count="")
        self._tasks[step] = (task, total, unit)

    def advanced(self, step: str, done: int) -> None:
        task, total, unit = self._tasks[step]
        self._bars.update(task, completed=done, count=_count(done, total, unit))

    def finished(self, step: str, summary: str, seconds: float) -> None:
        task, _, _ = self._tasks.pop(step)
        self._bars.remove_task(task)
        self._bars.console.print(_finished(step, summary, seconds))


class _Lines:
    """One line when a step ends, and a sign of life now and then in between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._totals: dict[str, tuple[int | None, str]] = {}
        self._said = 0.0

    def started(self, step: str, total: int | None, unit: str) -> None:
        self._totals[step] = (total, unit)
        self._said = time.monotonic()

    def advanced(self, step: str, done: int) -> None:
        if time.monotonic() - self._said < LINE_EVERY_SECONDS:
            return
        self._said = time.monotonic()
        self._console.print(f"  {escape(step)}: {_count(done, *self._totals[step])}")

    def finished(self, step: str, summary: str, seconds: float) -> None:
        self._console.print(_finished(step, summary, seconds), soft_wrap=True)


def _count(done: int, total: int | None, unit: str) -> str:
    return f"{done:,} of {total:,} {unit}" if total else f"{done:,} {unit}"


def _finished(step: str, summary: str, seconds: float) -> str:
    tail = f": {escape(summary)}" if summary else ""
    return f"[green]✓[/green] {escape(step)}{tail} [dim]({duration(seconds)})[/dim]"
