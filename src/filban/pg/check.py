"""The shape of one part of `filban check`: what a feature contributes to it.

A feature package exports `CHECKS: tuple[Check, ...]`; `filban.flows.check` runs them over one
session and gathers their outcomes into a report.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from filban.finding import Finding
from filban.pg.session import Session


@dataclass(frozen=True, slots=True)
class Hidden:
    """Something that this role may not see: reported as such, never as zero or as fine.

    what: the thing, as a person names it ("other users' queries"); remedy: SQL that grants it.
    """

    what: str
    remedy: str = "grant pg_monitor"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check found. facts: JSON-able numbers, units in the key names."""

    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[Hidden, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, the codes it may find, its thresholds and what runs it.

    thresholds: a frozen dataclass of numbers with defaults; each field's unit is in its name and
    its source in the class's docstring. filban.toml's [check.thresholds] overrides fields by name.
    """

    name: str
    codes: tuple[str, ...]
    thresholds: type[Any]
    run: Callable[[Session, Any], Awaitable[Outcome]]
