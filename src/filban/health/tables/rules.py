"""Tables that autovacuum has not kept up with, wasted space, the cache -> findings. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.health.tables.rows import CacheUse, TableActivity, TableSpace
from filban.units import duration, size

# So many tables without statistics are named one by one; beyond, an upgrade or a restore has left
# all of them so, and one ANALYZE of the database is the fix.
TABLES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class VacuumThresholds:
    """The ratio is to autovacuum's own trigger for the table (threshold + scale factor x rows): at
    twice the trigger it has failed to come. A table analysed two minutes ago (two default
    autovacuum_naptime) is one that it had no time for yet. Below these row counts neither a wrong
    plan nor dead rows cost what a person would notice; filban's own."""

    vacuum_trigger_ratio: float = 2.0
    stale_minimum_rows: float = 1_000
    stale_minimum_seconds: float = 120.0
    dead_minimum_rows: float = 10_000


@dataclass(frozen=True, slots=True)
class BloatThresholds:
    """Sources: PgHero names bloat from 100 MB on; a tenth of that is worth knowing only (filban's
    own), and below the estimate says little. Half of a table wasted is what the estimate can tell
    from its own error, and about where a rewrite pays."""

    bloat_info_wasted_bytes: float = 10 * 1024**2
    bloat_warning_wasted_bytes: float = 100 * 1024**2
    bloat_minimum_percent: float = 50.0

    def smallest(self) -> int:
        """A table smaller than this is no finding; at least one byte has to be wasted."""
        return max(1, int(min(self.bloat_info_wasted_bytes, self.bloat_warning_wasted_bytes)))


@dataclass(frozen=True, slots=True)
class CacheThresholds:
    """Sources: PgHero and Heroku want 99 %; below 90 % one page in ten leaves shared_buffers.
    100,000 reads (800 MB) are the sample below which the ratio is that of a cold start."""

    cache_info_percent: float = 99.0
    cache_warning_percent: float = 90.0
    cache_minimum_reads: float = 100_000


def stale_statistics(
    tables: Iterable[TableActivity], database: str, limits: VacuumThresholds
) -> Iterator[Finding]:
    """vacuum.stale_statistics: one a table, or one for them all when many were never analysed."""
    mine = [t for t in tables if not t.system and t.rows >= limits.stale_minimum_rows]
    never = [t for t in mine if t.analysed is False]
    if len(never) > TABLES_SHOWN:
        yield _database_never_analysed(database, never)
    else:
        yield from map(_never_analysed, never)
    for t in mine:
        enough = t.modified >= t.analyze_trigger * limits.vacuum_trigger_ratio
        ago = math.inf if t.analysed_seconds_ago is None else t.analysed_seconds_ago
        if t.analysed and enough and ago >= limits.stale_minimum_seconds:
            yield _stale(t)


def _database_never_analysed(database: str, never: Sequence[TableActivity]) -> Finding:
    largest = max(never, key=lambda t: (t.rows, t.name))
    return Finding(
        code="vacuum.stale_statistics",
        severity=Severity.warning,
        subject=f"database {database}",
        title=f"{len(never):,} tables have no statistics for the planner",
        why="So it is after a restore, and after pg_upgrade before 18, until somebody runs "
        "ANALYZE: plans are guesses.",
        evidence={
            "tables": Quantity(len(never), "count"),
            "largest": Quantity(largest.name),
            "rows": Quantity(largest.rows, "rows"),
        },
        fix=Fix(sql="ANALYZE;", lock="SHARE UPDATE EXCLUSIVE"),
    )


def _never_analysed(t: TableActivity) -> Finding:
    why = "The planner guesses how many rows each condition returns."
    if t.partitioned:
        why += " Autovacuum analyses partitions only, never the partitioned table: schedule this."
    return Finding(
        code="vacuum.stale_statistics",
        severity=Severity.warning,
        subject=t.name,
        title=f"A table of {t.rows:,} rows was never analysed",
        why=why,
        evidence={"rows": Quantity(t.rows, "rows"), "modified": Quantity(t.modified, "rows")},
        fix=_analyze(t),
    )


def _stale(t: TableActivity) -> Finding:
    ago = t.analysed_seconds_ago
    since = "since it was last analysed" if ago is None else f"in the last {duration(ago)}"
    return Finding(
        code="vacuum.stale_statistics",
        severity=Severity.warning,
        subject=t.name,
        title=f"{t.modified:,} rows changed {since} without an ANALYZE",
        why=f"Autovacuum comes from {t.analyze_trigger:,.0f} changes on and has not come: plans "
        "for this table rest on what it was then.",
        evidence={
            "modified": Quantity(t.modified, "rows"),
            "rows": Quantity(t.rows, "rows"),
            "trigger": Quantity(round(t.analyze_trigger), "rows"),
        },
        fix=_analyze(t),
    )


