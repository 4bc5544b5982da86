"""Backups: so far whether WAL archiving works, as `filban check` asks it."""

from filban.backup import collect
from filban.backup.rules import ArchiveThresholds
from filban.pg.check import Check

CHECKS: tuple[Check, ...] = (
    Check(
        "archiver",
        ("archive.failing", "archive.not_configured"),
        ArchiveThresholds,
        collect.archiver,
    ),
)
