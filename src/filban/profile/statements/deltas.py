"""Two snapshots -> what happened in between, without the counters ever being reset. Pure.

What a server does to its counters, and how it shows:
- a restart that keeps them (a clean one, pg_stat_statements.save = on): same epoch;
- a crash, a restart with save = off, pg_stat_statements_reset(): a new epoch, everything from zero;
- another server after a failover: an epoch of its own (the file of counters is in no base backup);
- pg_stat_statements_reset(user, database, query), an eviction with a return: the entry's own
  `since` from 17 on; before, a counter that went down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filban.errors import UsageError
from filban.profile.statements.rows import Counts, Delta, Key, Snapshot

# entry_dealloc() in pg_stat_statements.c, 14 to 18: USAGE_DEALLOC_PERCENT, and at least ten.
EVICTED_SHARE = 20  # one in so many
EVICTED_LEAST = 10

_GAUGES = {Counts._fields.index(name) for name in ("min_ms", "max_ms", "exec_sq_ms2", "since")}
_SUMS = [index for index in range(len(Counts._fields)) if index not in _GAUGES]
_MIN, _MAX, _SQUARES, _SINCE = (
    Counts._fields.index(name) for name in ("min_ms", "max_ms", "exec_sq_ms2", "since")
)


def delta(before: Snapshot | None, after: Snapshot) -> Delta:
    """What was counted between two snapshots; of another epoch, or None: since the epoch's begin.

    Summed over all deltas of an epoch, nothing counts twice, and nothing is lost but what the
    server dropped itself, which `evicted` and `restarted` say. Raises UsageError for snapshots of
    two clusters or in the wrong order.
    """
    if before is not None and before.cluster != after.cluster:
        raise UsageError(
            f"these snapshots are of two clusters: {before.cluster} and {after.cluster}",
            hint="compare snapshots of one cluster",
        )
    if before is None or before.info.epoch != after.info.epoch:
        return _from_zero(after)
    if before.taken_at > after.taken_at:
        raise UsageError("the first snapshot is the later one", hint="give the earlier one first")
    return _between(before, after)


def _from_zero(after: Snapshot) -> Delta:
    return Delta(
        cluster=after.cluster,
        epoch=after.info.epoch,
        start=after.info.epoch,
        end=after.taken_at,
        from_zero=True,
        entries=after.entries,
        restarted=0,
        gone=0,
        evicted=evicted(after.info.evictions, after.info.max_entries),
        hidden=after.hidden,
    )


def _between(before: Snapshot, after: Snapshot) -> Delta:
    grown: dict[Key, Counts] = {}
    restarted = 0
    for key, now in after.entries.items():
        then = before.entries.get(key)
        if then == now:
            continue
        if then is not None and began_again(then, now):
            restarted += 1
            then = None
        counts = now if then is None else growth(then, now)
        if counts.calls or counts.plans:
            grown[key] = counts
    return Delta(
        cluster=after.cluster,
        epoch=after.info.epoch,
        start=before.taken_at,
        end=after.taken_at,
        from_zero=False,
        entries=grown,
        restarted=restarted,
        gone=len(before.entries.keys() - after.entries.keys()),
        evicted=evicted(after.info.evictions - before.info.evictions, after.info.max_entries),
        hidden=after.hidden,
    )


def began_again(then: Counts, now: Counts) -> bool:
    """Whether the entry was removed and made anew. Before 17 only if a counter has gone down."""
    if then.since is not None and now.since is not None:
        return now.since != then.since
    return any(b < a for a, b in zip(_sums(then), _sums(now), strict=True))


def growth(then: Counts, now: Counts) -> Counts:
    """now - then. The squares as in Chan, Golub, LeVeque (1979): the deviations of the calls in
    between from their own mean."""
    values: list[object] = list(now)
    for i, a, b in zip(_SUMS, _sums(then), _sums(now), strict=True):
        values[i] = None if now[i] is None else b - a
    values[_SQUARES] = _squares_between(then, now)
    return Counts._make(values)


def _sums(counts: Counts) -> list[Any]:
    """The counters that only grow, 0 for what this version does not count."""
    values: tuple[Any, ...] = counts
    return [values[i] or 0 for i in _SUMS]


def _squares_between(then: Counts, now: Counts) -> float:
    calls = now.calls - then.calls
    if calls <= 0:
        return 0.0
    apart = (now.exec_ms - then.exec_ms) / calls - then.mean_ms
    between = apart * apart * then.calls * calls / now.calls
    return max(0.0, now.exec_sq_ms2 - then.exec_sq_ms2 - between)


def together(one: Counts, other: Counts) -> Counts:
    """Both as if counted in one entry."""
    values: list[object] = list(one)
    for i, a, b in zip(_SUMS, _sums(one), _sums(other), strict=True):
        values[i] = None if one[i] is None and other[i] is None else a + b
    values[_MIN] = min(one.min_ms, other.min_ms)
    values[_MAX] = max(one.max_ms, other.max_ms)
    values[_SQUARES] = one.exec_sq_ms2 + other.exec_sq_ms2 + _squares_apart(one, other)
    values[_SINCE] = min(one.since, other.since) if one.since and other.since else None
    return Counts._make(values)


def _squares_apart(one: Counts, other: Counts) -> float:
    calls = one.calls + other.calls
    apart = one.mean_ms - other.mean_ms
    return apart * apart * one.calls * other.calls / calls if calls else 0.0


def evicted(passes: int, max_entries: int) -> int:
    """How many entries so many passes have dropped: a pass runs only when the table is full."""
    return passes * max(EVICTED_LEAST, max_entries // EVICTED_SHARE)


def by_statement(entries: Mapping[Key, Counts]) -> dict[tuple[int, int], Counts]:
    """(database, query id) -> its counts over users, top level and nested together."""
    sums: dict[tuple[int, int], Counts] = {}
    for key, counts in entries.items():
        statement = (key.database_id, key.query_id)
        known = sums.get(statement)
        sums[statement] = counts if known is None else together(known, counts)
    return sums
