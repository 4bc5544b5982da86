"""A log report as one self-contained HTML file: bars as SVG, no script, nothing loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filban import __version__
from filban.profile.logs.rows import Hour, LogReport
from filban.render.html import environment, write_page
from filban.render.logs import milliseconds, moment
from filban.units import duration, number, size

WIDTH = 1000.0  # of a plot, in its own units
FEWEST = 12  # hours (or days) of an axis: a short log is no single block
ROWS = 50  # of each table but the statements


@dataclass(frozen=True, slots=True)
class Bar:
    """x and width of WIDTH; height 0..100; what it says."""

    x: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars over an axis of time from `begin` to `end`; `most`: what the highest one says."""

    bars: tuple[Bar, ...]
    begin: datetime
    end: datetime
    most: str


def plot(hours: Sequence[Hour], value: str, per: str) -> Plot | None:
    """`value` ("calls" or "ms") of each hour or day, on a scale of time with its gaps."""
    known = [(hour.start, hour) for hour in hours if hour.start is not None]
    if not known:
        return None
    step = timedelta(hours=1) if per == "hour" else timedelta(days=1)
    first = known[0][0]
    slots = max((known[-1][0] - first) // step + 1, FEWEST)
    width = WIDTH / slots
    highest = max((hour for _, hour in known), key=lambda hour: float(getattr(hour, value)))
    most = float(getattr(highest, value)) or 1.0
    bars = tuple(
        Bar(
            x=round((start - first) / step * width, 2),
            width=round(max(0.5, width * 0.85), 2),
            height=round(100 * float(getattr(hour, value)) / most, 2),
            label=_label(start, per, value, hour),
        )
        for start, hour in known
    )
    return Plot(bars, first, first + slots * step, _said(value, highest))


def _label(start: datetime, per: str, value: str, hour: Hour) -> str:
    when = f"{start:%Y-%m-%d %H:%M}" if per == "hour" else f"{start:%Y-%m-%d}"
    return f"{when}: {_said(value, hour)}"


def _said(value: str, hour: Hour) -> str:
    return counted(hour.calls, "call") if value == "calls" else milliseconds(hour.ms)


def counted(count: int, what: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{number(count)} {what}{'' if count == 1 else 's'}"


def page(report: LogReport, *, top: int = 20) -> str:
    """The whole document as text, with `top` statements."""
    return (
        environment()
        .get_template("logs.html")
        .render(
            report=report,
            statements=report.statements[:top],
            rows=ROWS,
            width=WIDTH,
            plotted=plot,
            counted=counted,
            ms=milliseconds,
            moment=moment,
            number=number,
            seconds=duration,
            size=size,
            version=__version__,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def write(report: LogReport, file: Path, *, top: int = 20) -> None:
    """Write the page. Raises UsageError (no such folder, no right) or DiskFull."""
    write_page(page(report, top=top), file)
