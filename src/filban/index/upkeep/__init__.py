"""Usage and upkeep: which indexes are broken, superfluous, unread, bloated or missing."""

from filban.index.upkeep import collect
from filban.index.upkeep.thresholds import (
    ForeignKeyThresholds,
    IndexBloatThresholds,
    UsageThresholds,
)
from filban.pg.check import Check

CHECKS: tuple[Check, ...] = (
    Check(
        "indexes",
        ("index.invalid", "index.duplicate", "index.redundant", "index.unused"),
        UsageThresholds,
        collect.usage,
    ),
    Check(
        "foreign keys",
        ("index.missing_foreign_key",),
        ForeignKeyThresholds,
        collect.missing_foreign_keys,
    ),
    Check("index bloat", ("bloat.index",), IndexBloatThresholds, collect.bloat),
)
