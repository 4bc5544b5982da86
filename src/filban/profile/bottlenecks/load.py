"""Samples of sessions -> where session time went, in average sessions. Pure.

The unit is that of Oracle's ADDM and of AWS Performance Insights: the mean number of sessions that
are in a class at the same time (session time divided by elapsed time). An impact is the share of
all session time, which is what solving it completely would save at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from filban.profile.bottlenecks.rows import Seen

# An open transaction whose client is silent for this long is forgotten rather than on a round trip:
# the server itself looks into a wait after deadlock_timeout, 1 s by default.
ROUND_TRIP_SECONDS = 1.0

_LOCKS = {
    "transactionid": "lock_row",
    "tuple": "lock_row",
    "spectoken": "lock_row",
    "relation": "lock_relation",
    "virtualxid": "lock_relation",
    "advisory": "lock_advisory",
    "extend": "lock_extend",
}
# A leader that waits for its workers: these are seen themselves.
_PARALLEL = (
    "Parallel", "ExecuteGather", "Hash", "MessageQueue", "BgWorker", "BtreePage", "Append",
)  # fmt: skip

Key = TypeVar("Key")
Clock = str
"""A class of session time, see `class_of`."""


def class_of(seen: Seen) -> Clock | None:
    """cpu, io, temp_io, wal, lock_*, lwlock, sync_replication, client, round_trip, other; None for
    what holds nobody back (an idle session, a leader whose workers are seen themselves)."""
    if (seen.state or "").startswith("idle"):
        brief = (seen.state_seconds or 0.0) < ROUND_TRIP_SECONDS
        return "round_trip" if brief and seen.state != "idle" else None
    event = seen.wait_event or ""
    match seen.wait_event_type:
        case None:
            return "cpu"
        case "IO":
            if event.startswith("BufFile"):
                return "temp_io"
            return "wal" if event.upper().startswith("WAL") else "io"
        case "LWLock":
            return "wal" if event.startswith("WAL") else "lwlock"
        case "BufferPin":
            return "lwlock"
        case "Lock":
            return _LOCKS.get(event, "lock_other")
        case "Client":
            return "client"
        case "IPC":
            return _ipc(event)
        case "Timeout":
            return {"SpinDelay": "lwlock", "VacuumDelay": None, "PgSleep": None}.get(event, "other")
        case "Activity":
            return None
        case _:
            return "other"


def _ipc(event: str) -> Clock | None:
    if event == "SyncRep":
        return "sync_replication"
    if event == "BufferIO":
        return "io"
    return None if event.startswith(_PARALLEL) else "other"


@dataclass(frozen=True, slots=True)
class StatementLoad:
    """One statement's part. sessions: average sessions by class."""

    query_id: int | None
    query: str
    sessions: Mapping[Clock, float]

    @property
    def total(self) -> float:
        return sum(self.sessions.values())


@dataclass(frozen=True, slots=True)
class Blocker:
    """The first session of a queue for a lock, and how many sessions waited behind it on average.

    state_seconds: the longest time that it was seen in `state`.
    """

    pid: int
    state: str | None
    query: str
    waiting: float
    state_seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """Average sessions of client backends and their parallel workers over an interval.

    events: (type, event) -> average sessions; ("CPU", "") is on or waiting for a CPU.
    blockers: who is in front of lock queues; queuers: who waits in one and blocks others itself.
    behind_idle: of the lock classes, what waited behind a session that idles in its transaction.
    forgotten: sessions idle in transaction for longer than a round trip, on average.
    workers: autovacuum workers at work; replay: waits of a standby's replay for its readers.
    """

    samples: int
    classes: Mapping[Clock, float]
    events: Mapping[tuple[str, str], float]
    statements: tuple[StatementLoad, ...]
    blockers: tuple[Blocker, ...]
    queuers: tuple[Blocker, ...]
    behind_idle: Mapping[Clock, float]
    forgotten: float
    workers: float
    replay: float

    @property
    def total(self) -> float:
        """Average sessions in all classes."""
        return sum(self.classes.values())

    def of(self, *classes: Clock) -> float:
        return sum(self.classes.get(c, 0.0) for c in classes)

    def top(self, *classes: Clock) -> StatementLoad | None:
        """The statement with the most session time in these classes."""
        best = max(self.statements, key=lambda s: _in(s, classes), default=None)
        return best if best is not None and _in(best, classes) > 0 else None

    def events_of(self, *types: str, count: int = 3) -> list[tuple[str, float]]:
        """The most frequent events of some wait event types, as "Type:Event"."""
        found = [(f"{t}:{e}", n) for (t, e), n in self.events.items() if t in types]
        return sorted(found, key=lambda pair: -pair[1])[:count]


def _in(statement: StatementLoad, classes: Sequence[Clock]) -> float:
    return sum(statement.sessions.get(c, 0.0) for c in classes)


