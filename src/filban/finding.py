"""The shape that every room speaks: findings with evidence, gathered in a report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal


class Severity(IntEnum):
    """How much it matters; larger is worse.

    critical: data or availability is at risk now or within days.
    warning: it costs time, space or safety; plan the fix.
    info: worth knowing; nothing has to be done (and nothing is said as a verdict).
    """

    info = 1
    warning = 2
    critical = 3

    def __str__(self) -> str:
        return self.name


Unit = Literal[
    "", "bytes", "rows", "seconds", "ms", "count", "percent", "ratio", "xids", "pages",
    "per_second", "date",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number (or one name) of evidence with its unit. `ratio` is 0..1, `percent` 0..100."""

    value: int | float | str | bool
    unit: Unit = ""


@dataclass(frozen=True, slots=True)
class Fix:
    """What to paste. Exactly one of `sql` and `command` is set, unless only advice can be given.

    lock: what it will lock, in PostgreSQL's own lock names, or "none".
    reversible: whether it can be undone without restoring a backup.
    caution: what to think of before running it.
    """

    sql: str = ""
    command: str = ""
    advice: str = ""
    lock: str = "none"
    reversible: bool = True
    caution: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One verdict. `code` is stable and dotted; code + subject identify it over time.

    subject: the object, as `schema.name` or another name a person recognises on that server.
    title: one short sentence; why: what it costs, in a sentence or two.
    """

    code: str
    severity: Severity
    subject: str
    title: str
    why: str
    evidence: Mapping[str, Quantity] = field(default_factory=dict)
    fix: Fix | None = None

    @property
    def docs(self) -> str:
        """Where the code is explained, relative to the documentation's root."""
        return f"findings/{self.code}.md"

    @property
    def fingerprint(self) -> str:
        """Carries suppression and history: 12 hex digits over code and subject."""
        return hashlib.sha256(f"{self.code}\0{self.subject}".encode()).hexdigest()[:12]

    def as_json(self) -> dict[str, Any]:
        """Stable keys, see the command line's contract in the docs."""
        return {
            "code": self.code,
            "severity": str(self.severity),
            "subject": self.subject,
            "title": self.title,
            "why": self.why,
            "evidence": {
                name: {"value": q.value, "unit": q.unit} for name, q in self.evidence.items()
            },
            "fix": None
            if self.fix is None
            else {
                "sql": self.fix.sql,
                "command": self.fix.command,
                "advice": self.fix.advice,
                "lock": self.fix.lock,
                "reversible": self.fix.reversible,
                "caution": self.fix.caution,
            },
            "docs": self.docs,
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What terminal, JSON, web, alerts and metrics all take.

    facts: JSON-able numbers about the subject (server, database, run), in display order.
    """

    title: str
    findings: tuple[Finding, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def worst(self) -> Severity | None:
        """The highest severity, or None when there is no finding."""
        return max((f.severity for f in self.findings), default=None)

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "findings": [f.as_json() for f in self.findings],
            "facts": dict(self.facts),
        }


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Worst first, then by code and subject: the order in which a person should read them."""
    return tuple(sorted(findings, key=lambda f: (-f.severity, f.code, f.subject)))


@dataclass(frozen=True, slots=True)
class Ignore:
    """A suppression, written CODE or CODE:SUBJECT."""

    code: str
    subject: str | None = None

    @classmethod
    def parse(cls, text: str) -> Ignore:
        code, colon, subject = text.partition(":")
        return cls(code.strip(), subject.strip() if colon else None)

    def matches(self, finding: Finding) -> bool:
        return self.code == finding.code and self.subject in (None, finding.subject)
