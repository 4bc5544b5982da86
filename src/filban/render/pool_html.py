"""A sweep of pool sizes as one self-contained page: points and the law's curve as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filban import __version__
from filban.flows.pool import BenchResult
from filban.render.html import environment, write_page
from filban.render.pool import caution, law, verdict
from filban.tune.pool_size import Step
from filban.units import duration, number

WIDTH, HEIGHT = 640.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 70.0, 15.0, 12.0, 42.0  # margins for the axes' words
_CURVE_POINTS = 60
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the plot and what it says."""

    x: float
    y: float
    label: str
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """One quantity over the sizes. curve: an SVG `points` attribute, "" without one."""

    title: str
    marks: tuple[Mark, ...]
    curve: str
    across: tuple[Mark, ...]
    up: tuple[Mark, ...]


def plots(result: BenchResult) -> list[Plot]:
    """Throughput (with the law) and p95 latency at the highest concurrency."""
    concurrency = max((s.concurrency for s in result.closed), default=0)
    steps = [s for s in result.closed if s.concurrency == concurrency]
    if not steps:
        return []
    return [
        _plot(result, steps, "Statements a second", "throughput", with_law=True),
        _plot(result, steps, "p95 latency", "latency_p95", with_law=False),
    ]


def _plot(
    result: BenchResult, steps: list[Step], title: str, value: str, *, with_law: bool
) -> Plot:
    usl = result.choice.usl if result.choice and with_law else None
    widest = max(s.size for s in steps)
    curve = [
        (n, usl.throughput(n))
        for n in (1 + (widest - 1) * i / _CURVE_POINTS for i in range(_CURVE_POINTS + 1))
    ] if usl else []  # fmt: skip
    highest = max([float(getattr(s, value)) for s in steps] + [y for _, y in curve]) * 1.05 or 1.0

    def x(size: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * size / widest, 1)

    def y(amount: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * amount / highest, 1)

    def words(amount: float) -> str:
        return number(round(amount)) if value == "throughput" else duration(amount)

    size = result.choice.size if result.choice else None
    return Plot(
        title=title,
        marks=tuple(
            Mark(
                x(s.size), y(getattr(s, value)),
                f"{s.size} connections: {words(getattr(s, value))}", s.size == size,
            )
            for s in steps
        ),
        curve=" ".join(f"{x(n)},{y(amount)}" for n, amount in curve),
        across=tuple(Mark(x(s.size), HEIGHT - BOTTOM, str(s.size)) for s in _spread(steps)),
        up=tuple(
            Mark(LEFT, y(highest * i / _TICKS), words(highest * i / _TICKS))
            for i in range(_TICKS + 1)
        ),
    )  # fmt: skip


def _spread(steps: list[Step]) -> list[Step]:
    """Sizes whose numbers do not overlap on the axis."""
    shown: list[Step] = []
    widest = max(s.size for s in steps)
    for step in sorted(steps, key=lambda s: s.size):
        if not shown or (step.size - shown[-1].size) / widest > 0.035:
            shown.append(step)
    return shown


def page(result: BenchResult) -> str:
    """The whole document as text."""
    usl = result.choice.usl if result.choice else None
    return (
        environment()
        .get_template("pool.html")
        .render(
            result=result,
            plots=plots(result),
            verdict=verdict(result),
            caution=caution(result),
            law=law(usl) if usl else "",
            good=result.choice is not None and result.choice.good,
            width=WIDTH,
            height=HEIGHT,
            left=LEFT,
            right=WIDTH - RIGHT,
            bottom=HEIGHT - BOTTOM,
            seconds=duration,
            version=__version__,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def write(result: BenchResult, file: Path) -> None:
    """Write the page. Raises UsageError (no such folder, no right) or DiskFull."""
    write_page(page(result), file)
