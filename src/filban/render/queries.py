"""`filban queries` for a terminal: the ranking, or one statement whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from filban.flows.queries import Queries
from filban.profile.statements.history import Point
from filban.profile.statements.report import Statement
from filban.render import terminal
from filban.render.terminal import clean
from filban.sql import comments
from filban.units import duration, number, size

BLOCK = 8192
_SPARKS = "▁▂▃▄▅▆▇█"
SPARK_POINTS = 60  # of the last ones
# Of a change that no test has confirmed: nearer to 1 it is noise to the eye as well.
_CHANGED = (0.8, 1.25)
_LEADING = re.compile(r"\A(?:\s*--[^\n]*\n)+")
LEAST_QUERY = 24  # characters of the query without which a line says nothing
# Where there is no room for it, the first goes first; of the change, only its length.
_OPTIONAL = ("± sd", "max", "<database", "p95", "change", "share")

Column = tuple[str, Callable[[Statement], str]]


def milliseconds(ms: float | None) -> str:
    return "–" if ms is None else duration(ms / 1000)


def blocks(count: int | None) -> str:
    return "–" if count is None else size(count * BLOCK)


def counted(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def change(s: Statement) -> str:
    """ "3.4x since 14:10" (UTC), "1.3x", or nothing where it hardly differs."""
    if s.slower_since is not None:
        return f"{s.slower_ratio:.1f}x since {s.slower_since:%H:%M}"
    if s.change is None or _CHANGED[0] <= s.change <= _CHANGED[1]:
        return ""
    return f"{s.change:.1f}x" if s.change >= 1 else f"{s.change:.2f}x"


# --by -> the column that it ranks by, where that is not shown anyway.
_EXTRA: dict[str, Column] = {
    "rows": ("rows", lambda s: counted(s.rows)),
    "io": ("i/o", lambda s: milliseconds(s.io_ms) if s.io_ms else blocks(s.read_blocks)),
    "temp": ("temp", lambda s: blocks((s.temp_read_blocks or 0) + (s.temp_written_blocks or 0))),
    "wal": ("WAL", lambda s: "–" if s.wal_bytes is None else size(s.wal_bytes)),
    "jit": ("JIT", lambda s: milliseconds(s.jit_ms)),
    "planning": ("planning", lambda s: milliseconds(s.plan_ms)),
}


def print_queries(console: Console, result: Queries, *, top: int = 20) -> None:
    """What it is of, the first `top` statements, the findings, what could not be seen."""
    console.print(Text(clean(result.title), style="bold"))
    if result.one:
        for statement in result.statements:
            _one(console, statement, result)
    else:
        _ranking(console, result, top)
    report = replace(result.report(), title="What stands out")
    terminal.print_report(console, report, everything=True)


def _ranking(console: Console, result: Queries, top: int) -> None:
    facts = result.facts
    console.print(Text(clean(str(facts["basis"]))))
    if facts.get("start"):
        words = f"{facts['start'][:19]} to {facts['end'][:19]} UTC, "
        words += duration(facts["window_seconds"])
        if facts.get("compared_with"):
            words += f"; change against {facts['compared_with']}"
        console.print(Text(words, style="dim"))
    lost = [
        f"{number(facts[f'entries_{what}'])} {what}"
        for what in ("evicted", "gone", "restarted")
        if facts.get(f"entries_{what}")
    ]
    if lost:
        console.print(Text(f"entries of the server's table: {', '.join(lost)}", style="yellow"))
    console.print()
    if result.statements:
        console.print(_table(result, top, console.width))
        left = len(result.statements) - top
        if left > 0:
            console.print(f"[dim]and {left:,} more (--top, or --json for all)[/dim]")
    else:
        console.print("no statement ran in this time")
    console.print()


def _columns(by: str) -> list[Column]:
    return [
        ("total", lambda s: milliseconds(s.total_ms)),
        ("share", lambda s: f"{100 * s.share:.0f} %"),
        ("calls", lambda s: counted(s.calls)),
        ("mean", lambda s: milliseconds(s.mean_ms)),
        *([_EXTRA[by]] if by in _EXTRA else []),
        ("± sd", lambda s: milliseconds(s.stddev_ms)),
        ("p95", lambda s: milliseconds(s.p95_ms)),
        ("max", lambda s: milliseconds(s.max_ms)),
        ("change", change),
        ("id", lambda s: str(s.query_id or s.fingerprint)),
        ("<database", lambda s: s.database or ""),
    ]


def _fitting(shown: Sequence[Statement], by: str, width: int) -> tuple[dict[str, list[str]], int]:
    """Every cell of the columns for which there is room, and what is left of a line."""
    cells = {name: [clean(cell(s)) for s in shown] for name, cell in _columns(by)}
    if not any(cells["change"]):
        del cells["change"]
    for name in (*_OPTIONAL, None):
        left = width - sum(_width(*column) + 1 for column in cells.items())
        if left >= LEAST_QUERY or name is None:
            break
        if name == "change":
            cells = cells | ({name: [_change(s) for s in shown]} if name in cells else {})
        else:
            del cells[name]
    return cells, left


def _width(name: str, cells: Sequence[str]) -> int:
    return max(map(len, (name.removeprefix("<"), *cells)))


def _table(result: Queries, top: int, width: int) -> Table:
    """Every number whole; the query has what is left of the line."""
    shown = result.statements[:top]
    cells, left = _fitting(shown, str(result.facts["by"]), width)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name, column in cells.items():
        table.add_column(
            name.removeprefix("<"), header_style="dim", no_wrap=True, width=_width(name, column),
            justify="left" if name.startswith("<") else "right",
        )  # fmt: skip
    table.add_column(
        "query", header_style="dim", no_wrap=True, overflow="ellipsis", width=max(left, 1)
    )
    for *row, query in zip(*cells.values(), map(_query, shown), strict=True):
        table.add_row(*map(escape, row), escape(clean(query)))
    return table


def _change(s: Statement) -> str:
    """Short: "3.4x!" is a regression, which a finding tells of."""
    return change(s) if s.slower_since is None else f"{s.slower_ratio:.1f}x!"


def _query(s: Statement) -> str:
    """With the route in front, which says more to its author than the SQL."""
    where = comments.route(s.labels)
    text = " ".join(_LEADING.sub("", s.query).replace("\t", " ").split())[:200]
    return f"[{where}] {text}" if where else text


def _one(console: Console, s: Statement, result: Queries) -> None:
    console.print(Text(clean(f"query id {s.query_id} · fingerprint {s.fingerprint}"), style="bold"))
    console.print(Text(f"{result.facts['basis']}", style="dim"))
    console.print(Padding(Text(clean(s.query)), (1, 0, 1, 2)), soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name, value in _facts(s):
        table.add_row(Text(name, style="dim"), Text(clean(value)))
    console.print(Padding(table, (0, 0, 1, 2)))
    called = [p for p in result.points if p.counts.calls][-SPARK_POINTS:]
    if called:
        console.print(Padding(_over_time(called), (0, 0, 1, 2)))
    for plan in result.plans:
        console.print(Text("slowest plan in the log", style="dim"))
        console.print(Padding(Text(clean(plan)), (0, 0, 1, 2)), soft_wrap=True)


def _facts(s: Statement) -> list[tuple[str, str]]:
    spread = f"{milliseconds(s.min_ms)} to {milliseconds(s.max_ms)}, sd {milliseconds(s.stddev_ms)}"
    percentiles = f"p50 {milliseconds(s.p50_ms)}, p95 {milliseconds(s.p95_ms)}"
    before = f"{milliseconds(s.before_mean_ms)} ({change(s) or 'about the same'})"
    pairs = [
        ("database", s.database or ""),
        ("users", ", ".join(s.users)),
        ("applications", ", ".join(s.applications)),
        ("labels", ", ".join(f"{k}={v}" for k, v in s.labels.items())),
        ("time", f"{milliseconds(s.total_ms)}, {100 * s.share:.1f} % of all"),
        ("calls", "" if s.calls is None else f"{s.calls:,} ({s.nested_calls or 0:,} nested)"),
        ("mean", "" if s.mean_ms is None else f"{milliseconds(s.mean_ms)}; {spread}"),
        ("from the log", percentiles if s.p95_ms is not None else ""),
        ("before", before if s.before_mean_ms is not None else ""),
        ("rows", "" if s.rows is None else f"{s.rows:,}"),
        ("planning", milliseconds(s.plan_ms) if s.plans else ""),
        ("JIT", milliseconds(s.jit_ms) if s.jit_ms else ""),
        ("read", f"{blocks(s.read_blocks)}, from cache {blocks(s.hit_blocks)}"),
        ("written", blocks(s.written_blocks) if s.written_blocks else ""),
        ("I/O time", milliseconds(s.io_ms) if s.io_ms else ""),
        ("temporary files", blocks(s.temp_written_blocks) if s.temp_written_blocks else ""),
        ("WAL", size(s.wal_bytes) if s.wal_bytes else ""),
        ("waits, in samples", ", ".join(f"{k} {v}" for k, v in s.waits.items())),
    ]
    return [(name, value) for name, value in pairs if value]


def _over_time(points: Sequence[Point]) -> Text:
    means = [p.counts.mean_ms for p in points]
    calls = [float(p.counts.calls) for p in points]
    first, last = points[0].start, points[-1].end
    return Text(
        f"mean   {sparkline(means)}  {milliseconds(min(means))} to {milliseconds(max(means))}\n"
        f"calls  {sparkline(calls)}  {min(calls):,.0f} to {max(calls):,.0f}\n"
        f"       {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    )


def sparkline(values: Sequence[float]) -> str:
    """One block a value, on a scale from zero to the largest."""
    most = max(values, default=0.0) or 1.0
    return "".join(_SPARKS[min(7, int(8 * value / most))] for value in values)
