"""A log report for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from filban.profile.logs.rows import Autovacuum, LogReport, Statement, Waiter, Who
from filban.render.terminal import clean
from filban.units import duration, size

ROWS = 10  # of each list but the statements
QUERY_CHARACTERS = 100
LAST_CHARACTERS = 24  # of a table's last column are shown, even if the terminal has to wrap them
WIDE = 120  # columns of a terminal from which on a statement shows all of its numbers


def print_logs(console: Console, report: LogReport, *, top: int = 20) -> None:
    """Every section that has something in it, `top` statements."""
    _head(console, report)
    _statements(console, report, top)
    _routes(console, report)
    _errors(console, report)
    _locks(console, report)
    _temp_files(console, report)
    _plans(console, report)
    _server(console, report)
    _sessions(console, report)
    for note in report.notes:
        console.print(Text(f"note: {clean(note)}", style="magenta"))


def milliseconds(ms: float | None) -> str:
    return "–" if ms is None else duration(ms / 1000)


def one_line(text: str, limit: int = QUERY_CHARACTERS) -> str:
    flat = " ".join(clean(text.replace("\t", " ")).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def moment(time: datetime | None) -> str:
    return "–" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def _head(console: Console, report: LogReport) -> None:
    console.print(
        f"[bold]{report.events:,} events[/bold] from {moment(report.first)} to "
        f"{moment(report.last)} · {report.calls:,} calls, {milliseconds(report.total_ms)}"
    )
    for file in report.files:
        what = file.format + (f", prefix {file.prefix!r}" if file.prefix else "")
        words = f"  {file.name}: {what or 'not read'}"
        words += f", {size(file.bytes)}, {file.events:,} events" if file.format else ""
        console.print(Text(clean(words), style="dim"), soft_wrap=True)
        if file.skipped:
            console.print(Text(f"    {clean(file.skipped)}", style="yellow"), soft_wrap=True)
        if file.unread:
            console.print(Text(f"    {file.unread:,} unreadable, such as:", style="yellow"))
            for sample in file.samples[:2]:
                console.print(Text(f"      {one_line(sample)}", style="yellow"))
    console.print()


def _table(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Columns beginning with < are words, the others numbers; only the last one may be cut, to
    what the others leave: rich would make all of them narrower."""
    rows = [[clean(cell) for cell in row] for row in rows]
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    left = console.width - 2
    for index, column in enumerate(columns):
        name = column.removeprefix("<")
        width = max(len(name), *(cell_len(row[index]) for row in rows))
        if index == len(columns) - 1:
            width = min(width, max(left, LAST_CHARACTERS))
        left -= width + 2
        table.add_column(
            name, header_style="dim", justify="left" if column.startswith("<") else "right",
            overflow="ellipsis", no_wrap=True, width=width,
        )  # fmt: skip
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(Text(title, style="bold"))
    padded = Padding(table, (0, 0, 1, 2), expand=False)
    console.print(padded, width=max(console.width, console.width - left), crop=False)


def _statements(console: Console, report: LogReport, top: int) -> None:
    """All numbers where there is room for them, else those that matter most."""
    numbers = ["total", "share", "calls", "mean", "p95", "max"]
    if console.width < WIDE:
        numbers = ["total", "calls", "mean", "p95"]
    total = report.total_ms or 1.0
    _table(
        console, f"Statements by total time (of {len(report.statements):,})",
        (*numbers, "<fingerprint", "<query"),
        (_statement(s, total, numbers) for s in report.statements[:top]),
    )  # fmt: skip


def _statement(s: Statement, total: float, numbers: Sequence[str]) -> tuple[str, ...]:
    said = {
        "total": milliseconds(s.total_ms), "share": f"{100 * s.total_ms / total:.0f} %",
        "calls": f"{s.calls:,}", "mean": milliseconds(s.mean_ms), "p95": milliseconds(s.p95_ms),
        "max": milliseconds(s.max_ms),
    }  # fmt: skip
    return (*(said[name] for name in numbers), s.fingerprint, one_line(s.query))


def _routes(console: Console, report: LogReport) -> None:
    _table(
        console, "Routes (sqlcommenter)", ("total", "calls", "statements", "<service", "<route"),
        (
            (
                milliseconds(r.total_ms), f"{r.calls:,}", f"{r.statements:,}", r.service or "",
                r.route,
            )
            for r in report.routes[:ROWS]
        ),
    )  # fmt: skip


def _errors(console: Console, report: LogReport) -> None:
    _table(
        console, "Errors and warnings", ("count", "<level", "<sqlstate", "<last", "<message"),
        (
            (f"{f.count:,}", f.level, f.sqlstate or "", moment(f.last), one_line(f.example))
            for f in report.errors[: 2 * ROWS]
        ),
    )  # fmt: skip
    _table(
        console, "Cancelled", ("count", "<why", "<statement"),
        (
            (f"{c.count:,}", c.why, one_line(c.statements[0][0]) if c.statements else "")
            for c in report.cancelled
        ),
    )  # fmt: skip


