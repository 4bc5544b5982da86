"""Whether WAL reaches the archive."""

from filban.backup.archive import collect
from filban.backup.archive.rules import ArchiveThresholds
from filban.pg.check import Check

CHECKS: tuple[Check, ...] = (
    Check(
        "archiver",
        ("archive.not_configured", "archive.failing", "archive.lag"),
        ArchiveThresholds,
        collect.archive,
    ),
)
