"""A verification as a report, and how long ago a drill has passed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from filban.backup.shelf import Stored
from filban.backup.timeline.coverage import Window
from filban.backup.verify.check import Verified
from filban.finding import Finding, Fix, Quantity, Report, Severity, in_order
from filban.pg.lsn import format_lsn
from filban.units import duration

SECONDS_A_DAY = 86_400.0


def report(
    found: Verified,
    repository: str,
    drills: Sequence[Mapping[str, Any]],
    behind_bytes: int | None = None,
) -> Report:
    """Findings for every fault; facts with the backups and the recovery windows. `behind_bytes`:
    WAL that the server has and the archive has not."""
    good = "good" if found.is_good else f"NOT GOOD: {len(found.faults)} faults"
    title = f"{repository} is {good}" if found.backups else f"{repository} has no whole backup"
    return Report(
        title,
        in_order(f.finding() for f in found.faults),
        {
            "good": found.is_good and bool(found.backups),
            "repository": repository,
            "checked_bytes": found.bytes,
            "not_checked": list(found.unchecked),
            "archive_behind_bytes": behind_bytes,
            "last_passed_drill": last_passed(drills),
            "backups": [backup_row(b) for b in found.backups],
            "windows": [window_row(w) for w in found.windows],
        },
    )


def backup_row(one: Stored) -> dict[str, Any]:
    return {
        "backup": one.label,
        "timeline": one.timeline,
        "start_lsn": format_lsn(one.start_lsn),
        "end_lsn": format_lsn(one.end_lsn),
        "finished": one.finished_at.isoformat(),
        "size_bytes": one.bytes,
        "chain": " + ".join(one.chain),
    }


def window_row(one: Window) -> dict[str, Any]:
    return {
        "backup": one.backup,
        "timeline": one.timeline,
        "from_lsn": format_lsn(one.start),
        "to_lsn": format_lsn(one.end),
        "usable": one.is_usable,
        "missing": one.gap,
    }


def last_passed(drills: Sequence[Mapping[str, Any]]) -> str | None:
    """When the newest passed drill was, as it was noted; None without any."""
    return max((str(d["at"]) for d in drills if d.get("passed")), default=None)


def stale(
    repository: str, drills: Sequence[Mapping[str, Any]], max_age_days: float
) -> Iterator[Finding]:
    """drill.stale"""
    last = last_passed(drills)
    age = None
    if last is not None:
        age = (datetime.now(UTC) - datetime.fromisoformat(last)).total_seconds()
        if age <= max_age_days * SECONDS_A_DAY:
            return
    since = "No drill has ever passed" if age is None else f"No drill for {duration(age)}"
    evidence = {"allowed": Quantity(max_age_days * SECONDS_A_DAY, "seconds")}
    if age is not None:
        evidence["age"] = Quantity(round(age), "seconds")
    yield Finding(
        code="drill.stale",
        severity=Severity.critical,
        subject=repository,
        title=f"{since}: nobody knows whether these backups can be restored",
        why="A backup is only as good as its last restore. Most backups that failed when they were "
        "needed had looked good for months.",
        evidence=evidence,
        fix=Fix(command=f"filban backup drill --repo {repository}"),
    )
