"""What may be set for the checks of indexes, with the source of each default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UsageThresholds:
    """Unused: a month sees the monthly jobs too; below a megabyte neither the writes nor the disk
    are what a person would notice. Redundant: below a megabyte it is worth knowing only, because a
    short index is faster to search than a long one. All filban's own."""

    unused_window_seconds: float = 30 * 86_400.0
    unused_minimum_bytes: float = 1024**2
    redundant_warning_bytes: float = 1024**2


@dataclass(frozen=True, slots=True)
class ForeignKeyThresholds:
    """For each deleted row of the referenced table, the referencing one is scanned: 10,000 rows
    take about a millisecond. Smaller tables count once deletes have made up for it in rows
    scanned. Both filban's own."""

    foreign_key_warning_rows: float = 10_000
    foreign_key_scanned_rows: float = 10_000_000


@dataclass(frozen=True, slots=True)
class IndexBloatThresholds:
    """Random inserts leave btree pages two thirds full, and that is healthy; half empty is not, and
    is beyond the estimate's own error. 100 MB as for tables (PgHero); a tenth of it is worth
    knowing only (filban's own)."""

    index_bloat_info_wasted_bytes: float = 10 * 1024**2
    index_bloat_warning_wasted_bytes: float = 100 * 1024**2
    index_bloat_minimum_percent: float = 50.0

    def smallest(self) -> int:
        """An index smaller than this is no finding; at least one byte has to be wasted."""
        warning = self.index_bloat_warning_wasted_bytes
        return max(1, int(min(self.index_bloat_info_wasted_bytes, warning)))
