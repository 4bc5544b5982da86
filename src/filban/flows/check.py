"""`filban check`: every feature's checks over one session, gathered into one report."""

from __future__ import annotations

import dataclasses
import difflib
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from filban import backup, health, index, persian, replication, tune
from filban.errors import ConfigError, NotSupported, RightsMissing, StatementFailed
from filban.finding import Finding, Ignore, Report, in_order
from filban.pg import Session, Target, session
from filban.pg.check import Check, Hidden, Outcome

CHECKS: tuple[Check, ...] = (
    *health.CHECKS,
    *index.CHECKS,
    *replication.CHECKS,
    *backup.CHECKS,
    *tune.CHECKS,
    *persian.CHECKS,
)
CODES: tuple[str, ...] = tuple(sorted({code for check in CHECKS for code in check.codes}))


async def run_check(
    target: str | Target | None = None,
    *,
    ignore: Iterable[Ignore] = (),
    thresholds: Mapping[str, float] | None = None,
) -> Report:
    """Look at one database and report what is wrong now, worst first. Reads only.

    ignore: findings to leave out; they are counted in facts["ignored"].
    thresholds: overrides by field name of the checks' threshold classes.
    Raises ConnectError, NotSupported, ConnectionLost, ConfigError (an unknown threshold or code).
    """
    values, rules = dict(thresholds or {}), tuple(ignore)
    _known("threshold", values, threshold_names())
    _known("finding", (rule.code for rule in rules), CODES)
    started = time.monotonic()
    async with session(target) as opened:
        outcomes = [(check, await _run(opened, check, values)) for check in CHECKS]
        facts = opened.server.facts()
    findings = [f for _, outcome in outcomes for f in outcome.findings]
    kept, ignored = _split(findings, rules)
    for _, outcome in outcomes:
        facts |= outcome.facts
    facts["not_visible"] = _hidden(outcome for _, outcome in outcomes)
    facts["ignored"] = [f"{f.code}:{f.subject}" for f in ignored]
    facts["checks"] = len(CHECKS)
    facts["codes"] = list(CODES)
    facts["seconds"] = round(time.monotonic() - started, 3)
    return Report(
        title=f'{opened.server.kind} "{opened.server.database}", '
        f"PostgreSQL {opened.server.version_text.split(' ')[0]}",
        findings=in_order(kept),
        facts=facts,
    )


async def _run(opened: Session, check: Check, values: Mapping[str, float]) -> Outcome:
    """One check. What this role or this server does not allow is reported, not raised."""
    names = {f.name for f in dataclasses.fields(check.thresholds)}
    limits = check.thresholds(**{k: v for k, v in values.items() if k in names})
    try:
        return await check.run(opened, limits)
    except RightsMissing as error:
        return Outcome(hidden=(Hidden(f"{check.name}: {error.message}"),))
    except (NotSupported, StatementFailed) as error:
        return Outcome(hidden=(Hidden(f"{check.name}: {error.message}", error.hint),))


def _hidden(outcomes: Iterable[Outcome]) -> list[dict[str, str]]:
    seen: dict[str, Hidden] = {h.what: h for o in outcomes for h in o.hidden}
    return [{"what": h.what, "remedy": h.remedy} for h in seen.values()]


def _split(
    findings: list[Finding], ignore: tuple[Ignore, ...]
) -> tuple[list[Finding], list[Finding]]:
    ignored = [f for f in findings if any(rule.matches(f) for rule in ignore)]
    return [f for f in findings if f not in ignored], ignored


def threshold_names() -> dict[str, Any]:
    """Every threshold that filban.toml may set, with its default."""
    return {f.name: f.default for check in CHECKS for f in dataclasses.fields(check.thresholds)}


def _known(kind: str, given: Iterable[str], names: Collection[str]) -> None:
    """A misspelt name that is silently passed over is worse than none."""
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f'did you mean "{near[0]}"?' if near else "known: " + ", ".join(sorted(names))
            raise ConfigError(f'there is no {kind} "{name}"', hint=hint)
