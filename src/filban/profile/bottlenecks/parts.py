"""An interval -> its session time, divided by what held it. Pure.

From symptoms down to causes, as Oracle's ADDM does: waits are what they are, unless a cause
explains them (a forgotten transaction, a deadlock, forced checkpoints); time on CPU is divided by
what the counters say it was spent on. Each second belongs to one part only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from filban.profile.bottlenecks.interval import Interval, Statement
from filban.profile.bottlenecks.load import StatementLoad
from filban.profile.bottlenecks.rows import Table

# The planner's own measure: an index look-up costs about four random pages (descent and row), each
# random_page_cost = 4 sequential ones. A scan of fewer pages is no dearer than what an index does.
INDEX_WORTH_PAGES = 16
# Parsing, planning and protocol of a look-up by primary key take about a tenth of a millisecond
# (pgbench -S, simple against prepared); what takes twice as long is worth preparing. Where queueing
# for a processor cannot be told from running, it has to be five times as long.
PLANNING_MS = 0.2
PLANNING_UNSURE_MS = 1.0
# Statements in flight at the two ends blur the account of a statement by one call each.
ENOUGH_CALLS = 20
# Which part of WAL has to be page images before checkpoints are what it is made by: the larger one.
PAGE_IMAGES_SHARE = 0.5
# A deadlock costs at least two sessions a wait of deadlock_timeout, after which it is looked for.
DEADLOCKED_SESSIONS = 2

NAMES: Mapping[str, str] = {
    "cpu": "executing statements",
    "seq_scan": "reading whole tables",
    "planning": "planning statements",
    "jit": "compiling statements (JIT)",
    "vacuum": "reading dead rows",
    "temp": "spilling to temporary files",
    "io": "reading and writing data files",
    "wal": "writing WAL",
    "checkpoints": "WAL of forced checkpoints",
    "lock_row": "waiting for row locks",
    "lock_relation": "waiting for table locks",
    "lock_advisory": "waiting for advisory locks",
    "lock_extend": "waiting to extend a table",
    "lock_other": "waiting for other locks",
    "deadlock": "running into deadlocks",
    "idle_in_transaction": "waiting for forgotten transactions",
    "lwlock": "contention inside the server",
    "sync_replication": "waiting for a synchronous standby",
    "client": "waiting for the client",
    "connections": "connecting",
    "replay_conflict": "conflict between replay and readers",
    "other": "waiting for other things",
}
ON_CPU = ("cpu", "planning", "jit", "temp", "vacuum", "seq_scan")
LOCKS = ("lock_row", "lock_relation", "lock_advisory", "lock_extend", "lock_other")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of session time. name: a key of NAMES; sessions: average sessions."""

    name: str
    sessions: float


def parts(interval: Interval) -> list[Part]:
    """All parts with some time in them, the largest first."""
    found = _waiting(interval)
    for name, sessions in _executing(interval).items():
        found[name] = found.get(name, 0.0) + sessions
    found["connections"] = connecting(interval)
    found["replay_conflict"] = interval.load.replay
    return sorted((Part(n, s) for n, s in found.items() if s > 0), key=lambda p: -p.sessions)


def connecting(interval: Interval) -> float:
    """Sessions that were being opened: their rate, times how long one takes now."""
    rate = interval.database.sessions / interval.seconds
    return rate * (interval.connect_seconds or 0.0)


def _waiting(interval: Interval) -> dict[str, float]:
    load = interval.load
    waits = {name: load.of(name) - load.behind_idle.get(name, 0.0) for name in LOCKS}
    waits["idle_in_transaction"] = sum(load.behind_idle.values())
    waits["deadlock"] = 0.0
    left = deadlocked(interval)
    for name in ("lock_row", "lock_relation", "lock_advisory", "lock_other"):
        taken = min(left, waits[name])
        waits[name] -= taken
        waits["deadlock"] += taken
        left -= taken
    dead = load.of("io") * min(sum(share for _, share in dead_shares(interval, read=True)), 1.0)
    wal = "checkpoints" if checkpoints_make_wal(interval) else "wal"
    return waits | {
        wal: load.of("wal"),
        "io": load.of("io") - dead,
        "vacuum": dead,
        "lwlock": load.of("lwlock"),
        "sync_replication": load.of("sync_replication"),
        "client": load.of("client", "round_trip"),
        "other": load.of("other"),
    }


def deadlocked(interval: Interval) -> float:
    """Average sessions that deadlocks account for, at least."""
    timeout = interval.limits.deadlock_timeout_seconds
    return interval.database.deadlocks * DEADLOCKED_SESSIONS * timeout / interval.seconds


def forced_checkpoints(interval: Interval) -> float:
    """How many requested checkpoints the WAL volume accounts for; the others were asked for by
    somebody (a base backup, CREATE DATABASE, CHECKPOINT)."""
    trigger = interval.limits.checkpoint_trigger_bytes
    return min(interval.checkpoints.requested, interval.wal.bytes / trigger if trigger else 0.0)


