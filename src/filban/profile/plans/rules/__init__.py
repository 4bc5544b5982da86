"""Pure rules: a plan (and what the server told about its tables) -> findings.

Each module has its thresholds in a frozen dataclass, whose docstring names their sources, and
`find(plan, known)`. CODES are all codes that `filban explain` may find.
"""

from __future__ import annotations

from filban.finding import Finding, in_order
from filban.profile.plans.model import Plan
from filban.profile.plans.rules import (
    estimates,
    joins,
    overhead,
    scans,
    shapes,
    spills,
)
from filban.profile.plans.rules.common import NOTHING_KNOWN, Known
from filban.profile.plans.rules.estimates import misjudged

_RULES = (estimates, scans, spills, joins, shapes, overhead)
CODES: tuple[str, ...] = tuple(code for rule in _RULES for code in rule.CODES)


def judge(plan: Plan, known: Known = NOTHING_KNOWN) -> tuple[Finding, ...]:
    """Every finding about one plan, worst first. Without ANALYZE few rules can say anything."""
    return in_order(finding for rule in _RULES for finding in rule.find(plan, known))


__all__ = ["CODES", "NOTHING_KNOWN", "Known", "judge", "misjudged"]
