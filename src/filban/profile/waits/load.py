"""Samples -> where the time of sessions went. Pure.

The unit is the mean number of sessions in a state at the same time ("average active sessions" of
Oracle and Performance Insights): session time divided by elapsed time, whatever the interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from filban.pg.locks import by_node, drawn, forest
from filban.profile.waits.rows import Blocking, Load, Sample, Seen, Share, Slice

CPU = "CPU"
SLICES = 60
MOST_VALUES = 20
CLIENTS = frozenset({"client backend", "parallel worker"})
_TEXT = 200  # characters of a statement that name it


def wait_class(seen: Seen) -> str | None:
    """PostgreSQL's own wait event types, and CPU for what runs without waiting. None for what is
    not at work: idle sessions (also in a transaction), and hidden ones."""
    if seen.hidden or (seen.state or "").startswith("idle"):
        return None
    return seen.wait_event_type or CPU


def wait_event(seen: Seen) -> str:
    if seen.wait_event_type is None:
        return CPU
    return f"{seen.wait_event_type}:{seen.wait_event or '?'}"


_OF: dict[str, Callable[[Seen], str]] = {
    "class": lambda s: wait_class(s) or "",
    "event": wait_event,
    "query": lambda s: " ".join((s.query or "").split())[:_TEXT] or "(no statement)",
    "query_id": lambda s: str(s.query_id) if s.query_id is not None else "(no id)",
    "role": lambda s: s.role or "(none)",
    "application": lambda s: s.application or "(none)",
    "database": lambda s: s.database or "(none)",
    "client": lambda s: s.client or "(none)",
}


def at_work(seen: Seen) -> bool:
    """A client's session, or a worker of its statement, that runs or waits."""
    return seen.backend_type in CLIENTS and wait_class(seen) is not None


def summarise(samples: Sequence[Sample], *, slices: int = SLICES) -> Load:
    """What the samples say. Raises ValueError without any."""
    n = len(samples)
    counts = {name: Counter[str]() for name in (*_OF, "background")}
    rest: Counter[str] = Counter()
    for one in samples:
        for seen in one.sessions:
            rest["hidden"] += seen.hidden
            rest["idle"] += (seen.state or "").startswith("idle in transaction")
            if at_work(seen):
                for name, value_of in _OF.items():
                    counts[name][value_of(seen)] += 1
            elif not seen.hidden and seen.backend_type not in CLIENTS:
                counts["background"][f"{seen.backend_type} · {wait_event(seen)}"] += 1
    return Load(
        since=samples[0].at,
        until=samples[-1].at,
        samples=n,
        sessions=counts["class"].total() / n,
        by={name: _shares(found, n) for name, found in counts.items()},
        idle_in_transaction=rest["idle"] / n,
        hidden=rest["hidden"] / n,
        slices=_slices(samples, slices),
        worst=_worst(samples),
    )


def blocking(one: Sample) -> Blocking | None:
    """The lock trees of a moment; None when nobody waits for a lock."""
    if not one.waits:
        return None
    sessions = by_node(one.waits)
    trees = sorted(forest(sessions), key=lambda t: -len(t.waiters()))
    waiting = sum(w.waited_seconds is not None for w in one.waits)
    return Blocking(one.at, waiting, tuple(drawn(t, sessions) for t in trees if t.waiters()))


def nearest(samples: Iterable[Sample], at: datetime) -> Sample | None:
    """The sample whose time is nearest."""
    return min(samples, key=lambda s: abs(s.at - at), default=None)


def _shares(found: Counter[str], n: int) -> tuple[Share, ...]:
    total = found.total()
    return tuple(
        Share(name, count / n, count / total) for name, count in found.most_common(MOST_VALUES)
    )


def _worst(samples: Sequence[Sample]) -> Blocking | None:
    waited = [(sum(w.waited_seconds is not None for w in s.waits), s) for s in samples if s.waits]
    return blocking(max(waited, key=lambda pair: pair[0])[1]) if waited else None


def _slices(samples: Sequence[Sample], most: int) -> tuple[Slice, ...]:
    """The interval in at most so many parts of equal length."""
    since, until = samples[0].at, samples[-1].at
    parts = max(1, min(most, len(samples)))
    length = (until - since) / parts
    groups: dict[int, list[Sample]] = {}
    for one in samples:
        number = int((one.at - since) / length) if length else 0
        groups.setdefault(min(number, parts - 1), []).append(one)
    return tuple(
        Slice(since + number * length, _classes(group)) for number, group in sorted(groups.items())
    )


def _classes(group: Sequence[Sample]) -> dict[str, float]:
    found = Counter(
        wait_class(seen) or "" for one in group for seen in one.sessions if at_work(seen)
    )
    return {name: count / len(group) for name, count in found.most_common()}
