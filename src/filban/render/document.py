"""A report's facts as sections: the generic shape that terminal and HTML both draw.

A scalar fact belongs to the section it stands in; a mapping is a section of its own; a list of
mappings is a table; a list of scalars is one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from filban.finding import Finding, Report, Severity
from filban.render.quantity import fact

MANY = 5  # findings of one code that are shown in full; the rest are named


@dataclass(slots=True)
class Table:
    columns: list[str]
    rows: list[list[str]]


@dataclass(slots=True)
class Section:
    """title, label/value pairs, and named tables."""

    title: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    tables: list[tuple[str, Table]] = field(default_factory=list)


def sections(facts: Mapping[str, Any], title: str = "") -> list[Section]:
    """The facts in their own order; empty ones are left out."""
    here = Section(title)
    below: list[Section] = []
    for key, value in facts.items():
        label = key.replace("_", " ")
        if isinstance(value, Mapping):
            below += sections(value, f"{title} · {label}" if title else label)
        elif _is_table(value):
            here.tables.append((label, _table(value)))
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if value:
                here.facts.append((label, ", ".join(fact("", v)[1] for v in value)))
        elif value is not None:
            here.facts.append(fact(key, value))
    return ([here] if here.facts or here.tables else []) + below


def _is_table(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(row, Mapping) for row in value)
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    labels = [fact(k, next((r[k] for r in rows if r.get(k) is not None), None))[0] for k in keys]
    cells = [["" if r.get(k) is None else fact(k, r[k])[1] for k in keys] for r in rows]
    return Table(labels, cells)


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one code and severity: the first ones in full, the rest by subject."""

    shown: tuple[Finding, ...]
    more: tuple[Finding, ...]


def groups(report: Report, *, everything: bool = False) -> list[Group]:
    """In the report's order, so that 200 unused indexes do not bury a full disk."""
    by_code: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in report.findings:
        by_code.setdefault((finding.severity, finding.code), []).append(finding)
    limit = len(report.findings) if everything else MANY
    return [Group(tuple(f[:limit]), tuple(f[limit:])) for f in by_code.values()]


def summary(report: Report) -> str:
    """One sentence that counts."""
    if not report.findings:
        hidden = report.facts.get("not_visible")
        return "Nothing to report in what this role may see." if hidden else "Nothing to report."
    names = {
        Severity.critical: ("critical", "critical"),
        Severity.warning: ("warning", "warnings"),
        Severity.info: ("note", "notes"),
    }
    parts = []
    for severity, (one, several) in names.items():
        count = sum(f.severity is severity for f in report.findings)
        if count:
            parts.append(f"{count:,} {one if count == 1 else several}")
    return ", ".join(parts)
