"""What `filban queries` answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filban.finding import Finding, Report
from filban.profile.statements.history import Point
from filban.profile.statements.report import Statement


@dataclass(frozen=True, slots=True)
class Queries:
    """statements: ranked, all of them. points: of the one statement asked for, over time; plans:
    its slowest one in the log."""

    title: str
    statements: tuple[Statement, ...]
    findings: tuple[Finding, ...]
    facts: Mapping[str, Any]
    one: bool = False
    points: tuple[Point, ...] = ()
    plans: tuple[str, ...] = ()

    def report(self) -> Report:
        return Report(self.title, self.findings, self.facts)

    def as_json(self) -> dict[str, Any]:
        """{"statements", "findings", "facts"}; with --id also "points" and "plans"."""
        document: dict[str, Any] = {
            "statements": list(self.statements),
            "findings": [f.as_json() for f in self.findings],
            "facts": dict(self.facts),
        }
        if self.one:
            document |= {"points": [_point(p) for p in self.points], "plans": list(self.plans)}
        return document


def _point(point: Point) -> dict[str, Any]:
    c = point.counts
    return {
        "start": point.start, "end": point.end, "calls": c.calls, "total_ms": c.exec_ms,
        "mean_ms": c.mean_ms, "stddev_ms": c.stddev_ms, "rows": c.rows,
        "blocks": c.hit_blocks + c.read_blocks,
    }  # fmt: skip