def _analyze(t: TableActivity) -> Fix:
    return Fix(sql=f"ANALYZE {t.quoted};", lock="SHARE UPDATE EXCLUSIVE")


def dead_tuples(tables: Iterable[TableActivity], limits: VacuumThresholds) -> Iterator[Finding]:
    """vacuum.dead_tuples, one a table."""
    for t in tables:
        enough = max(limits.dead_minimum_rows, t.vacuum_trigger * limits.vacuum_trigger_ratio)
        if t.partitioned or t.dead < enough:
            continue
        percent = 100.0 * t.dead / (t.dead + t.rows)
        ago = t.vacuumed_seconds_ago
        yield Finding(
            code="vacuum.dead_tuples",
            severity=Severity.warning,
            subject=t.name,
            title=f"{t.dead:,} dead rows, {percent:.0f} % of the table",
            why=f"Autovacuum comes from {t.vacuum_trigger:,.0f} on and has not caught up. Every "
            "scan reads the dead rows too, and the space is not used again. Where a vacuum does "
            "not help, an old transaction or slot holds it back (transaction.long, "
            "prepared.orphaned).",
            evidence={
                "dead": Quantity(t.dead, "rows"),
                "live": Quantity(t.rows, "rows"),
                "trigger": Quantity(round(t.vacuum_trigger), "rows"),
                "last_vacuum": Quantity("never seen")
                if ago is None
                else Quantity(round(ago), "seconds"),
            },
            fix=Fix(
                sql=f"VACUUM (ANALYZE) {t.quoted};",
                lock="SHARE UPDATE EXCLUSIVE",
                caution="Reads the table and its indexes; not inside a transaction.",
            ),
        )


def bloat(spaces: Iterable[TableSpace], limits: BloatThresholds) -> Iterator[Finding]:
    """bloat.table, one a table."""
    for s in spaces:
        if s.needed_bytes is None:
            continue
        wasted = s.size_bytes - s.needed_bytes
        percent = 100.0 * wasted / s.size_bytes if s.size_bytes else 0.0
        if wasted < limits.smallest() or percent < limits.bloat_minimum_percent:
            continue
        much = wasted >= limits.bloat_warning_wasted_bytes
        yield Finding(
            code="bloat.table",
            severity=Severity.warning if much else Severity.info,
            subject=s.name,
            title=f"About {size(wasted)} of {size(s.size_bytes)} are empty ({percent:.0f} %)",
            why="Scans read the empty pages and they take up cache, backups and disk. This is an "
            "estimate from the planner's statistics; pgstattuple measures.",
            evidence={
                "size": Quantity(s.size_bytes, "bytes"),
                "needed_estimate": Quantity(s.needed_bytes, "bytes"),
                "wasted_estimate": Quantity(wasted, "bytes"),
                "wasted_percent": Quantity(round(percent, 1), "percent"),
            },
            fix=Fix(
                sql=f"VACUUM (FULL, ANALYZE) {s.quoted};",
                lock="ACCESS EXCLUSIVE",
                caution="Nobody reads or writes the table meanwhile, and it needs room for a "
                f"second copy of about {size(s.needed_bytes)}; pg_repack works while it is used.",
            ),
        )


def cache_hit(use: CacheUse, shared_buffers: int, limits: CacheThresholds) -> Iterator[Finding]:
    """cache.hit_ratio: at most one finding. shared_buffers in bytes."""
    if use.read < max(1, limits.cache_minimum_reads):
        return
    percent = 100.0 * use.hit / (use.hit + use.read)
    if percent >= limits.cache_info_percent:
        return
    low = percent < limits.cache_warning_percent
    since = "" if use.window_seconds is None else f" in {duration(use.window_seconds)}"
    yield Finding(
        code="cache.hit_ratio",
        severity=Severity.warning if low else Severity.info,
        subject="shared_buffers",
        title=f"{percent:.1f} % of page reads were served from shared_buffers",
        why=f"{use.read:,} pages{since} came from the operating system's cache or the disk. "
        "Large sequential scans alone can do this: see which statements read most before buying "
        "memory.",
        evidence={
            "hit_percent": Quantity(round(percent, 2), "percent"),
            "hits": Quantity(use.hit, "pages"),
            "reads": Quantity(use.read, "pages"),
            "shared_buffers": Quantity(shared_buffers, "bytes"),
        },
        fix=Fix(
            advice=f"Index what is scanned whole; raise shared_buffers (now {size(shared_buffers)}"
            ") towards a quarter of the machine's memory (PostgreSQL's manual, 20.4). The ratio is "
            "counted since the last reset: look again after some hours.",
            caution="shared_buffers takes effect at a restart.",
        ),
    )
