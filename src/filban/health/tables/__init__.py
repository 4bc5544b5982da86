"""What has become of the tables: statistics, dead rows, wasted space, and how the cache serves."""

from filban.health.tables import collect
from filban.health.tables.rules import BloatThresholds, CacheThresholds, VacuumThresholds
from filban.pg.check import Check

CHECKS = (
    Check(
        "vacuum",
        ("vacuum.stale_statistics", "vacuum.dead_tuples"),
        VacuumThresholds,
        collect.vacuum,
    ),
    Check("table bloat", ("bloat.table",), BloatThresholds, collect.bloat),
    Check("cache", ("cache.hit_ratio",), CacheThresholds, collect.cache),
)
