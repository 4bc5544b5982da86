"""What is wrong with a backup or with its WAL, in one shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from filban.finding import Finding, Fix, Quantity, Severity

# Stable codes -> (title, why it matters, what to do). Each has its page in docs/findings.
_CODES: Mapping[str, tuple[str, str, str]] = {
    "backup.manifest": (
        "The backup's manifest cannot be trusted",
        "Nothing in the backup can be checked without it: it may be whole, and nobody can say so.",
        "Take a new full backup now; keep this one until a drill has proven the new one.",
    ),
    "backup.missing": (
        "A file of the backup is missing",
        "A restore would make a cluster without that file: tables that cannot be read, or a server "
        "that does not start.",
        "Take a new full backup now. An older backup and the WAL since it can still be whole.",
    ),
    "backup.damaged": (
        "A file of the backup is not what was backed up",
        "A restore would bring the damage into the new cluster, where it is found by the first "
        "query that reads it, or by nobody.",
        "Take a new full backup now, and look at the disk that this one lies on.",
    ),
    "backup.extra": (
        "The backup has a file that its manifest does not know",
        "Somebody or something has written into the backup: a restore would take the file along.",
        "Find out where it comes from; take a new full backup if nobody knows.",
    ),
    "backup.chain": (
        "The backup depends on another one that is not here or has changed",
        "An incremental backup is worth nothing without each of those that it builds on.",
        "Take a new full backup now.",
    ),
    "backup.foreign": (
        "The backup or its WAL is another cluster's",
        "WAL of one cluster cannot be replayed on another's backup; mixed in one repository, a "
        "restore ends in the middle or loses what came later.",
        "Give each cluster a repository of its own (after initdb or pg_upgrade too).",
    ),
    "wal.gap": (
        "WAL is missing",
        "No restore can get past the hole: what was committed after it is lost with the server.",
        "Take a new backup now: recovery is possible again from its end on.",
    ),
    "wal.damaged": (
        "A WAL segment is damaged",
        "Recovery ends at the damage, some versions without an error: later commits are missing.",
        "Take a new backup now; if the server still has the segment in pg_wal, archive it again.",
    ),
    "wal.truncated": (
        "A WAL segment is not whole",
        "Recovery ends where the segment does: later commits are missing.",
        "Take a new backup now; if the server still has the segment in pg_wal, archive it again.",
    ),
    "wal.split": (
        "Two servers have written the same WAL positions",
        "A restore to the newest timeline does not have what the old one committed after the "
        "promotion: after a split brain these are rows that clients were told are safe.",
        "Restore both (--timeline) and compare; then take a new backup and expire the old WAL.",
    ),
    "wal.history": (
        "A timeline's history file is missing or damaged",
        "Without it recovery cannot follow the promotion: it ends on the old timeline, without "
        "what was committed since, or does not start at all.",
        "Copy the .history file from pg_wal of the server that was promoted, or take a new backup.",
    ),
}
CODES = tuple(_CODES)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not good. `subject` names it: BACKUP/path, or a segment's name.

    `detail` is one sentence with what was expected and what was found.
    """

    code: str
    subject: str
    detail: str
    evidence: Mapping[str, Quantity] = field(default_factory=dict)

    def finding(self) -> Finding:
        """The same for terminal, JSON and pages; every fault is critical: data is at risk."""
        title, why, advice = _CODES[self.code]
        return Finding(
            code=self.code,
            severity=Severity.critical,
            subject=self.subject,
            title=f"{title}: {self.detail}",
            why=why,
            evidence=self.evidence,
            fix=Fix(advice=advice),
        )
