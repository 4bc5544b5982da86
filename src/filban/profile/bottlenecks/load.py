"""Samples of sessions -> where session time went, in average sessions. Pure.

The unit is that of Oracle's ADDM and of AWS Performance Insights: the mean number of sessions that
are in a class at the same time (session time divided by elapsed time). An impact is the share of
all session time, which is what solving it completely would save at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from filban.profile.waits import Seen

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

CLIENTS = frozenset({"client backend", "parallel worker"})
Clock = str
"""A class of session time, see `class_of`."""


def class_of(seen: Seen) -> Clock | None:
    """cpu, io, temp_io, wal, lock_*, lwlock, sync_replication, client, round_trip, other; None for
    what holds nobody back (an idle session, a leader whose workers are seen themselves)."""
    if (seen.state or "").startswith("idle in transaction"):
        return None if forgotten(seen) else "round_trip"
    if seen.state == "idle":
        return None
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
    """A session that others wait for, and how many did so on average.

    state_seconds: the longest time that it was seen in `state`; end_sql: what ends it.
    """

    pid: int
    state: str | None
    query: str
    waiting: float
    state_seconds: float
    end_sql: str


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


def margin(share: float, samples: int) -> float:
    """Half of the 95 % interval of a share (0..1) of so many samples, by the normal law."""
    return 1.96 * (share * (1 - share) / samples) ** 0.5 if samples else 1.0


def forgotten(seen: Seen) -> bool:
    """Whether its client has left a transaction open for longer than a round trip takes."""
    idle = (seen.state or "").startswith("idle in transaction")
    return idle and (seen.state_seconds or 0.0) >= ROUND_TRIP_SECONDS
