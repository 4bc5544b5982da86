"""Pools and the server's slots -> findings. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.tune.pool_size.rows import Planned, PoolUse, ServiceUse, Slots
from filban.units import count, duration

CODES = (
    "pool.too_small",
    "pool.held_too_long",
    "pool.server_saturated",
    "pool.too_large",
    "pool.over_max_connections",
)


@dataclass(frozen=True, slots=True)
class PoolThresholds:
    """Sources: 10 ms of waiting at p95 is what a service's users begin to pay for (the order of a
    whole fast request); a connection that runs statements for less than half of its lease is held,
    not used (filban's own); 2 running statements a core: HikariCP, "About Pool Sizing", after
    PostgreSQL's wiki (cores x 2 + spindles); a pool's need is the mean in use plus 4 times its
    square root (square-root staffing: A. K. Erlang 1924; Halfin and Whitt 1981), and one of more
    than 3 times that is large; under 100 leases a window is no picture (filban's own)."""

    pool_wait_p95_seconds: float = 0.010
    pool_busy_percent: float = 50.0
    pool_active_per_core: float = 2.0
    pool_large_factor: float = 3.0
    pool_minimum_leases: float = 100


@dataclass(frozen=True, slots=True)
class Load:
    """The server's sessions, sampled over the window. Means; active: those in a statement.

    capacity: running statements beyond which more bring nothing, as `filban pool bench` has
    measured it or as the cores have it; None: not known. measured: whether it was measured.
    """

    samples: int
    active: float
    idle_in_transaction: float
    capacity: float | None
    measured: bool
    hidden: bool = False


def needed(mean_in_use: float) -> int:
    """Connections for a mean demand: square-root staffing, and at least two."""
    return max(2, math.ceil(mean_in_use + 4 * math.sqrt(mean_in_use)))


def pools(uses: Sequence[PoolUse], load: Load, limits: PoolThresholds) -> Iterator[Finding]:
    """pool.too_small, .held_too_long or .server_saturated for a pool that is waited for;
    pool.too_large for one that is hardly used."""
    leased = sum(use.mean_in_use if use.mean_in_use is not None else use.in_use for use in uses)
    for use in uses:
        if use.wait.count < limits.pool_minimum_leases:
            continue
        if _waits(use, limits):
            yield _cause(use, leased, load, limits)
        elif (finding := _too_large(use, limits)) is not None:
            yield finding


def _waits(use: PoolUse, limits: PoolThresholds) -> bool:
    waited = use.wait.quantile(0.95) or 0.0
    return bool(waited > limits.pool_wait_p95_seconds or use.timeouts or use.refused)


def _cause(use: PoolUse, leased: float, load: Load, limits: PoolThresholds) -> Finding:
    """Of three: leases that do not run statements, a server with enough to do, a small pool."""
    if load.samples and not load.hidden and leased >= 1:
        busy = min(100.0, 100.0 * load.active / leased)
        if busy < limits.pool_busy_percent:
            return _held_too_long(use, load, busy)
    if load.capacity is not None and load.active >= load.capacity:  # hidden ones only add to it
        return _saturated(use, load)
    return _too_small(use, load)


def _evidence(use: PoolUse) -> dict[str, Quantity]:
    waited, held = use.wait.quantile(0.95), use.hold.quantile(0.95)
    return {
        "size": Quantity(use.max_size, "count"),
        "in_use": Quantity(use.in_use, "count"),
        "waiting": Quantity(use.waiting, "count"),
        "leases": Quantity(int(use.hold.count), "count"),
        "timeouts": Quantity(int(use.timeouts), "count"),
        **({"wait_p95_up_to": Quantity(waited, "seconds")} if waited else {}),
        **({"hold_p95_up_to": Quantity(held, "seconds")} if held else {}),
    }


def _title(use: PoolUse, tail: str) -> str:
    waited = use.wait.quantile(0.95)
    if use.timeouts:
        return f"{count(int(use.timeouts), 'acquire')} timed out: {tail}"
    return f"one acquire in 20 waits over {duration(_bound_below(use, waited))}: {tail}"


def _bound_below(use: PoolUse, bound: float | None) -> float:
    """The lower end of the bucket that a quantile is in: what is certain."""
    position = use.wait.bounds.index(bound) if bound in use.wait.bounds else 0
    return use.wait.bounds[position - 1] if position else 0.0


def _held_too_long(use: PoolUse, load: Load, busy: float) -> Finding:
    return Finding(
        code="pool.held_too_long",
        severity=Severity.warning,
        subject=use.name,
        title=_title(use, "connections are held without a statement"),
        why=f"Only {busy:.0f} % of the leased connections run a statement: the others wait for the "
        "service (an HTTP call, a template, a slow client) while tasks queue for them. A larger "
        "pool would hold more of the server's slots just as idly.",
        evidence=_evidence(use)
        | {
            "busy_percent": Quantity(round(busy, 1), "percent"),
            "active": Quantity(round(load.active, 1), "count"),
            "idle_in_transaction": Quantity(round(load.idle_in_transaction, 1), "count"),
        },
        fix=Fix(
            advice="Acquire late and release early: no awaiting of anything but the database "
            "inside `async with pool.acquire()`. `leak_threshold=` names the lines that hold "
            "longest, by file and route."
        ),
    )


def _saturated(use: PoolUse, load: Load) -> Finding:
    source = "pool bench has measured" if load.measured else "its cores take well"
    return Finding(
        code="pool.server_saturated",
        severity=Severity.warning,
        subject=use.name,
        title=_title(use, "the server has all it can do"),
        why=f"{load.active:.0f} statements run at once, and {source} {load.capacity:.0f}: a larger "
        "pool moves the queue into the server, where it is slower and less fair.",
        evidence=_evidence(use)
        | {
            "active": Quantity(round(load.active, 1), "count"),
            "capacity": Quantity(round(load.capacity or 0.0, 1), "count"),
        },
        fix=Fix(
            command="filban queries",
            advice="Make the statements that take most of the time cheaper, read from replicas, "
            "or take a larger server. Leave the pool as it is.",
        ),
    )


def _too_small(use: PoolUse, load: Load) -> Finding:
    mean = use.mean_in_use
    wanted = needed(mean) if mean is not None else None
    # the demand that was served is bounded by the size itself: at least half as many more
    wanted = max(wanted or 0, math.ceil(use.max_size * 1.5))
    if load.capacity is not None:
        wanted = min(wanted, max(use.max_size + 1, math.floor(load.capacity)))
    return Finding(
        code="pool.too_small",
        severity=Severity.warning,
        subject=use.name,
        title=_title(use, "the pool is too small"),
        why="Its connections are busy with statements, and the server "
        + (
            "has room for more."
            if load.capacity is not None and not load.hidden
            else "was not seen at its limit: `filban pool bench` tells whether it has room."
        ),
        evidence=_evidence(use)
        | ({} if mean is None else {"mean_in_use": Quantity(round(mean, 2), "count")}),
        fix=Fix(
            command="filban pool bench",
            advice=f"Try max_size = {wanted} (`pool.resize(…)` does it without a restart), and "
            "look again. All pools together must stay under max_connections.",
        ),
    )


def _too_large(use: PoolUse, limits: PoolThresholds) -> Finding | None:
    mean = use.mean_in_use
    if mean is None:
        return None
    wanted = needed(mean)
    if use.max_size <= limits.pool_large_factor * wanted:
        return None
    return Finding(
        code="pool.too_large",
        severity=Severity.info,
        subject=use.name,
        title=f"{use.max_size} connections are allowed, about {wanted} are needed",
        why="Each open connection costs the server memory, and a burst that uses them all runs "
        "more statements at once than are fast together.",
        evidence=_evidence(use)
        | {"mean_in_use": Quantity(round(mean, 2), "count"), "needed": Quantity(wanted, "count")},
        fix=Fix(
            advice=f"max_size = {wanted} covers this load with room for its peaks. Look at the "
            "busiest hour before you change it."
        ),
    )


def over_max_connections(
    planned: Sequence[Planned], seen: Iterable[ServiceUse], slots: Slots
) -> Iterator[Finding]:
    """pool.over_max_connections: what all services may open, against what the server takes.

    A service that is not named counts with the connections that it has now.
    """
    named = {p.name for p in planned}
    others = [s for s in seen if s.name not in named and s.username not in named]
    total = sum(p.connections for p in planned) + sum(s.connections for s in others)
    allowed = slots.max_connections - slots.reserved
    if not planned or total <= allowed:
        return
    yield Finding(
        code="pool.over_max_connections",
        severity=Severity.critical,
        subject="max_connections",
        title=f"all pools together may open {total:,} connections, the server takes {allowed:,}",
        why="At full load the last services to open theirs are refused with “too many clients”, "
        "and a restart in a busy hour cannot come back.",
        evidence={
            **{p.name: Quantity(p.connections, "count") for p in planned},
            "others_now": Quantity(sum(s.connections for s in others), "count"),
            "max_connections": Quantity(slots.max_connections, "count"),
            "reserved": Quantity(slots.reserved, "count"),
        },
        fix=Fix(
            advice=f"Make the pools smaller by {total - allowed:,} in all (filban pool bench tells "
            "which size is enough), put PgBouncer in front, or raise max_connections.",
            caution="max_connections takes effect at a restart, on every standby first. While a "
            "deployment is rolled out, old and new instances are both connected.",
        ),
    )
