"""Leases held too long, dropped, or waiting for each other: said once, with file and line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filban.errors import PoolExhausted
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
    for holder in list(pool._holders):  # on_leak may do anything, a resize as well
        if holder._in_use is None:
            continue
        holder.look_for_queries(now)
        if not holder.reported and now - holder.acquired_at >= limit:
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
    if pool.on_leak is None:
        return
    try:
        pool.on_leak(report)
    except Exception:
        logger.exception("on_leak of pool %s failed", pool.name)


def _report(pool: Pool, holder: Holder, now: float) -> LeakReport:
    return LeakReport(
        pool=pool.name,
        held_seconds=now - holder.acquired_at,
        stack=tuple(where.described(holder.places)),
        task=holder.task.get_name() if holder.task else None,
        route=holder.route,
        last_statement=holder.text,
        idle_seconds=holder.idle_for(now),
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


def exhausted(pool: Pool, what: str) -> PoolExhausted:
    """The error for who gets no connection: what the pool is doing, and who is in the way."""
    held = [h for h in pool._holders if h._in_use is not None]
    mine = asyncio.current_task(pool._loop)
    if any(h.task is mine for h in held):
        hint = (
            "this task holds another connection of this pool while it asks for one more, which is "
            "a deadlock when all do: use the one it has, or acquire both at once"
        )
    else:
        hint = "hold connections for shorter, look for leaks (leak_threshold=), or raise max_size"
    return PoolExhausted(
        f"no connection of pool {pool.name}: {what}; size {pool.get_size()} of {pool._maxsize}, "
        f"{len(held)} in use, {pool._queue.waiting()} waiting. "
        f"Longest held: {holding(held, pool._loop.time())}",
        hint=hint,
    )
