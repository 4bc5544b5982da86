"""Lock waits (log_lock_waits) as trees, and deadlocks as graphs."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from filban.profile.logs.rows import Deadlock, DeadlockEdge, LockObject, Locks, LockTree, Waiter

STARTS = ("process ",)

_WAITS = re.compile(
    r"process (?P<pid>\d+) (?P<what>still waiting for|acquired|avoided deadlock for|"
    r"detected deadlock while waiting for|failed to acquire) "
    r"(?P<mode>\w+) on (?P<object>.+?) (?:after|by rearranging queue order after) (?P<ms>[\d.]+) ms"
)
_HOLDERS = re.compile(
    r"Process(?:es)? holding the lock: (?P<holders>[\d, ]+)\. Wait queue: (?P<queue>[\d, ]*)\."
)
_EDGE = re.compile(r"Process (\d+) waits for (.+?); blocked by process (\d+)\.")
_STATEMENT = re.compile(r"^Process (\d+): (.*?)(?=^Process \d+: |\Z)", re.MULTILINE | re.DOTALL)

TREES = 50  # the longest ones are kept
GRAPHS = 50  # the first deadlocks are kept, all are counted
OBJECTS = 1_000
OPEN = 5_000  # waits whose end has not been seen; the oldest is given up
# Waits that were heard of within this time of each other stand in one tree: what the server needs
# to write about them at each deadlock_timeout (1 s by default), with room for a slow disk.
_TOGETHER = timedelta(seconds=5)
STATEMENT_CHARACTERS = 500


_LONG_AGO = datetime(1970, 1, 1)  # noqa: DTZ001  # where the log has no time


@dataclass(slots=True)
class _Wait:
    pid: int
    time: datetime | None
    database: str | None
    mode: str
    object: str
    ms: float
    holders: tuple[int, ...]
    statement: str | None
    got: bool | None = None


@dataclass(slots=True)
class _Sum:
    waits: int = 0
    total_ms: float = 0.0
    max_ms: float = 0.0


@dataclass(slots=True)
class LockWaits:
    """Takes single events. A wait is told of when it begins to be long and once more when it ends:
    both are one wait."""

    _open: dict[int, _Wait] = field(default_factory=dict)
    _done: list[_Wait] = field(default_factory=list)
    _sums: dict[tuple[str, str], _Sum] = field(default_factory=dict)
    _graphs: list[Deadlock] = field(default_factory=list)
    _deadlocks: int = 0

    def wait(self, event: dict[str, Any]) -> bool:
        """One LOG line that begins with "process"; False when it says something else."""
        match = _WAITS.match(event["message"])
        if match is None:
            return False
        pid, ms = int(match["pid"]), float(match["ms"])
        known = self._open.get(pid)
        if known is None or (known.object, known.mode) != (match["object"], match["mode"]):
            known = self._begin(pid, event, match)
        known.ms = max(known.ms, ms)
        holders = _HOLDERS.search(event["detail"] or "")
        if holders and not known.holders:
            known.holders = tuple(int(n) for n in re.findall(r"\d+", holders["holders"]))
        if match["what"] == "still waiting for" or match["what"].startswith("avoided"):
            return True
        known.got = match["what"] == "acquired"
        self._end(pid)
        return True

    def deadlock(self, event: dict[str, Any]) -> None:
        """One ERROR "deadlock detected"."""
        self._deadlocks += 1
        if len(self._graphs) >= GRAPHS:
            return
        detail = event["detail"] or ""
        texts = {int(pid): text.strip() for pid, text in _STATEMENT.findall(detail)}
        edges = tuple(
            DeadlockEdge(int(pid), lock, int(by), _cut(texts.get(int(pid))))
            for pid, lock, by in _EDGE.findall(detail)
        )
        self._graphs.append(
            Deadlock(event["time"], event["db"], event["pid"], event["context"], edges)
        )

    def result(self) -> Locks:
        """So far; a wait whose end is not in the log yet counts with what is known of it."""
        closed = LockWaits(
            dict(self._open), list(self._done), copy.deepcopy(self._sums), self._graphs,
            self._deadlocks,
        )  # fmt: skip
        for pid in list(closed._open):  # our own
            closed._end(pid)
        return closed._result()

    def _result(self) -> Locks:
        objects = [
            LockObject(name, mode, s.waits, round(s.total_ms, 3), s.max_ms)
            for (name, mode), s in self._sums.items()
        ]
        return Locks(
            waits=sum(s.waits for s in self._sums.values()),
            total_ms=round(sum(s.total_ms for s in self._sums.values()), 3),
            objects=tuple(sorted(objects, key=lambda o: (-o.total_ms, o.object))),
            trees=tuple(_trees(self._done)[:TREES]),
            deadlocks=self._deadlocks,
            deadlock_graphs=tuple(self._graphs),
        )

    def _begin(self, pid: int, event: dict[str, Any], match: re.Match[str]) -> _Wait:
        if pid in self._open or len(self._open) >= OPEN:
            self._end(pid if pid in self._open else next(iter(self._open)))
        wait = self._open[pid] = _Wait(
            pid, event["time"], event["db"], match["mode"], match["object"], 0.0, (),
            _cut(event["statement"]),
        )  # fmt: skip
        return wait

    def _end(self, pid: int) -> None:
        wait = self._open.pop(pid)
        key = (_object(wait.object), wait.mode)
        if key not in self._sums and len(self._sums) >= OBJECTS:
            key = ("other objects", wait.mode)
        total = self._sums.setdefault(key, _Sum())
        total.waits += 1
        total.total_ms += wait.ms
        total.max_ms = max(total.max_ms, wait.ms)
        self._done.append(wait)
        if len(self._done) > 40 * TREES:
            self._done = _longest_groups(self._done)


def _cut(text: str | None) -> str | None:
    return text[:STATEMENT_CHARACTERS] if text else None


def _object(text: str) -> str:
    """Without what is different each time: transaction numbers and tuple positions."""
    if text.startswith(("transaction", "virtual transaction")):
        return "transaction"
    return re.sub(r"^tuple \([\d,]+\) of", "tuple of", text)


def _groups(waits: list[_Wait]) -> list[list[_Wait]]:
    """Waits that overlap in time, more or less."""
    ordered = sorted(waits, key=lambda w: w.time or _LONG_AGO)
    groups: list[list[_Wait]] = []
    until = _LONG_AGO
    for wait in ordered:
        begin = wait.time or _LONG_AGO
        end = begin + timedelta(milliseconds=min(wait.ms, 1e11)) if wait.time else begin
        if not groups or begin > until + (_TOGETHER if wait.time else timedelta()):
            groups.append([])
            until = end
        groups[-1].append(wait)
        until = max(until, end)
    return groups


def _longest_groups(waits: list[_Wait]) -> list[_Wait]:
    kept = sorted(waits, key=lambda w: -w.ms)[: 20 * TREES]
    return sorted(kept, key=lambda w: w.time or _LONG_AGO)


def _trees(waits: list[_Wait]) -> list[LockTree]:
    trees = [tree for group in _groups(waits) for tree in _of_group(group)]
    return sorted(trees, key=lambda t: (-t.longest_ms, t.time or _LONG_AGO))


def _of_group(group: list[_Wait]) -> list[LockTree]:
    """A holder that waits itself hangs below its own holder; who waits for nobody is a root."""
    by_pid: dict[int, _Wait] = {}
    for wait in group:
        if wait.pid not in by_pid or wait.ms > by_pid[wait.pid].ms:
            by_pid[wait.pid] = wait
    # Only who writes while he waits is told the holders; who stands in his queue has the same.
    holders = {wait.object: wait.holders for wait in group if wait.holders}
    children: dict[int, list[_Wait]] = {}
    for wait in by_pid.values():
        # Of several holders the first: a tree shows each waiter once.
        of = wait.holders or holders.get(wait.object, (0,))
        children.setdefault(of[0], []).append(wait)
    roots = [pid for pid in children if pid not in by_pid] or list(children)[:1]
    return [_tree(root, by_pid, children) for root in roots]


def _tree(root: int, by_pid: dict[int, _Wait], children: dict[int, list[_Wait]]) -> LockTree:
    seen: set[int] = set()

    def grow(pid: int, depth: int) -> tuple[Waiter, ...]:
        seen.add(pid)
        below = [w for w in children.get(pid, ()) if w.pid not in seen and depth < 50]
        seen.update(w.pid for w in below)
        return tuple(
            Waiter(
                w.pid, w.ms, f"{w.mode} on {w.object}", w.statement, w.got, grow(w.pid, depth + 1)
            )
            for w in sorted(below, key=lambda w: -w.ms)
        )

    waiters = grow(root, 0)
    waiting = [by_pid[pid] for pid in seen if pid in by_pid]
    own = by_pid.get(root)
    first = min((w.time for w in waiting if w.time), default=None)
    return LockTree(
        time=first,
        database=next((w.database for w in waiting if w.database), None),
        root=Waiter(
            root, own.ms if own else None, None, own.statement if own else None, None, waiters
        ),
        waiting=len(waiting),
        longest_ms=max((w.ms for w in waiting), default=0.0),
    )
