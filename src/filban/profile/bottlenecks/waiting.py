"""Time in waits for data files, WAL and the server's own structures -> findings. Pure."""

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
