"""Which index: what those that exist are worth, and what is missing."""

from filban.index import upkeep
from filban.pg.check import Check

CHECKS: tuple[Check, ...] = upkeep.CHECKS
