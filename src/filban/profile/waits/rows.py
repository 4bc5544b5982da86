"""What the sampler returns, and what many samples say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from filban.pg.locks import LockWait


@dataclass(frozen=True, slots=True)
class Seen:
    """One session or server process at one moment.

    wait_event_type None while it is active: it is on a CPU, or waits for one. hidden: another
    role's session, whose state, wait and query this role may not see.
    """

    pid: int
    leader_pid: int | None
    backend_type: str | None
    database: str | None
    role: str | None
    application: str | None
    client: str | None
    state: str | None
    wait_event_type: str | None
    wait_event: str | None
    query_id: int | None
    query: str | None
    transaction_seconds: float | None
    query_seconds: float | None
    state_seconds: float | None
    hidden: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """Everybody at work at one moment. waits: the lock queues; empty when nobody is in one."""

    at: datetime
    sessions: tuple[Seen, ...]
    waits: tuple[LockWait, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """Of one value of a dimension: average sessions, and their part (0..1) of all of them."""

    name: str
    sessions: float
    share: float


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the interval, from `at` on: average sessions by wait class."""

    at: datetime
    classes: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Blocking:
    """The lock trees of a moment as text, the largest first. waiting: how many sessions wait."""

    at: datetime
    waiting: int
    trees: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Average sessions over an interval, see load.py.

    by: dimension ("class", "event", "query", …) -> its values, the largest first. worst: the
    moment with the most waiters for locks.
    """

    since: datetime
    until: datetime
    samples: int
    sessions: float
    by: Mapping[str, tuple[Share, ...]]
    idle_in_transaction: float
    hidden: float
    slices: tuple[Slice, ...]
    worst: Blocking | None


QUERIES: Mapping[str, type] = {"sessions": Seen}
