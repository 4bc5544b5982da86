"""Leases held too long, dropped, or waiting for each other: said once, with file and line."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filban.pool import where
from filban.units import duration

if TYPE_CHECKING:
    from filban.pool.holder import Holder
    from filban.pool.pool import Pool

logger = logging.getLogger("filban.pool")
SHOWN = 3


@dataclass(frozen=True, slots=True)
class LeakReport:
    """A lease that is held for too long.

    stack: `file:line in function`, the acquiring call first. idle_seconds: since its last statement
    ended; None while one runs. route: the request's, where a middleware has told it.
    """

    pool: str
    held_seconds: float
    stack: tuple[str, ...]
    task: str | None
    route: str | None
    last_statement: str | None
    idle_seconds: float | None

    def __str__(self) -> str:
        words = [
            f"a connection of pool {self.pool} has been held for {duration(self.held_seconds)}"
        ]
        if self.task:
            words.append(f"by task {self.task}")
        if self.route:
            words.append(f"for {self.route}")
        if self.stack:
            words.append("acquired at " + " < ".join(self.stack))
        if self.last_statement:
            state = (
                "runs" if self.idle_seconds is None else f"idle {duration(self.idle_seconds)} since"
            )
            words.append(f"{state}: {' '.join(self.last_statement.split())[:200]}")
        return ", ".join(words)


def report_leaks(pool: Pool, now: float) -> None:
    """Report each lease that is over the threshold and was not reported yet."""
    limit = pool.leak_threshold
    if limit is None:
        return
    for holder in pool._holders:
        if holder._in_use is None or holder.reported or now - holder.acquired_at < limit:
            continue
        holder.reported = True
        pool.counters.leaks += 1
        _tell(pool, _report(pool, holder, now), "leak: %s")


def report_dropped(pool: Pool, holder: Holder) -> None:
    """A lease that the garbage collector has found."""
    report = _report(pool, holder, pool._loop.time())
    _tell(pool, report, "dropped without release, taken back: %s")


def report_deadlock(pool: Pool) -> None:
    """Say once that every connection is held by a task that waits for a second one."""
    held = [h for h in pool._holders if h._in_use is not None]
    waiting = {task for future, _, task in pool._queue.waiters if not future.done()}
    locked = len(held) == len(pool._holders) and all(h.task in waiting for h in held)
    if locked and not pool.deadlocked:
        logger.warning(
            "deadlock: all %d connections of pool %s are held by tasks that wait for another one. "
            "They go on when one gives up: use one connection a task. Held: %s",
            len(held), pool.name, holding(held, pool._loop.time()),
        )  # fmt: skip
    pool.deadlocked = locked


def _tell(pool: Pool, report: LeakReport, message: str) -> None:
    logger.warning(message, report)
    if pool.on_leak is not None:
        pool.on_leak(report)


def _report(pool: Pool, holder: Holder, now: float) -> LeakReport:
    con = holder._con
    running = con is not None and not con.is_closed() and con._protocol.is_in_transaction is None
    return LeakReport(
        pool=pool.name,
        held_seconds=now - holder.acquired_at,
        stack=tuple(where.described(holder.places)),
        task=holder.task.get_name() if holder.task else None,
        route=holder.route,
        last_statement=holder.texts[-1] if holder.texts else None,
        idle_seconds=None if running else now - holder.acquired_at,
    )


def holding(holders: Iterable[Holder], now: float) -> str:
    """The longest-held leases in words."""
    longest = sorted((h for h in holders if h._in_use), key=lambda h: h.acquired_at)[:SHOWN]
    parts = []
    for holder in longest:
        places = where.described(holder.places)
        task = f" by {holder.task.get_name()}" if holder.task else ""
        where_ = f" at {places[0]}" if places else ""
        parts.append(f"{duration(now - holder.acquired_at)}{task}{where_}")
    return "; ".join(parts) or "none"