def _locks(console: Console, report: LogReport) -> None:
    locks = report.locks
    _table(
        console, f"Lock waits: {locks.waits:,}, {milliseconds(locks.total_ms)}",
        ("waits", "total", "max", "<mode", "<on"),
        (
            (f"{o.waits:,}", milliseconds(o.total_ms), milliseconds(o.max_ms), o.mode, o.object)
            for o in locks.objects[:ROWS]
        ),
    )  # fmt: skip
    for lock_tree in locks.trees[:3]:
        tree = Tree(
            Text(
                f"{moment(lock_tree.time)} process {lock_tree.root.pid} blocks {lock_tree.waiting}"
            )
        )
        for waiter in lock_tree.root.waiters:
            _branch(tree, waiter)
        console.print(Padding(tree, (0, 0, 1, 2)))
    if locks.deadlocks:
        console.print(f"[bold]Deadlocks: {locks.deadlocks:,}[/bold]")
    for graph in locks.deadlock_graphs[:3]:
        console.print(f"  {moment(graph.time)} {escape(clean(graph.database or ''))}")
        for edge in graph.edges:
            words = f"    {edge.pid} waits for {edge.lock} of {edge.blocked_by}"
            console.print(Text(clean(f"{words}: {one_line(edge.statement or '')}")), soft_wrap=True)
    if locks.deadlocks:
        console.print()


def _branch(tree: Tree, waiter: Waiter) -> None:
    got = {True: "got it", False: "did not get it", None: ""}[waiter.got]
    words = (str(waiter.pid), milliseconds(waiter.ms), waiter.lock or "", got)
    branch = tree.add(Text(clean(f"{' '.join(words)} {one_line(waiter.statement or '', 60)}")))
    for below in waiter.waiters:
        _branch(branch, below)


def _temp_files(console: Console, report: LogReport) -> None:
    title = f"Temporary files: {report.temp_file_count:,}, {size(report.temp_file_bytes)}"
    _table(
        console, title, ("files", "bytes", "largest", "<query"),
        (
            (f"{t.files:,}", size(t.bytes), size(t.max_bytes), one_line(t.query))
            for t in report.temp_files[:ROWS]
        ),
    )  # fmt: skip


def _plans(console: Console, report: LogReport) -> None:
    _table(
        console, "Slowest plans (auto_explain)", ("ms", "plans", "fingerprint", "<plan"),
        (
            (f"{p.ms:,.1f}", f"{p.plans:,}", p.fingerprint, one_line(p.plan, 70))
            for p in report.plans[:ROWS]
        ),
    )  # fmt: skip


def _server(console: Console, report: LogReport) -> None:
    c = report.checkpoints
    if c.completed or c.restartpoints:
        causes = ", ".join(f"{count} {cause}" for cause, count in c.causes.items())
        console.print(
            f"[bold]Checkpoints: {c.completed + c.restartpoints:,}[/bold] ({escape(clean(causes))})"
        )
        console.print(
            f"  {c.buffers:,} buffers, {c.total_s:,.1f} s in all, longest {c.longest_s:,.1f} s, "
            f"{size(c.distance_bytes)} of WAL, {c.too_frequent:,} times too frequent\n"
        )
    _table(
        console, "Autovacuum", ("vacuums", "s", "analyzes", "s", "removed", "cancelled", "<table"),
        (_autovacuum(a) for a in report.autovacuum[:ROWS]),
    )  # fmt: skip
    _table(
        console, "The server", ("<time", "<what", "<message"),
        ((moment(e.time), e.kind, one_line(e.message)) for e in report.server_events[-2 * ROWS :]),
    )  # fmt: skip


def _autovacuum(a: Autovacuum) -> tuple[str, ...]:
    return (
        f"{a.vacuums:,}", f"{a.vacuum_s:,.1f}", f"{a.analyzes:,}", f"{a.analyze_s:,.1f}",
        f"{a.removed:,}", f"{a.cancelled:,}", a.table,
    )  # fmt: skip


def _sessions(console: Console, report: LogReport) -> None:
    s = report.sessions
    if not (s.received or s.ended):
        return
    average = duration(s.session_s / s.ended) if s.ended else "–"
    console.print(
        f"[bold]Connections: {s.received:,}[/bold], authorized {s.authorized:,}, "
        f"sessions ended {s.ended:,}, {average} on average"
    )
    for title, rows in (
        ("user", s.by_user), ("database", s.by_database), ("application", s.by_application),
        ("host", s.by_host),
    ):  # fmt: skip
        if rows:
            console.print(Text(f"  by {title}: {_who(rows)}"), soft_wrap=True)
    console.print()


def _who(rows: Sequence[Who]) -> str:
    shown = ", ".join(f"{clean(w.name)} {max(w.connections, w.sessions):,}" for w in rows[:5])
    return shown + (f" and {len(rows) - 5:,} more" if len(rows) > 5 else "")
