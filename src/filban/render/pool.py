"""A sweep of pool sizes for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from filban.flows.pool import BenchResult
from filban.render.terminal import clean
from filban.tune.pool_size import Step, Usl
from filban.units import count, duration, number

BAR = 12  # characters of the longest bar: the table fits into 80 columns
# One thread of Python cannot use more than a core; near it the client is what is measured.
CLIENT_BOUND = 0.9
# Below it the law explains too little of the sweep to be read (filban's own); the size is chosen
# from what was measured, not from the law.
GOOD_FIT = 0.8
_EIGHTHS = " ▏▎▍▌▋▊▉"


def print_bench(console: Console, result: BenchResult) -> None:
    """The sweep, the law through it, the open loops, and the size to take."""
    console.print(f"[bold]{escape(clean(result.workload))}[/bold]")
    console.print(f"[dim]{escape(clean(result.server))}[/dim]\n")
    _closed(console, result)
    if result.open:
        _open(console, result.open)
    usl = result.choice.usl if result.choice else None
    if usl is not None:
        console.print(Text(f"Scalability law: {law(usl)}\n", style="dim"))
    if caution(result):
        console.print(Text(f"{caution(result)}\n", style="yellow"))
    console.print(Text(verdict(result), style="bold green" if _good(result) else "bold yellow"))


def verdict(result: BenchResult) -> str:
    """One sentence: the size and why."""
    if result.choice is None:
        return "No statement was run: there is nothing to recommend."
    size = count(result.choice.size, "connection")
    return f"Take {size} for all processes together: {result.choice.why}."


def law(usl: Usl) -> str:
    """The coefficients in words, where they say anything."""
    if usl.r_squared < GOOD_FIT:
        return (
            f"does not describe this sweep (R² {usl.r_squared:.2f}): the rounds differ more than "
            "the sizes, or throughput does not depend on the size; a quieter machine, more --rounds"
        )
    peak = f"peak at {usl.peak:.0f} connections" if usl.peak else "no peak"
    return (
        f"{number(round(usl.lam))}/s a connection, contention {usl.sigma:.2%}, coherency "
        f"{usl.kappa:.4%}, {peak} (R² {usl.r_squared:.3f})"
    )


def caution(result: BenchResult) -> str:
    """Whether the figures are rather this process's than the server's, or ""."""
    busy = max((s.client_cpu for s in result.closed), default=0.0)
    if busy < CLIENT_BOUND:
        return ""
    return (
        f"This process was busy for {busy:.0%} of a core, which is all that one Python process "
        "has: the server can do more than these figures. A service of several processes divides "
        "the size among them; to load the server itself, run a bench on several machines at once."
    )


def _good(result: BenchResult) -> bool:
    return result.choice is not None and result.choice.good


def _closed(console: Console, result: BenchResult) -> None:
    most = max((s.throughput for s in result.closed), default=0.0)
    for concurrency in dict.fromkeys(s.concurrency for s in result.closed):
        table = _table(f"{concurrency} tasks, closed loop", "connections", bar=True)
        for step in (s for s in result.closed if s.concurrency == concurrency):
            chosen = result.choice is not None and step.size == result.choice.size
            table.add_row(
                f"{'→ ' if chosen else ''}{step.size}",
                *_cells(step),
                Text(bar(step.throughput, most), style="green" if chosen else "cyan"),
            )
        console.print(Padding(table, (0, 0, 1, 0)))


def _open(console: Console, steps: Sequence[Step]) -> None:
    table = _table(
        f"{count(steps[0].size, 'connection')}, statements that come at random", "wanted/s"
    )
    for step in steps:
        table.add_row(f"{step.rate or 0:,.0f}", *_cells(step))
    console.print(Padding(table, (0, 0, 1, 0)))


def _table(title: str, first: str, *, bar: bool = False) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in (first, "statements/s", "p50", "p95", "p99", "wait", "errors"):
        table.add_column(column, justify="right", header_style="dim")
    if bar:
        table.add_column("", no_wrap=True)
    return table


def _cells(step: Step) -> tuple[str, ...]:
    times = (step.latency_p50, step.latency_p95, step.latency_p99, step.wait_mean)
    return (f"{step.throughput:,.0f}", *(duration(t) for t in times), f"{step.errors:,}")


def bar(value: float, most: float) -> str:
    """A bar of up to BAR characters, in eighths of one."""
    eighths = round(8 * BAR * value / most) if most else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
