"""Which of the history's spans are shown, and which they are compared with. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from filban.profile.statements.history import Span

DAY = timedelta(days=1)


# More snapshots than any history keeps.
ALL = 10**9


@dataclass(frozen=True, slots=True)
class Window:
    """What to show; all None: since the last snapshot. last: so many snapshots; seconds: between
    two snapshots that are taken now."""

    since: timedelta | None = None
    last: int | None = None
    seconds: float | None = None


def chosen(spans: Sequence[Span], window: Window, now: datetime) -> list[Span]:
    """The spans of the window, at least the last one. A span that only reaches into it counts when
    its middle is inside; one from zero only when the counters began inside."""
    if window.last is not None:
        return list(spans[-window.last :])
    if window.since is None:
        return [spans[-1]]
    begin = now - window.since
    inside = [s for s in spans if s.start >= begin or (not s.from_zero and _middle(s) >= begin)]
    return inside or [spans[-1]]


def earlier(spans: Sequence[Span], shown: Sequence[Span]) -> tuple[list[Span], str | None]:
    """What to compare with, and its name: the same hours of the day before; else the day until
    then; else nothing."""
    start, end = shown[0].start, shown[-1].end
    before = [s for s in spans if not s.from_zero and s.end <= start]
    day = [s for s in before if start - DAY <= _middle(s) <= end - DAY]
    if day:
        return day, "the same hours of the day before"
    recent = [s for s in before if s.start >= start - DAY]
    return recent, "the day until then" if recent else None


def basis(shown: Sequence[Span], window: Window) -> str:
    """In words, what the numbers are of."""
    if window.seconds is not None:
        return f"two snapshots, {window.seconds:g} s apart"
    if len(shown) == 1 and shown[0].from_zero:
        return "everything since the server began to count: there is no earlier snapshot"
    if len(shown) == 1:
        return "since the last snapshot"
    return f"the last {len(shown)} snapshots"


def _middle(span: Span) -> datetime:
    return span.start + (span.end - span.start) / 2