def summarise(samples: Sequence[Sequence[Seen]]) -> Load:
    """What a series of samples, each of all sessions at one moment, says about the interval."""
    classes: Counter[Clock] = Counter()
    events: Counter[tuple[str, str]] = Counter()
    behind_idle: Counter[Clock] = Counter()
    statements = _Statements()
    front, middle = _Queues(), _Queues()
    rest: Counter[str] = Counter()
    for sample in samples:
        by_pid = {seen.pid: seen for seen in sample}
        for seen in sample:
            if seen.backend_type not in ("client backend", "parallel worker"):
                rest[_background(seen)] += 1
                continue
            kind = class_of(seen)
            if kind is None:
                rest["forgotten"] += (seen.state or "").startswith("idle in transaction")
                continue
            classes[kind] += 1
            events[seen.wait_event_type or "CPU", seen.wait_event or ""] += 1
            statements.add(seen, kind)
            if seen.blocked_by:
                root = _root(seen, by_pid)
                front.add(root)
                for pid in seen.blocked_by:
                    ahead = by_pid.get(pid)
                    middle.add(ahead if ahead is not None and ahead.blocked_by else None)
                if root is not None and _forgotten(root):
                    behind_idle[kind] += 1
    n = max(len(samples), 1)
    return Load(
        samples=len(samples),
        classes=_means(classes, n),
        events=_means(events, n),
        statements=statements.result(n),
        blockers=front.result(n),
        queuers=middle.result(n),
        behind_idle=_means(behind_idle, n),
        forgotten=rest["forgotten"] / n,
        workers=rest["autovacuum"] / n,
        replay=rest["replay"] / n,
    )


def _background(seen: Seen) -> str:
    if seen.backend_type == "autovacuum worker":
        return "autovacuum"
    # BufferPin is how replay waits for a pin before 17
    conflict = (seen.wait_event or "").startswith("RecoveryConflict")
    return "replay" if conflict or seen.wait_event_type in ("Lock", "BufferPin") else "startup"


def _forgotten(seen: Seen) -> bool:
    idle = (seen.state or "").startswith("idle in transaction")
    return idle and (seen.state_seconds or 0.0) >= ROUND_TRIP_SECONDS


def _root(seen: Seen, by_pid: Mapping[int, Seen]) -> Seen | None:
    """Whoever blocks and does not wait itself; None when it is not among the sessions seen, or
    when they wait in a circle (a deadlock that the server has not looked at yet)."""
    passed: set[int] = set()
    while seen.blocked_by:
        if seen.pid in passed:
            return None
        passed.add(seen.pid)
        ahead = [by_pid[pid] for pid in seen.blocked_by if pid in by_pid]
        if not ahead:
            return None
        seen = next((s for s in ahead if not s.blocked_by), ahead[0])
    return seen


class _Statements:
    def __init__(self) -> None:
        self._sessions: dict[tuple[int | None, str], Counter[Clock]] = {}
        self._ids: dict[str, int] = {}
        self._texts: dict[int, str] = {}

    def add(self, seen: Seen, kind: Clock) -> None:
        text = seen.query or ""
        if seen.query_id is not None:
            self._ids[text] = seen.query_id
            self._texts.setdefault(seen.query_id, text)
        self._sessions.setdefault((seen.query_id, text), Counter())[kind] += 1

    def result(self, n: int) -> tuple[StatementLoad, ...]:
        # before parse analysis there is no id yet; without compute_query_id there never is one
        sums: dict[tuple[int | None, str], Counter[Clock]] = {}
        for (query_id, text), counts in self._sessions.items():
            known = self._ids.get(text) if query_id is None else query_id
            key = (known, text if known is None else self._texts[known])
            sums.setdefault(key, Counter()).update(counts)
        loads = [StatementLoad(*key, _means(counts, n)) for key, counts in sums.items()]
        return tuple(sorted(loads, key=lambda s: -s.total))


class _Queues:
    def __init__(self) -> None:
        self._roots: dict[int, Seen] = {}
        self._waiting: Counter[int] = Counter()

    def add(self, root: Seen | None) -> None:
        if root is None:
            return
        self._waiting[root.pid] += 1
        known = self._roots.get(root.pid)
        if known is None or (root.state_seconds or 0.0) >= (known.state_seconds or 0.0):
            self._roots[root.pid] = root

    def result(self, n: int) -> tuple[Blocker, ...]:
        return tuple(
            Blocker(pid, seen.state, seen.query or "", waiting / n, seen.state_seconds or 0.0)
            for pid, waiting in self._waiting.most_common()
            for seen in (self._roots[pid],)
        )


def _means(counts: Mapping[Key, int], n: int) -> dict[Key, float]:
    return {key: count / n for key, count in counts.items()}


def margin(share: float, samples: int) -> float:
    """Half of the 95 % interval of a share (0..1) of so many samples, by the normal law."""
    return 1.96 * (share * (1 - share) / samples) ** 0.5 if samples else 1.0
