"""`filban top`: one screen, as lines that fit the terminal's width and height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from filban.pg import Server
from filban.pg.locks import by_node, drawn, forest
from filban.profile.top import Look, Rates, Replica, Running, View, arranged, selected
from filban.render.terminal import clean
from filban.units import duration, number, size

KEYS = "↑↓ · Enter query · / filter · s sort · Space pause · c cancel · k terminate · q"
# Of the lines below the head: the list of sessions keeps the larger part.
_TREES_PART = 0.4
_WIDE = 120  # columns from which on there is room for application and client


@dataclass(frozen=True, slots=True)
class Shown:
    """What a screen is made of. gone_since: when the server stopped answering."""

    server: Server
    look: Look
    rates: Rates
    view: View
    gone_since: datetime | None = None


def screen(shown: Shown, width: int, height: int) -> list[Text]:
    """Exactly `height` lines of at most `width` columns."""
    view = shown.view
    rows = arranged(shown.look.sessions, view)
    lines = [*_head(shown), Text()]
    left = max(height - len(lines) - 1, 0)
    if view.mode == "query":
        body = _query(selected(view, rows), width)
    else:
        trees = _trees(shown.look)
        room = int(left * _TREES_PART)
        body = [*_cut(trees, room), *([Text()] if trees else [])]
        body += sessions(rows, view, width, left - len(body))
    lines += body[:left] + [Text()] * (left - len(body))
    lines.append(_foot(view, rows))
    return [_fit(line, width) for line in lines][:height]


def print_once(console: Console, shown: Shown) -> None:
    """The same without a screen to fit: every session, every tree."""
    rows = arranged(shown.look.sessions, shown.view)
    trees = _trees(shown.look)
    table = sessions(rows, shown.view, console.width, len(rows) + 1, marked=False)
    for line in [*_head(shown), *([Text(), *trees] if trees else []), Text()]:
        console.print(line, soft_wrap=True)
    for line in table:
        console.print(_fit(line, console.width), soft_wrap=True)


def _fit(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _cut(lines: Sequence[Text], room: int) -> list[Text]:
    if len(lines) <= room:
        return list(lines)
    more = len(lines) - room + 1
    return [*lines[: room - 1], Text(f"… {more} more lines", style="dim")] if room > 0 else []


def _head(shown: Shown) -> list[Text]:
    return [
        line
        for line in (_title(shown), _counts(shown.look), *_speed(shown), _replication(shown.look))
        if line is not None
    ]


def _title(shown: Shown) -> Text:
    server, view = shown.server, shown.view
    up = (datetime.now(UTC) - server.started_at).total_seconds()
    text = Text(f"PostgreSQL {server.version_text.split()[0]} {server.kind}", style="bold")
    text.append(clean(f" · {server.database} as {server.role}"), style="not bold")
    if shown.gone_since is not None:
        text.append(f" · server gone since {shown.gone_since.astimezone():%H:%M:%S}", "bold red")
        return text
    if view.paused:
        text.append(" · paused", "bold yellow")
    text.append(f" · {shown.look.at.astimezone():%H:%M:%S}", "not bold")
    text.append(f" · every {view.interval:g} s · up {duration(up)}", "not bold dim")
    return text


def _counts(look: Look) -> Text:
    clients = [s for s in look.sessions if s.backend_type == "client backend"]
    running = sum(s.state == "active" and not s.waits for s in clients)
    idle = sum((s.state or "").startswith("idle") for s in clients)
    blocked = sum(w.waited_seconds is not None for w in look.waits)
    hidden = sum(s.hidden for s in look.sessions)
    text = Text(f"{look.counters.connections}/{look.counters.connections_allowed} connections")
    if hidden:  # first: the counts that follow are of the others
        text.append(f" · {hidden} not visible to this role: grant pg_monitor", "magenta")
    text.append(f" · {running} running · {sum(s.waits for s in clients)} waiting")
    text.append(f" · {blocked} blocked", "bold red" if blocked else "")
    text.append(f" · {idle} idle in transaction", "yellow" if idle else "")
    return text


def _speed(shown: Shown) -> list[Text]:
    r = shown.rates
    hit = "–" if r.hit_ratio is None else f"{100 * r.hit_ratio:.1f} %"
    lines = [
        Text(
            f"tps {_number(r.commits)} · rollbacks {_number(r.rollbacks)} · "
            f"read {_rate(r.read_bytes)} · hit {hit} · temp {_rate(r.temp_bytes)} · "
            f"WAL {_rate(r.wal_bytes)}"
        )
    ]
    if shown.look.io.read_bytes is not None:
        lines.append(
            Text(
                f"all processes: read {_rate(r.disk_read_bytes)} · "
                f"written {_rate(r.disk_written_bytes)}"
            )
        )
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{number(round(value))}/s"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{size(value)}/s"


def _replication(look: Look) -> Text | None:
    behind = look.counters.replay_behind_bytes
    words = [_replica(r) for r in look.replicas]
    if behind is not None:
        words.insert(0, f"replay {size(behind)} behind what was received")
    return Text(clean("replication: " + " · ".join(words))) if words else None


def _replica(replica: Replica) -> str:
    if replica.state is None:
        return f"{replica.name} (not visible to this role)"
    late = "" if replica.behind_seconds is None else f", {duration(replica.behind_seconds)}"
    behind = "–" if replica.behind_bytes is None else size(max(replica.behind_bytes, 0))
    return f"{replica.name} {replica.state} {replica.sync_state} {behind}{late} behind"


def _trees(look: Look) -> list[Text]:
    """A tree a root blocker, the one with most waiters first."""
    known = by_node(look.waits)
    found = sorted(forest(known), key=lambda tree: -len(tree.waiters()))
    return [
        Text(clean(line), style="" if number else "bold red")
        for tree in found
        for number, line in enumerate(drawn(tree, known).splitlines())
    ]


def sessions(
    rows: Sequence[Running], view: View, width: int, room: int, *, marked: bool = True
) -> list[Text]:
    """A header and the rows around the selected one."""
    if room <= 0:
        return []
    wide = width >= _WIDE
    lines = [Text(_cells(_titles(view), wide), style="dim")]
    chosen = selected(view, rows) if marked else None
    place = rows.index(chosen) if chosen is not None else 0
    first = max(0, place - (room - 2))
    for row in rows[first : first + room - 1]:
        line = Text(_cells(_values(row), wide), style=_style(row))
        if row is chosen:
            line.stylize("reverse")
            line.pad_right(max(width - line.cell_len, 0))
        lines.append(line)
    return lines


def _titles(view: View) -> tuple[str, ...]:
    marks = {"wait": "wait", "role": "role", "application": "application", "pid": "pid"}
    sort = marks.get(view.sort, view.sort)
    names = ("pid", "time", "transaction", "wait", "role", "database", "application", "client")
    short = {"transaction": "xact"}
    return (*(short.get(n, n) + ("▾" if n == sort else "") for n in names), "query")


_WIDTHS = (8, 9, 9, 22, 10, 10, 16, 15)
_ONLY_WIDE = frozenset({2, 5, 6, 7})


def _cells(values: Sequence[str], wide: bool) -> str:
    cells = [
        _cell(value, width)
        for place, (value, width) in enumerate(zip(values, _WIDTHS, strict=False))
        if wide or place not in _ONLY_WIDE
    ]
    return " ".join([*cells, values[-1]])


def _cell(value: str, width: int) -> str:
    text = Text(value)
    text.truncate(width, overflow="ellipsis", pad=True)
    return text.plain


def _values(row: Running) -> tuple[str, ...]:
    query = row.query or row.backend_type or ""
    if row.hidden:
        query = "not visible to this role: grant pg_monitor"
    return tuple(
        clean(value)
        for value in (
            str(row.pid), _time(row.seconds), _time(row.transaction_seconds), _doing(row),
            row.role or "", row.database or "", row.application or "", row.client or "",
            " ".join(query.split()),
        )
    )  # fmt: skip


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration(max(seconds, 0.0))


def _doing(row: Running) -> str:
    if row.hidden:
        return "?"
    if (row.state or "").startswith("idle in transaction"):
        return "idle in transaction" + (" (aborted)" if "aborted" in (row.state or "") else "")
    if row.wait_event_type is None:
        return "CPU" if row.state in ("active", None) else row.state or ""
    return f"{row.wait_event_type}:{row.wait_event}"


def _style(row: Running) -> str:
    if row.wait_event_type == "Lock":
        return "red"
    if row.hidden or row.state is None:
        return "dim"
    return "yellow" if (row.state or "").startswith("idle") else ""


def _query(row: Running | None, width: int) -> list[Text]:
    if row is None:
        return [Text("it has gone", style="dim"), Text("Enter: back", style="dim")]
    who = f"pid {row.pid} · {row.role} on {row.database} · {row.application or 'no name'}"
    times = f"{_doing(row)} for {_time(row.seconds)} · transaction {_time(row.transaction_seconds)}"
    text = _values(row)[-1] if row.hidden else row.query or "no query"
    console = Console(width=max(width, 1))
    lines = list(Text(clean(text.expandtabs(4))).wrap(console, max(width, 1)))
    return [Text(clean(who), style="bold"), Text(times), Text(), *lines]


def _foot(view: View, rows: Sequence[Running]) -> Text:
    if view.mode == "confirm":
        what = "cancel the statement of" if view.verb == "cancel" else "terminate"
        return Text(f"{what} pid {view.selected}? y / n", style="bold reverse red")
    if view.mode == "filter":
        return Text(f"filter: {view.needle}▏ (Enter keeps it, Escape clears it)", style="bold")
    if view.mode == "query":
        return Text("Enter back", style="dim")
    if view.message:
        return Text(clean(view.message), style="bold yellow")
    if view.needle:
        return Text(clean(f"filter: {view.needle} ({len(rows)}) · Escape clears · ") + KEYS)
    return Text(KEYS, style="dim")
