"""Parts of time in lock queues -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from filban.finding import Finding, Fix, Quantity, Severity
from filban.profile.bottlenecks.interval import Interval
from filban.profile.bottlenecks.load import Blocker
from filban.profile.bottlenecks.parts import NAMES
from filban.profile.bottlenecks.words import (
    MAIN_SHARE,
    Held,
    events,
    found,
    name_of,
    one_line,
    setting,
    used_by,
)
from filban.units import duration

# From here on next to everything stands still.
STANDSTILL_SHARE = 0.9

_WHY = {
    "lock_row": "Transactions change the same rows one after another; each keeps the row until its "
    "COMMIT, so what counts is the time between the change and the COMMIT.",
    "lock_relation": "Whoever waits for a strong lock on a table makes everybody after it wait as "
    "well, readers too, until those before it are done.",
    "lock_advisory": "The application lets one session in at a time.",
    "lock_extend": "Sessions that write into one table make its file grow one after another.",
    "lock_other": "They queue for something that only one may have at a time, as commits after "
    "NOTIFY do.",
}
_ADVICE = {
    "lock_row": "Change hot rows last, just before COMMIT, and let no other call happen in between;"
    " spread a counter over several rows; take jobs with FOR UPDATE SKIP LOCKED.",
    "lock_advisory": "Do less while the lock is held, take several locks by key instead of one, or "
    "pg_try_advisory_lock and something else to do; jobs with FOR UPDATE SKIP LOCKED.",
    "lock_extend": "Fewer writers at once (one COPY is faster than ten), partitions so that each "
    "writes its own file; PostgreSQL 16 extends by many pages at a time.",
    "lock_other": "For NOTIFY: once a transaction and not in every one, or a table that listeners "
    "poll. Fewer sessions at once.",
}


def queue(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.lock_*: the queue, with the statement that waits most and the main blocker."""
    name = held.part.name
    statement = interval.load.top(name)
    blockers = interval.load.blockers
    blocker = blockers[0] if blockers else None
    if name == "lock_relation":
        yield from _queuing(interval, held)
    yield found(
        held,
        name_of(statement),
        f"{held.part.sessions:.1f} sessions at a time are {NAMES[name]}",
        _WHY[name]
        + (f" Most waits has: {one_line(statement.query)}" if statement else "")
        + (f" – in front of the queue: {one_line(blocker.query)}" if blocker else ""),
        Fix(advice=_ADVICE[name]) if name in _ADVICE else _fix_relation(blocker),
        {**events(interval, "Lock"), **_blocking(blocker), **used_by(interval, statement)},
        severity=_stands_still(held) if name == "lock_relation" else None,
    )


def _queuing(interval: Interval, held: Held) -> Iterator[Finding]:
    """Whoever waits for a table and is waited for by most others, as an ALTER TABLE is."""
    for blocker in interval.load.queuers[:1]:
        if blocker.waiting < MAIN_SHARE * held.part.sessions:
            return
        yield found(
            held,
            f"pid {blocker.pid}",
            f"{blocker.waiting:.1f} sessions queue behind one that waits itself",
            "It wants a lock that conflicts with theirs, and has to be first: "
            f"{one_line(blocker.query)}",
            Fix(
                sql=_end(blocker),
                advice="Those behind it go on at once. Run it again with SET lock_timeout = '2s', "
                "as often as it takes, so that nobody queues behind it for longer.",
                caution="It has to be run again.",
            ),
            {**_blocking(blocker), **events(interval, "Lock")},
            severity=_stands_still(held),
        )


def _blocking(blocker: Blocker | None) -> dict[str, Quantity]:
    if blocker is None:
        return {}
    return {
        "blocker": Quantity(f"pid {blocker.pid}, {blocker.state}"),
        "waiting_behind_it": Quantity(round(blocker.waiting, 2), "count"),
        "blocker_for": Quantity(round(blocker.state_seconds, 1), "seconds"),
    }


def _fix_relation(blocker: Blocker | None) -> Fix:
    after = (
        "Run migrations with SET lock_timeout = '2s' and try again, so that they never make "
        "readers wait; let no report run while they do."
    )
    if blocker is None:
        return Fix(advice=after)
    return Fix(
        sql=_end(blocker),
        advice=after,
        caution=f"Ends the statement in front of the queue: {one_line(blocker.query)}",
    )


def _end(blocker: Blocker) -> str:
    how = "pg_cancel_backend" if blocker.state == "active" else "pg_terminate_backend"
    return blocker.end_sql or f"SELECT {how}({blocker.pid});"


def _stands_still(held: Held) -> Severity | None:
    return Severity.critical if held.share >= STANDSTILL_SHARE else None


def idle_in_transaction(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.idle_in_transaction: one for each forgotten transaction, then the lasting cure."""
    idle = [b for b in interval.load.blockers if (b.state or "").startswith("idle in transaction")]
    for blocker in idle[:2]:
        yield found(
            held,
            f"pid {blocker.pid}",
            f"{blocker.waiting:.1f} sessions wait for a transaction that idles for "
            f"{duration(blocker.state_seconds)}",
            "Its client has not come back to end it; it keeps its locks until then. Its last "
            f"statement: {one_line(blocker.query)}",
            Fix(
                sql=_end(blocker),
                caution="Its work since BEGIN is lost.",
            ),
            {**_blocking(blocker), **events(interval, "Lock")},
            severity=_stands_still(held),
        )
    yield found(
        held,
        "idle_in_transaction_session_timeout",
        "Forgotten transactions can end by themselves",
        "A client that hangs, or a service that calls others within its transaction, will leave "
        "the next one open as well.",
        setting(
            interval,
            "idle_in_transaction_session_timeout",
            "'30s'",
            "Longer than the longest pause that a service takes within its transactions.",
        ),
        {"forgotten": Quantity(round(interval.load.forgotten, 2), "count")},
        severity=Severity.info,
    )


def deadlock(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.deadlock: one finding."""
    statement = interval.load.top("lock_row", "lock_relation", "lock_advisory")
    deadlocks, timeout = interval.database.deadlocks, interval.limits.deadlock_timeout_seconds
    yield found(
        held,
        name_of(statement),
        f"{deadlocks:,.0f} deadlocks in {interval.seconds:.0f} s",
        f"Each makes its sessions wait for {duration(timeout)} (deadlock_timeout) until the server "
        "cancels one of them."
        + (f" Most waits has: {one_line(statement.query)}" if statement else ""),
        Fix(
            advice="Change rows in one order everywhere (ORDER BY id … FOR UPDATE first), in few "
            "statements; the server's log shows both statements of each (filban logs).",
            caution="A shorter deadlock_timeout hides the cost, and makes every lock wait dearer.",
        ),
        {
            "deadlocks": Quantity(round(deadlocks / interval.seconds, 2), "per_second"),
            "deadlock_timeout": Quantity(timeout, "seconds"),
            "rollbacks": Quantity(
                round(interval.database.rollbacks / interval.seconds, 2), "per_second"
            ),
            **events(interval, "Lock"),
            **used_by(interval, statement),
        },
    )
