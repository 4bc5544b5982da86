"""Which index: so far what `filban check` says of those there are and those that are missing."""

from filban.index import collect
from filban.index.rules import ForeignKeyThresholds, IndexBloatThresholds, UsageThresholds
from filban.pg.check import Check

CHECKS: tuple[Check, ...] = (
    Check(
        "indexes",
        ("index.invalid", "index.duplicate", "index.redundant", "index.unused"),
        UsageThresholds,
        collect.indexes,
    ),
    Check(
        "foreign keys",
        ("index.missing_foreign_key",),
        ForeignKeyThresholds,
        collect.foreign_keys,
    ),
    Check("index bloat", ("bloat.index",), IndexBloatThresholds, collect.bloat),
)
