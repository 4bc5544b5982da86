"""What findings share: their frame, statements in one line, settings as a fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.profile.bottlenecks.interval import Interval
from filban.profile.bottlenecks.load import StatementLoad
from filban.profile.bottlenecks.parts import Part

# Mending what takes less than a tenth can win one part in ten at most (Amdahl), as in plan.*.
LEAST_SHARE = 0.10
# From half of the session time on it is the first thing to do.
MAIN_SHARE = 0.50
_LINE = 160


@dataclass(frozen=True, slots=True)
class Held:
    """A part and its share (0..1) of all session time."""

    part: Part
    share: float

    @property
    def severity(self) -> Severity:
        """warning where most of the time is at stake, info below."""
        return Severity.warning if self.share >= MAIN_SHARE else Severity.info


def found(
    held: Held,
    subject: str,
    title: str,
    why: str,
    fix: Fix,
    evidence: Mapping[str, Quantity],
    *,
    severity: Severity | None = None,
) -> Finding:
    """A finding of the part's code; evidence begins with the sessions that it holds."""
    return Finding(
        code=f"bottleneck.{held.part.name}",
        severity=severity or held.severity,
        subject=subject,
        title=title,
        why=why,
        evidence={
            "average_sessions": Quantity(round(held.part.sessions, 2), "count"),
            "share": Quantity(round(100 * held.share, 1), "percent"),
            **evidence,
        },
        fix=fix,
    )


def one_line(query: str) -> str:
    text = " ".join(query.split())
    return text if len(text) <= _LINE else text[: _LINE - 1] + "…"


def name_of(statement: StatementLoad | None) -> str:
    """A statement as a subject: its id where there is one, else its text."""
    if statement is None:
        return "server"
    if statement.query_id is not None:
        return f"query {statement.query_id}"
    return one_line(statement.query) or "server"


def used_by(interval: Interval, statement: StatementLoad | None) -> dict[str, Quantity]:
    """Evidence on one statement: its sessions, and its calls and time by pg_stat_statements."""
    if statement is None:
        return {}
    known = interval.statement(statement.query_id)
    seen = {"statement_sessions": Quantity(round(statement.total, 2), "count")}
    if known is None:
        return seen
    return seen | {
        "calls": Quantity(round(known.calls / interval.seconds, 2), "per_second"),
        "mean_time": Quantity(round(known.exec_ms / known.calls, 3), "ms"),
    }


def events(interval: Interval, *types: str) -> dict[str, Quantity]:
    """Evidence: average sessions in the most frequent wait events of some types."""
    return {
        name: Quantity(round(sessions, 2), "count")
        for name, sessions in interval.load.events_of(*types)
    }


def setting(interval: Interval, name: str, value: str, caution: str) -> Fix:
    """Set what a reload is enough for. Managed services keep ALTER SYSTEM to themselves."""
    if interval.managed_by is not None:
        return Fix(
            advice=f"Set {name} = {value} among the parameters that {interval.managed_by} lets "
            "you change.",
            caution=caution,
        )
    return Fix(sql=f"ALTER SYSTEM SET {name} = {value};\nSELECT pg_reload_conf();", caution=caution)
