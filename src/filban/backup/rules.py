"""The archiver -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from filban.backup.rows import Archiver
from filban.finding import Finding, Fix, Quantity, Severity
from filban.units import duration


@dataclass(frozen=True, slots=True)
class ArchiveThresholds:
    """The server tries a segment three times a minute (NUM_ARCHIVE_RETRIES in pgarch.c): what has
    failed for five minutes has failed some fifteen times, and will not mend by itself."""

    archive_failing_critical_seconds: float = 300.0


def archiver(row: Archiver, *, configured: bool, limits: ArchiveThresholds) -> Iterator[Finding]:
    """archive.failing and archive.not_configured."""
    if not configured:
        yield Finding(
            code="archive.not_configured",
            severity=Severity.warning,
            subject="archive_command",
            title="archive_mode is on, and there is nothing to archive with",
            why="Every finished WAL segment is kept in pg_wal for an archiver that never comes, "
            "until the disk is full.",
            evidence={"archived": Quantity(row.archived, "count")},
            fix=Fix(
                sql="ALTER SYSTEM SET archive_command = '/bin/true';\nSELECT pg_reload_conf();",
                caution="That throws the WAL away: it lets the server go on, it is no backup. Set "
                "a real archive_command, or archive_mode = off at the next restart.",
            ),
        )
    if row.failing:
        yield _failing(row, limits)


def _failing(row: Archiver, limits: ArchiveThresholds) -> Finding:
    ago = row.last_archived_seconds
    since = "never" if ago is None else f"{duration(ago)} ago"
    lasting = ago is None or ago >= limits.archive_failing_critical_seconds
    evidence = {
        "failed": Quantity(row.failed, "count"),
        "last_failed": Quantity(row.last_failed or ""),
        "last_archived": Quantity(row.last_archived or "never"),
    }
    if ago is not None:
        evidence["last_archived_age"] = Quantity(round(ago), "seconds")
    return Finding(
        code="archive.failing",
        severity=Severity.critical if lasting else Severity.warning,
        subject=row.last_failed or "archiver",
        title=f"Archiving fails; the last segment went through {since}",
        why="Whatever is written since then cannot be restored from the archive, and pg_wal grows "
        "until the disk is full. The server's log has the command's own words.",
        evidence=evidence,
        fix=Fix(
            sql="SELECT name, setting FROM pg_settings WHERE name LIKE 'archive%';",
            advice="Run the archive_command by hand as the server's user for the segment named; it "
            "is tried again by itself once it works.",
        ),
    )
