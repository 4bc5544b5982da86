"""Is the data safe: WAL in the archive now, base backups and restores with them."""

from filban.backup import archive
from filban.pg.check import Check

CHECKS: tuple[Check, ...] = archive.CHECKS
