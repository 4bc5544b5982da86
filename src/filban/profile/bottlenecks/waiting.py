"""Parts of time in waits -> findings. Pure. Locks stand in `locking`."""

from __future__ import annotations

from collections.abc import Iterator

from filban.finding import Finding, Fix, Quantity, Severity
from filban.profile.bottlenecks.interval import Interval
from filban.profile.bottlenecks.parts import forced_checkpoints, page_images_share
from filban.profile.bottlenecks.words import (
    Held,
    events,
    found,
    name_of,
    one_line,
    setting,
    used_by,
)
from filban.units import duration, size

# Slots that are taken: check_postgres `backends` is critical from here on, as in
# connections.near_limit.
FULL_SHARE = 0.95
_MB = 1024**2


def io(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.io: one finding."""
    counted, seconds = interval.database, interval.seconds
    statement = interval.load.top("io")
    read = counted.blocks_read * interval.limits.block_bytes
    table = max(interval.tables, key=lambda t: t.blocks_read, default=None)
    yield found(
        held,
        name_of(statement),
        f"{held.part.sessions:.1f} sessions wait for data files at a time, which give "
        f"{size(read / seconds)} a second",
        "What is read was not among shared_buffers"
        + (f"; most was read of {table.name}" if table and table.blocks_read else "")
        + (f". Most waits has: {one_line(statement.query)}" if statement else "."),
        Fix(
            advice="Read less first: look at this statement's plan (filban explain --analyze) for "
            "an index or fewer columns. Then let memory hold what is read again and again "
            f"(shared_buffers is {size(interval.limits.shared_buffers_bytes)}; a quarter of the "
            "memory is the manual's start), and only then buy faster disks."
        ),
        {
            "blocks_read": Quantity(round(counted.blocks_read / seconds, 1), "per_second"),
            "cache_hits": Quantity(round(_hits(interval), 1), "percent"),
            **events(interval, "IO"),
            **_disk(interval),
            **used_by(interval, statement),
        },
    )


def _hits(interval: Interval) -> float:
    counted = interval.database
    every = counted.blocks_hit + counted.blocks_read
    return 100 * counted.blocks_hit / every if every else 100.0


def _disk(interval: Interval) -> dict[str, Quantity]:
    machine = interval.machine
    if machine is None or machine.io_pressure is None:
        return {}
    return {"some_process_waits_for_disk": Quantity(round(100 * machine.io_pressure, 1), "percent")}


def wal(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.wal: what writes it, and that commits may not need to wait."""
    counted, seconds = interval.wal, interval.seconds
    commits = interval.database.transactions - interval.database.rollbacks
    statement = interval.load.top("wal")
    evidence = {
        "wal": Quantity(round(counted.bytes / seconds), "bytes"),
        "commits": Quantity(round(commits / seconds, 1), "per_second"),
        "wal_syncs": Quantity(round(counted.syncs / seconds, 1), "per_second"),
        "page_images": Quantity(round(100 * page_images_share(interval), 1), "percent"),
        **events(interval, "IO", "LWLock"),
        **used_by(interval, statement),
    }
    yield found(
        held,
        name_of(statement),
        f"{held.part.sessions:.1f} sessions wait for WAL at a time: {commits / seconds:,.0f} "
        f"commits and {size(counted.bytes / seconds)} of it a second",
        "Each commit waits until its WAL is on disk, and they do it one after another."
        + (f" Most waits has: {one_line(statement.query)}" if statement else ""),
        Fix(
            advice="Put many rows into one transaction (executemany, COPY, INSERT … SELECT "
            "unnest): a hundred rows a commit are a hundredth of the waits. Else a disk with a "
            "faster fsync; drop indexes that nothing uses (filban check: index.unused), as each "
            "one writes WAL."
        ),
        evidence,
    )
    yield found(
        held,
        "synchronous_commit",
        "Not every commit has to wait for the disk",
        "Where the last moment's transactions may be lost in a crash (events, counters, caches), "
        "the server need not be waited for: nothing is corrupted, at most three times "
        "wal_writer_delay is lost.",
        Fix(
            sql="SET LOCAL synchronous_commit = off;",
            caution="In the transactions that it is right for; never where a client is told that "
            "something is safe.",
        ),
        evidence,
        severity=Severity.info,
    )


def checkpoints(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.checkpoints: one finding."""
    forced, limits = forced_checkpoints(interval), interval.limits
    apart = interval.seconds / forced
    yield found(
        held,
        "max_wal_size",
        f"WAL forces a checkpoint every {duration(apart)}, and "
        f"{100 * page_images_share(interval):.0f} % of WAL is page images that they cause",
        "After a checkpoint the first change of each page logs the whole page: commits wait for "
        "WAL that longer distances between checkpoints would not have made.",
        setting(
            interval,
            "max_wal_size",
            f"'{_roomy(interval) // _MB}MB'",
            "pg_wal may grow to that size, and recovery after a crash takes longer. wal_compression"
            " = on makes the images smaller.",
        ),
        {
            "forced_checkpoints": Quantity(round(forced, 1), "count"),
            "timed_checkpoints": Quantity(round(interval.checkpoints.timed), "count"),
            "every": Quantity(round(apart, 1), "seconds"),
            "wal": Quantity(round(interval.wal.bytes / interval.seconds), "bytes"),
            "page_images": Quantity(round(interval.wal.page_images), "pages"),
            "max_wal_size": Quantity(limits.max_wal_size_bytes, "bytes"),
            **events(interval, "IO", "LWLock"),
        },
    )


def _roomy(interval: Interval) -> int:
    """max_wal_size that this WAL would fill no sooner than five minutes, checkpoint_timeout's
    default: what it makes now is an upper bound, as images become fewer."""
    per_trigger = interval.limits.max_wal_size_bytes / interval.limits.checkpoint_trigger_bytes
    needed = interval.wal.bytes / interval.seconds * 300 * per_trigger
    wanted = interval.limits.max_wal_size_bytes
    while wanted < needed:
        wanted *= 2
    return wanted


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


def lwlock(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.lwlock: one finding."""
    statement = interval.load.top("lwlock")
    seen = interval.load.events_of("LWLock", "BufferPin")
    event = seen[0][0] if seen else "LWLock"
    yield found(
        held,
        event,
        f"{held.part.sessions:.1f} sessions stand in each other's way inside the server: {event}",
        _LWLOCKS.get(event.partition(":")[2], "Too many sessions use one structure at once.")
        + (f" Most waits has: {one_line(statement.query)}" if statement else ""),
        Fix(
            advice="Fewer sessions at once do more here: a smaller pool (filban pool bench finds "
            "the size), or PgBouncer in front."
        ),
        {**events(interval, "LWLock", "BufferPin"), **used_by(interval, statement)},
    )


_LWLOCKS = {
    "BufferContent": "Many sessions change the same page: the right edge of an index on a rising "
    "key, a counter, a small hot table.",
    "BufferMapping": "Pages come and go in shared_buffers, which is small for what is read.",
    "LockManager": "Statements lock more tables, partitions and indexes than fit into the fast "
    "path (16 a session before 18).",
    "ProcArray": "Snapshots are taken and transactions end all the time; many idle connections "
    "make each snapshot longer.",
    "SubtransSLRU": "Transactions with more than 64 savepoints make others look up parents.",
    "MultiXactOffsetSLRU": "Rows are locked by several transactions at once (foreign keys, FOR "
    "SHARE).",
    "pg_stat_statements": "Statements that are all different throw each other out of "
    "pg_stat_statements: use parameters, or raise pg_stat_statements.max.",
}


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
            f"{taken.used:,} of {taken.allowed:,} connections are taken, {taken.idle:,} of them "
            "by clients that do nothing",
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


def other(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.other: waits that have no part of their own."""
    seen = interval.load.events_of("IPC", "Timeout", "Extension", "InjectionPoint")
    statement = interval.load.top("other")
    yield found(
        held,
        seen[0][0] if seen else "server",
        f"{held.part.sessions:.1f} sessions wait for something else at a time"
        + (f": {seen[0][0]}" if seen else ""),
        "PostgreSQL's manual tells what each wait event means, in the chapter on pg_stat_activity."
        + (f" Most of it has: {one_line(statement.query)}" if statement else ""),
        Fix(advice="Look the event up there; an extension's waits are told in its own manual."),
        {
            **events(interval, "IPC", "Timeout", "Extension"),
            **used_by(interval, statement),
        },
        severity=Severity.info,
    )
