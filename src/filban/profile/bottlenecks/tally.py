"""Samples, one after another -> Load. What is kept does not grow with the time that is watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

from filban.pg.locks import LockWait
from filban.profile.bottlenecks.load import (
    CLIENTS,
    Blocker,
    Clock,
    Load,
    StatementLoad,
    class_of,
    forgotten,
)
from filban.profile.waits import Sample, Seen

Key = TypeVar("Key")
# Texts that are told apart where there is no query id; the others count as one.
MOST_TEXTS = 5_000
OTHERS = "(other statements)"


def summarise(samples: Iterable[Sample]) -> Load:
    """What a series of samples says about the interval."""
    tally = Tally()
    for sample in samples:
        tally.add(sample)
    return tally.result()


class Tally:
    """Counts samples. `add` each, then take the `result`."""

    def __init__(self) -> None:
        self._samples = 0
        self._classes: Counter[Clock] = Counter()
        self._events: Counter[tuple[str, str]] = Counter()
        self._behind_idle: Counter[Clock] = Counter()
        self._rest: Counter[str] = Counter()
        self._statements, self._front, self._middle = _Statements(), _Queues(), _Queues()

    def add(self, sample: Sample) -> None:
        self._samples += 1
        sessions = {seen.pid: seen for seen in sample.sessions}
        waits = {wait.pid: wait for wait in sample.waits}
        for seen in sample.sessions:
            if not at_work(seen):
                self._rest[_otherwise(seen)] += 1
            elif (kind := class_of(seen)) is not None:
                self._classes[kind] += 1
                self._events[seen.wait_event_type or "CPU", seen.wait_event or ""] += 1
                self._statements.add(seen, kind)
                if seen.pid in waits and seen.wait_event_type == "Lock":
                    self._queue(seen.pid, kind, sessions, waits)

    def _queue(
        self, pid: int, kind: Clock, sessions: Mapping[int, Seen], waits: Mapping[int, LockWait]
    ) -> None:
        root = sessions.get(_root(pid, waits) or 0)
        self._front.add(root, waits)
        self._behind_idle[kind] += root is not None and forgotten(root)
        for ahead in waits[pid].blocked_by:
            if ahead in waits and waits[ahead].blocked_by:
                self._middle.add(sessions.get(ahead), waits)

    def result(self) -> Load:
        n = max(self._samples, 1)
        return Load(
            samples=self._samples,
            classes=_means(self._classes, n),
            events=_means(self._events, n),
            statements=self._statements.result(n),
            blockers=self._front.result(n),
            queuers=self._middle.result(n),
            behind_idle=_means(+self._behind_idle, n),
            forgotten=self._rest["forgotten"] / n,
            workers=self._rest["autovacuum"] / n,
            replay=self._rest["replay"] / n,
        )


def at_work(seen: Seen) -> bool:
    """Whether it is a client's session, or a worker of its statement, that is held by something."""
    return seen.backend_type in CLIENTS and not seen.hidden and not forgotten(seen)


def _otherwise(seen: Seen) -> str:
    if seen.backend_type in CLIENTS:
        return "hidden" if seen.hidden else "forgotten"
    if seen.backend_type == "autovacuum worker":
        return "autovacuum"
    # BufferPin is how replay waits for a pin before 17
    conflict = (seen.wait_event or "").startswith("RecoveryConflict")
    conflict = conflict or seen.wait_event_type in ("Lock", "BufferPin")
    return "replay" if seen.backend_type == "startup" and conflict else "background"


def _root(pid: int, waits: Mapping[int, LockWait]) -> int | None:
    """Whoever blocks and does not wait itself; None where they wait in a circle (a deadlock that
    the server has not looked at yet) or for a prepared transaction, which has no session."""
    passed: set[int] = set()
    while pid in waits and waits[pid].blocked_by:
        if pid in passed:
            return None
        passed.add(pid)
        ahead = waits[pid].blocked_by
        pid = next((p for p in ahead if p not in waits or not waits[p].blocked_by), ahead[0])
    return None if pid in waits and waits[pid].prepared_gids else pid


class _Statements:
    """Before parse analysis there is no id yet; without compute_query_id there never is one."""

    def __init__(self) -> None:
        self._known: dict[int, Counter[Clock]] = {}
        self._texts: dict[int, str] = {}
        self._unknown: dict[str, Counter[Clock]] = {}
        self._ids: dict[str, int] = {}

    def add(self, seen: Seen, kind: Clock) -> None:
        text = seen.query or ""
        if seen.query_id is None:
            full = len(self._unknown) >= MOST_TEXTS and text not in self._unknown
            self._unknown.setdefault(OTHERS if full else text, Counter())[kind] += 1
            return
        if len(self._ids) < MOST_TEXTS:
            self._ids[text] = seen.query_id
        self._texts.setdefault(seen.query_id, text)
        self._known.setdefault(seen.query_id, Counter())[kind] += 1

    def result(self, n: int) -> tuple[StatementLoad, ...]:
        known = {query_id: Counter(counts) for query_id, counts in self._known.items()}
        loads = []
        for text, counts in self._unknown.items():
            if text in self._ids:
                known[self._ids[text]].update(counts)
            else:
                loads.append(StatementLoad(None, text, _means(counts, n)))
        loads += [StatementLoad(i, self._texts[i], _means(c, n)) for i, c in known.items()]
        return tuple(sorted(loads, key=lambda s: -s.total))


class _Queues:
    def __init__(self) -> None:
        self._seen: dict[int, tuple[Seen, str]] = {}
        self._waiting: Counter[int] = Counter()

    def add(self, seen: Seen | None, waits: Mapping[int, LockWait]) -> None:
        """One session waits for `seen`."""
        if seen is None:
            return
        self._waiting[seen.pid] += 1
        known = self._seen.get(seen.pid)
        if known is None or (seen.state_seconds or 0.0) >= (known[0].state_seconds or 0.0):
            ending = waits[seen.pid].end_sql if seen.pid in waits else None
            self._seen[seen.pid] = (seen, ending or "")

    def result(self, n: int) -> tuple[Blocker, ...]:
        return tuple(
            Blocker(pid, seen.state, seen.query or "", waiting / n, seen.state_seconds or 0.0, end)
            for pid, waiting in self._waiting.most_common()
            for seen, end in (self._seen[pid],)
        )


def _means(counts: Mapping[Key, int], n: int) -> dict[Key, float]:
    return {key: count / n for key, count in counts.items()}
