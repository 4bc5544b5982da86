"""What a log report consists of. Times are the log's own clock (log_timezone), without a zone;
durations are milliseconds, sizes bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

Time = datetime | None


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour (or day, see `LogReport.per`) from `start` on."""

    start: Time
    calls: int
    ms: float


@dataclass(frozen=True, slots=True)
class Example:
    """One execution as it was sent. `parameters` as in the log: "$1 = '7', $2 = NULL"."""

    time: Time
    ms: float | None
    text: str
    parameters: str | None
    user: str | None
    database: str | None
    application: str | None
    pid: int | None


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement over the whole log.

    fingerprint: of its parse tree; with a leading x where the text could not be parsed.
    query_id: pg_stat_statements' queryid where the log carries it (csvlog, jsonlog, %Q).
    calls: completed executions. timed_calls: those with a duration in the log.
    total_ms: executions, without the time of separate parse and bind messages (prepare_ms), so that
    it compares with pg_stat_statements.total_exec_time. p50 and p95 are within 5 %.
    routes: of the application, from sqlcommenter comments, the one of most time first.
    hours: by hour, or by day where a log has too many (`LogReport.per`).
    """

    fingerprint: str
    query_id: int | None
    query: str
    calls: int
    timed_calls: int
    total_ms: float
    mean_ms: float | None
    min_ms: float | None
    max_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    prepare_ms: float
    users: tuple[str, ...]
    databases: tuple[str, ...]
    applications: tuple[str, ...]
    routes: tuple[str, ...]
    hours: tuple[Hour, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Statements of one route (or controller, task …) of the application, by the sqlcommenter
    comments in their texts. service: named there, else application_name."""

    route: str
    service: str | None
    statements: int
    calls: int
    total_ms: float


@dataclass(frozen=True, slots=True)
class SlowPlan:
    """The slowest plan of a statement that auto_explain wrote. nested: inside a function."""

    fingerprint: str
    query: str
    plans: int
    ms: float
    time: Time
    database: str | None
    user: str | None
    nested: bool
    text: str
    plan: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Messages of one level, SQLSTATE and wording. `sqlstate` is derived from an English message
    where the log has none (`derived`); None where that is not known either."""

    level: str
    sqlstate: str | None
    derived: bool
    message: str
    count: int
    first: Time
    last: Time
    users: tuple[str, ...]
    databases: tuple[str, ...]
    example: str
    detail: str | None
    statement: str | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Statements ended from outside: `why` is statement_timeout, lock_timeout, user, recovery,
    idle_in_transaction, idle_session, transaction_timeout, admin_shutdown, autovacuum."""

    why: str
    count: int
    statements: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Waiter:
    """One process in a lock tree, with those who wait for it. ms: how long it had waited when it
    was last heard of; got: it got the lock in the end (None: the log does not say)."""

    pid: int
    ms: float | None
    lock: str | None
    statement: str | None
    got: bool | None
    waiters: tuple[Waiter, ...] = ()


@dataclass(frozen=True, slots=True)
class LockTree:
    """Who blocked whom around one moment; the root holds what the others want."""

    time: Time
    database: str | None
    root: Waiter
    waiting: int
    longest_ms: float


@dataclass(frozen=True, slots=True)
class LockObject:
    """Waits by what was waited for: relation, transaction, tuple …, and the mode."""

    object: str
    mode: str
    waits: int
    total_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class DeadlockEdge:
    """`pid` waits for `lock`, which `blocked_by` holds."""

    pid: int
    lock: str
    blocked_by: int
    statement: str | None


@dataclass(frozen=True, slots=True)
class Deadlock:
    """One deadlock. victim: the process that was cancelled."""

    time: Time
    database: str | None
    victim: int | None
    context: str | None
    edges: tuple[DeadlockEdge, ...]


@dataclass(frozen=True, slots=True)
class Locks:
    """waits: distinct waits of log_lock_waits; trees: the longest ones."""

    waits: int
    total_ms: float
    objects: tuple[LockObject, ...]
    trees: tuple[LockTree, ...]
    deadlocks: int
    deadlock_graphs: tuple[Deadlock, ...]


@dataclass(frozen=True, slots=True)
class TempFiles:
    """Temporary files by the statement that made them (fingerprint "" for none logged)."""

    fingerprint: str
    query: str
    files: int
    bytes: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Sums over log_checkpoints; causes counts "time", "wal", "immediate force wait" …"""

    completed: int = 0
    restartpoints: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    buffers: int = 0
    write_s: float = 0.0
    sync_s: float = 0.0
    total_s: float = 0.0
    longest_s: float = 0.0
    wal_added: int = 0
    wal_removed: int = 0
    wal_recycled: int = 0
    distance_bytes: int = 0
    too_frequent: int = 0


@dataclass(frozen=True, slots=True)
class Autovacuum:
    """One table's automatic vacuums and analyzes. removed: tuples; wraparound: vacuums forced to
    prevent it."""

    table: str
    vacuums: int
    analyzes: int
    vacuum_s: float
    analyze_s: float
    removed: int
    not_removable: int
    pages_removed: int
    wraparound: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class Who:
    """Connections and ended sessions of one user, database, application or host."""

    name: str
    connections: int
    sessions: int
    session_s: float


@dataclass(frozen=True, slots=True)
class Sessions:
    """received: connections, before authentication; authorized: of these, let in; lost: clients
    that went away without a word."""

    received: int
    authorized: int
    ended: int
    lost: int
    session_s: float
    by_user: tuple[Who, ...]
    by_database: tuple[Who, ...]
    by_application: tuple[Who, ...]
    by_host: tuple[Who, ...]


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """Start, ready, shutdown, crash, recovery, promotion, reload, out_of_memory, disk_full …"""

    time: Time
    kind: str
    message: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class Source:
    """One input. `unread`: lines or records that could not be read, `samples` the first of them;
    `skipped`: why it was left out or not read to its end ("" when it was read)."""

    name: str
    format: str
    prefix: str | None
    bytes: int
    events: int
    unread: int
    samples: tuple[str, ...]
    skipped: str


@dataclass(frozen=True, slots=True)
class LogReport:
    """What `filban logs` says; its fields are the keys of `--json`.

    levels: events by level. unattributed: durations whose text the log does not have, which are in
    no statement. notes: sentences for people.
    """

    files: tuple[Source, ...]
    first: Time
    last: Time
    events: int
    unread: int
    levels: dict[str, int]
    per: str
    calls: int
    total_ms: float
    unattributed_calls: int
    unattributed_ms: float
    hours: tuple[Hour, ...]
    statements: tuple[Statement, ...]
    routes: tuple[Route, ...]
    plans: tuple[SlowPlan, ...]
    errors: tuple[Failure, ...]
    cancelled: tuple[Cancelled, ...]
    locks: Locks
    temp_files: tuple[TempFiles, ...]
    temp_file_count: int
    temp_file_bytes: int
    checkpoints: Checkpoints
    autovacuum: tuple[Autovacuum, ...]
    sessions: Sessions
    server_events: tuple[ServerEvent, ...]
    notes: tuple[str, ...]
