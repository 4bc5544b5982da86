"""Time that others take: clients, connections, standbys -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from filban.finding import Finding, Fix, Quantity, Severity
from filban.profile.bottlenecks.interval import Interval
from filban.profile.bottlenecks.words import (
    Held,
    events,
    found,
    name_of,
    one_line,
    setting,
    used_by,
)

# Slots that are taken: check_postgres `backends` is critical from here on, as in
# connections.near_limit.
FULL_SHARE = 0.95


def client(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.client: one finding, on round trips in transactions or on slow transfers."""
    load = interval.load
    trips = load.of("round_trip") >= load.of("client")
    statement = load.top("round_trip") if trips else load.top("client")
    transactions = max(interval.database.transactions, 1.0)
    yield found(
        held,
        name_of(statement),
        f"{held.part.sessions:.1f} sessions wait for their client at a time"
        + (", in the middle of a transaction" if trips else ""),
        (
            "The client comes back for statement after statement while its transaction keeps a "
            "connection and its locks; the server itself has nothing to do."
            if trips
            else "It sends or takes rows slower than the server could."
        )
        + (f" Most of it at: {one_line(statement.query)}" if statement else ""),
        Fix(
            advice="Ask for many rows at once (= ANY($1), a JOIN, executemany, a pipeline) instead "
            "of one by one; open the transaction after other work (HTTP calls, templates), not "
            "before; bring client and server nearer."
            if trips
            else "Look at the client's processor and at the network; take rows in batches with a "
            "cursor, and send COPY in larger pieces."
        ),
        {
            "between_statements": Quantity(round(load.of("round_trip"), 2), "count"),
            "sending_or_taking": Quantity(round(load.of("client"), 2), "count"),
            "active_time": Quantity(round(interval.database.active_ms / transactions, 3), "ms"),
            "transactions": Quantity(round(transactions / interval.seconds, 1), "per_second"),
            **used_by(interval, statement),
        },
    )


def full(interval: Interval) -> bool:
    """Whether the connection slots are taken."""
    taken = interval.connections
    return interval.connect_seconds is None or taken.used >= FULL_SHARE * taken.allowed


def connections(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.connections: slots that are all taken, or one connection a statement."""
    taken = interval.connections
    if full(interval):
        yield found(
            held,
            "max_connections",
            f"{taken.words} connections are taken, {taken.idle:,} of them by clients that do "
            "nothing",
            'Further clients are refused with "too many clients", or wait in their pools.',
            Fix(
                advice="Give each service's pool a maximum, so that all together stay below the "
                "limit (filban pool advise adds them up), or put PgBouncer in front. Raising "
                "max_connections takes a restart and makes nothing faster."
            ),
            {
                "used": Quantity(taken.used, "count"),
                "idle": Quantity(taken.idle, "count"),
                "allowed": Quantity(taken.allowed, "count"),
            },
            severity=Severity.critical,
        )
        return
    rate = interval.database.sessions / interval.seconds
    yield found(
        held,
        "server",
        f"{rate:,.0f} connections are opened a second, "
        f"{interval.database.transactions / max(interval.database.sessions, 1.0):.1f} transactions "
        "each",
        "Opening one starts a process, authenticates and fills its caches: more work than a small "
        "statement.",
        Fix(
            advice="Keep connections: a pool in each service (filban.create_pool), or PgBouncer "
            "in front of programs that end with each request."
        ),
        {
            "opened": Quantity(round(rate, 1), "per_second"),
            "connect_time": Quantity(round(1000 * (interval.connect_seconds or 0.0), 1), "ms"),
            "transactions": Quantity(
                round(interval.database.transactions / interval.seconds, 1), "per_second"
            ),
        },
    )


def replay_conflict(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.replay_conflict: one finding."""
    causes = interval.conflicts
    yield found(
        held,
        "standby",
        f"Replay waits for this standby's readers {100 * interval.load.replay:.0f} % of the time",
        "The primary has removed rows, or locked a table, that statements here still look at: "
        "replay waits up to max_standby_streaming_delay, and then cancels them.",
        setting(
            interval,
            "hot_standby_feedback",
            "on",
            "On the standby. The primary then keeps dead rows for as long as statements here run: "
            "long ones bloat it. For locks (DDL, VACUUM's truncation) only shorter statements "
            "help, or a standby of their own.",
        ),
        {
            "cancelled_statements": Quantity(round(interval.database.conflicts), "count"),
            "on_snapshot": Quantity(round(causes.on_snapshot), "count"),
            "on_lock": Quantity(round(causes.on_lock), "count"),
            "on_buffer_pin": Quantity(round(causes.on_buffer_pin), "count"),
        },
    )


def sync_replication(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.sync_replication: one finding."""
    standbys = [s for s in interval.senders if s.sync_state in ("sync", "quorum", "potential")]
    behind = max((s.replay_behind_bytes or 0.0 for s in standbys), default=None)
    yield found(
        held,
        ", ".join(s.name for s in standbys) or "synchronous_standby_names",
        f"{held.part.sessions:.1f} sessions wait for a synchronous standby at a time",
        "A commit returns when the standby has confirmed it; "
        + ("it is connected, and slow." if standbys else "no such standby is connected."),
        Fix(
            advice="Look at the standby (filban check there: replay paused, conflicts, disk) and "
            "at the network between. A second one with ANY 1 (a, b) lets the faster one answer; "
            "SET LOCAL synchronous_commit = local for what may be lost with the primary.",
            caution="Without the standby's word a failover can lose what clients were told is "
            "committed.",
        ),
        {
            "synchronous_standby_names": Quantity(interval.limits.synchronous_standbys),
            "connected": Quantity(len(standbys), "count"),
            **({} if behind is None else {"replay_behind": Quantity(round(behind), "bytes")}),
            **events(interval, "IPC"),
        },
    )
