"""What is wrong with a server now that belongs to no other feature."""

from filban.health import activity, exhaustion, installation, tables
from filban.pg.check import Check

CHECKS: tuple[Check, ...] = (
    *activity.CHECKS,
    *exhaustion.CHECKS,
    *tables.CHECKS,
    *installation.CHECKS,
)
