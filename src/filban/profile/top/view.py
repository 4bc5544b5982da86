"""What the screen shows, and what a key changes about it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from filban.profile.top.collect import Verb
from filban.profile.top.rows import Running

Mode = Literal["list", "filter", "query", "confirm"]
SHORTEST_SECONDS, LONGEST_SECONDS = 0.5, 60.0

# Sort key -> what it sorts by; what is not known comes last.
SORTS: dict[str, Callable[[Running], tuple[object, ...]]] = {
    "time": lambda s: (-(s.seconds or 0.0),),
    "transaction": lambda s: (-(s.transaction_seconds or 0.0),),
    "wait": lambda s: (not s.waits, s.wait_event_type or "", s.wait_event or ""),
    "role": lambda s: (s.role or "\uffff",),
    "application": lambda s: (s.application or "\uffff",),
    "pid": lambda s: (s.pid,),
}


@dataclass(frozen=True, slots=True)
class View:
    """selected: a pid; verb: what is asked about in the mode "confirm"."""

    sort: str = "time"
    needle: str = ""
    paused: bool = False
    selected: int | None = None
    mode: Mode = "list"
    verb: Verb = "cancel"
    interval: float = 2.0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Send this to that session; it has been asked and answered with yes."""

    verb: Verb
    target: Running


Request = Quit | Signal | None


def arranged(sessions: Sequence[Running], view: View) -> list[Running]:
    """Those that the filter lets through, in order; the server's own and hidden ones last."""
    shown = [s for s in sessions if _matches(s, view.needle)]
    key = SORTS[view.sort]
    return sorted(shown, key=lambda s: (s.hidden, s.state is None, *key(s), s.pid))


def _matches(session: Running, needle: str) -> bool:
    words = (
        str(session.pid), session.database, session.role, session.application, session.client,
        session.state, session.wait_event_type, session.wait_event, session.query,
        session.backend_type,
    )  # fmt: skip
    return needle.casefold() in "\n".join(w for w in words if w).casefold()


def press(view: View, key: str, rows: Sequence[Running]) -> tuple[View, Request]:
    """What a key does; `rows` are those on the screen, as `arranged` returns them."""
    view = replace(view, message="")
    match view.mode:
        case "filter":
            return _type(view, key), None
        case "query":
            leaves = key in ("enter", "escape", "q", " ")
            return (replace(view, mode="list") if leaves else view), None
        case "confirm":
            return _answer(view, key, rows)
        case "list":
            return _command(view, key, rows)


def _type(view: View, key: str) -> View:
    match key:
        case "enter":
            return replace(view, mode="list")
        case "escape":
            return replace(view, mode="list", needle="")
        case "backspace":
            return replace(view, needle=view.needle[:-1])
        case _ if len(key) == 1 and key.isprintable():
            return replace(view, needle=view.needle + key)
    return view


def _answer(view: View, key: str, rows: Sequence[Running]) -> tuple[View, Request]:
    asked = replace(view, mode="list")
    target = selected(view, rows)
    if key != "y":
        return replace(asked, message=f"pid {view.selected} is left alone"), None
    if target is None or target.pid != view.selected:
        return replace(asked, message=f"pid {view.selected} has gone"), None
    return asked, Signal(view.verb, target)


def _command(view: View, key: str, rows: Sequence[Running]) -> tuple[View, Request]:
    match key:
        case "q":
            return view, Quit()
        case "up" | "down" | "page up" | "page down" | "home" | "end":
            return _moved(view, key, rows), None
        case "s":
            names = list(SORTS)
            return replace(view, sort=names[(names.index(view.sort) + 1) % len(names)]), None
        case "/":
            return replace(view, mode="filter"), None
        case "escape":
            return replace(view, needle=""), None
        case " " | "p":
            return replace(view, paused=not view.paused), None
        case "+":
            return replace(view, interval=min(view.interval * 2, LONGEST_SECONDS)), None
        case "-":
            return replace(view, interval=max(view.interval / 2, SHORTEST_SECONDS)), None
        case "enter" | "c" | "k":
            return _about(view, key, rows), None
    return view, None


def _about(view: View, key: str, rows: Sequence[Running]) -> View:
    target = selected(view, rows)
    if target is None:
        return replace(view, message="no session is selected")
    view = replace(view, selected=target.pid)
    if key == "enter":
        return replace(view, mode="query")
    return replace(view, mode="confirm", verb="cancel" if key == "c" else "terminate")


PAGE = 10


def _moved(view: View, key: str, rows: Sequence[Running]) -> View:
    if not rows:
        return view
    now = next((i for i, s in enumerate(rows) if s.pid == view.selected), 0)
    step = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE}
    ends = {"home": 0, "end": len(rows) - 1}
    place = ends.get(key, now + step.get(key, 0))
    return replace(view, selected=rows[min(max(place, 0), len(rows) - 1)].pid)


def selected(view: View, rows: Sequence[Running]) -> Running | None:
    """Whom keys are about: the one selected; in the list the first one where that has gone."""
    found = next((s for s in rows if s.pid == view.selected), None)
    if found is not None or view.mode != "list":
        return found
    return rows[0] if rows else None
