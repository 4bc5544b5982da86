"""Connections against the limits that refuse them -> findings. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.health.activity.rows import ConnectionUse


@dataclass(frozen=True, slots=True)
class ConnectionThresholds:
    """Sources: awesome-prometheus-alerts and pgEdge warn at 80 %; check_postgres `backends` is
    critical at 95 %; HikariCP closes connections that were idle for 600 s."""

    connections_warning_percent: float = 80.0
    connections_critical_percent: float = 95.0
    idle_connection_seconds: float = 600.0


def near_limit(
    uses: Iterable[ConnectionUse], limits: ConnectionThresholds, managed_by: str | None = None
) -> Iterator[Finding]:
    """connections.near_limit, one a limit."""
    for use in uses:
        percent = 100.0 * use.used / use.allowed if use.allowed > 0 else 0.0
        if percent < limits.connections_warning_percent:
            continue
        critical = percent >= limits.connections_critical_percent
        yield Finding(
            code="connections.near_limit",
            severity=Severity.critical if critical else Severity.warning,
            subject="server" if use.name is None else f"{use.scope} {use.name}",
            title=f"{use.used:,} of {use.allowed:,} connections are taken ({percent:.0f} %)",
            why=_why_near_limit(use),
            evidence={
                "used": Quantity(use.used, "count"),
                "allowed": Quantity(use.allowed, "count"),
                "used_percent": Quantity(round(percent, 1), "percent"),
                **_states(use),
            },
            fix=_fix_near_limit(use, limits, managed_by),
        )


def _why_near_limit(use: ConnectionUse) -> str:
    whose = {"server": "every client", "database": "its clients", "role": "its clients"}[use.scope]
    return (
        f"At the limit {whose} without the right to a reserved slot is refused with "
        '"too many clients" or "too many connections".'
    )


def _states(use: ConnectionUse) -> dict[str, Quantity]:
    """By state; left out when other roles' sessions are hidden, because zero would be untrue."""
    if use.hidden:
        return {}
    return {
        "active": Quantity(use.active, "count"),
        "idle": Quantity(use.idle, "count"),
        "idle_in_transaction": Quantity(use.idle_in_transaction, "count"),
    }


def _fix_near_limit(
    use: ConnectionUse, limits: ConnectionThresholds, managed_by: str | None
) -> Fix:
    warning = limits.connections_warning_percent / 100
    if use.idle_long and use.used - use.idle_long < use.allowed * warning:
        return Fix(
            sql=use.terminate_idle_sql,
            caution="Pools open new connections when they need them: the lasting cure is a pool "
            "with a maximum in each service, or PgBouncer in front.",
        )
    # with a quarter of room below the threshold, so that the finding does not come back at once
    roomy = max(use.allowed + 1, math.ceil(use.used / (warning * 0.75)))
    if use.scope == "server" and managed_by is not None:
        return Fix(
            advice=f"Set max_connections = {roomy + use.reserved} among the parameters that "
            f"{managed_by} lets you change, or take a larger plan; it takes effect at a restart."
        )
    if use.scope == "server":
        return Fix(
            sql=f"ALTER SYSTEM SET max_connections = {roomy + use.reserved};",
            caution="Takes effect at a restart, and on every standby first. More connections than "
            "a few per core make a server slower: first look for pools without a maximum.",
        )
    return Fix(
        sql=f"ALTER {use.scope.upper()} {use.quoted} CONNECTION LIMIT {roomy};",
        caution="Somebody has set this limit on purpose; max_connections still holds above it.",
    )