def page_images_share(interval: Interval) -> float:
    """0..1, at most: the holes of pages are left out, and wal_compression may be on."""
    images = interval.wal.page_images * interval.limits.block_bytes
    return min(images / interval.wal.bytes, 1.0) if interval.wal.bytes else 0.0


def checkpoints_make_wal(interval: Interval) -> bool:
    """Whether checkpoints come closer than checkpoint_warning (from where on the server warns in
    its log) and most of WAL is the images that they cause."""
    forced = forced_checkpoints(interval)
    close = interval.seconds < interval.limits.checkpoint_warning_seconds * forced
    # one checkpoint may be by chance; a second one shows how far apart they are
    return forced >= 2 and close and page_images_share(interval) >= PAGE_IMAGES_SHARE


def _executing(interval: Interval) -> dict[str, float]:
    """Time on CPU and in temporary files, statement by statement."""
    found = dict.fromkeys(ON_CPU, 0.0)
    for statement in interval.load.statements:
        cpu = statement.sessions.get("cpu", 0.0)
        known = interval.statement(statement.query_id)
        for name, share in _shares(interval, known, statement):
            found[name] += cpu * share
            cpu -= cpu * share
        found["cpu"] += cpu
        found["temp"] += statement.sessions.get("temp_io", 0.0)
    return found


def _shares(
    interval: Interval, known: Statement | None, load: StatementLoad
) -> Iterator[tuple[str, float]]:
    """What share (0..1) of the CPU time that is still left each cause takes."""
    if known is not None:
        yield "planning", planning_share(interval, known, load)
        yield "jit", _ratio(known.jit_ms or 0.0, known.exec_ms)
    yield "temp", spilling_share(interval, known)
    if known is None or reads_pages(known):
        yield "vacuum", min(sum(share for _, share in dead_shares(interval)), 1.0)
        yield "seq_scan", min(sum(share for _, share in scan_shares(interval)), 1.0)


def planning_share(interval: Interval, known: Statement, load: StatementLoad) -> float:
    """Exact with track_planning; else CPU time that was seen and that execution does not account
    for, where it is long enough not to be parsing and protocol."""
    if known.plan_ms > 0:
        return _ratio(known.plan_ms, known.plan_ms + known.exec_ms)
    seen = load.sessions.get("cpu", 0.0) * interval.seconds * 1000
    left = seen - known.exec_ms
    machine = interval.machine
    least = PLANNING_UNSURE_MS if machine is None else PLANNING_MS
    running = (
        1.0 if machine is None else _ratio(machine.executing, machine.executing + machine.queueing)
    )
    if known.calls < ENOUGH_CALLS or left * running / known.calls < least:
        return 0.0
    return _ratio(left, seen)


def spilling_share(interval: Interval, known: Statement | None) -> float:
    """Temporary blocks, written and read again, among all blocks that were moved."""
    if known is not None:
        temp, others = known.temp_blocks, known.blocks
    else:
        temp = interval.database.temp_bytes / interval.limits.block_bytes
        others = interval.database.blocks_hit + interval.database.blocks_read
    return _ratio(2 * temp, 2 * temp + others)


def reads_pages(known: Statement) -> bool:
    return known.blocks >= INDEX_WORTH_PAGES * known.calls


def dead_shares(interval: Interval, *, read: bool = False) -> list[tuple[Table, float]]:
    """Tables that autovacuum should have worked on -> which share of all blocks (or of those `read`
    into shared buffers) holds their dead rows. Those of which each scan takes only a few blocks are
    left out."""

    def taken(table: Table) -> float:
        return table.blocks_read if read else table.blocks

    whole = sum(taken(table) for table in interval.tables)
    found = [
        (table, _ratio(taken(table), whole) * _ratio(table.dead_rows, rows))
        for table in interval.tables
        if table.dead_rows > table.vacuum_at
        and table.blocks >= INDEX_WORTH_PAGES * (table.seq_scans + table.index_scans)
        and (rows := table.dead_rows + table.live_rows)
        and table.dead_rows >= table.live_rows
    ]
    return sorted(found, key=lambda pair: -pair[1])


def scan_shares(interval: Interval) -> list[tuple[Table, float]]:
    """Tables -> which share of all rows read their sequential scans read. Small tables, for which
    an index would not be better, are left out."""
    found = [
        (table, _ratio(table.rows_in_scans, interval.database.rows_returned))
        for table in interval.tables
        if table.seq_scans and pages_of(table) >= INDEX_WORTH_PAGES
    ]
    return sorted((pair for pair in found if pair[1] > 0), key=lambda pair: -pair[1])


def pages_of(table: Table) -> float:
    """As of the last VACUUM or ANALYZE; before the first one, by what its scans have read."""
    return table.pages or _ratio(table.blocks, table.seq_scans + table.index_scans)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
