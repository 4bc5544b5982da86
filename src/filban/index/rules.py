"""Indexes -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from filban.finding import Finding, Fix, Quantity, Severity
from filban.index.rows import ForeignKey, Index, IndexSpace
from filban.units import duration, number, size

DROP_LOCK = "SHARE UPDATE EXCLUSIVE on the table"
STANDBYS = "Scans on standbys are counted there, not here: look at each of them first."


@dataclass(frozen=True, slots=True)
class UsageThresholds:
    """An index is called unused after a week, so that every weekly job has had its turn (the window
    of PostgreSQL's wiki and of PgHero is the reader's own), and from 1 MB on (pganalyze leaves out
    smaller ones); below either it is a note. Ten pages are what nobody would notice."""

    unused_window_seconds: float = 7 * 86_400.0
    unused_warning_bytes: float = 1024**2
    unused_minimum_bytes: float = 10 * 8192


@dataclass(frozen=True, slots=True)
class ForeignKeyThresholds:
    """Below a thousand rows the scan that replaces the index takes about 0.1 ms: a note only."""

    foreign_key_minimum_rows: float = 1_000


@dataclass(frozen=True, slots=True)
class IndexBloatThresholds:
    """A fresh btree is filled to 90 %, one after random inserts to about 70 %: from half of it
    wasted on, a rebuild pays. 100 MB are PgHero's; a note from 10 MB on."""

    index_bloat_percent: float = 50.0
    index_bloat_warning_bytes: float = 100 * 1024**2
    index_bloat_info_bytes: float = 10 * 1024**2


def invalid(indexes: Iterable[Index]) -> Iterator[Finding]:
    """index.invalid: left by a failed CREATE INDEX or REINDEX CONCURRENTLY."""
    for index in indexes:
        if index.is_valid or index.is_building or index.is_partitioned:
            continue
        leftover = index.name.rstrip("0123456789").endswith(("_ccnew", "_ccold"))
        yield Finding(
            code="index.invalid",
            severity=Severity.warning,
            subject=index.name,
            title=f"An invalid index of {size(index.size_bytes)} on {index.table_name}",
            why="No query can use it, and every write still maintains it. "
            + (
                "REINDEX CONCURRENTLY has left it behind; the index it was to replace is intact."
                if leftover
                else "CREATE INDEX CONCURRENTLY has failed (a deadlock, a timeout, a value that is "
                "there twice) and does not clean up."
            ),
            evidence={"size": Quantity(index.size_bytes, "bytes")},
            fix=_drop(index)
            if leftover
            else Fix(
                sql=f"REINDEX INDEX CONCURRENTLY {index.quoted};",
                lock=DROP_LOCK,
                caution="Where the index is not wanted any more: DROP INDEX CONCURRENTLY. A unique "
                "one fails again until its duplicates are gone.",
            ),
        )


def duplicate(indexes: Iterable[Index]) -> Iterator[Finding]:
    """index.duplicate, one for each superfluous twin; the one that enforces something stays."""
    for twins in _twins(indexes):
        kept, *others = sorted(twins, key=_worth)
        for index in others:
            if index.has_constraint or index.is_replica_identity or index.is_partition:
                continue
            yield Finding(
                code="index.duplicate",
                severity=Severity.warning,
                subject=index.name,
                title=f"The same index as {kept.name}",
                why="Every write maintains both, and no query needs the second one.",
                evidence={
                    "size": Quantity(index.size_bytes, "bytes"),
                    "twin": Quantity(kept.name),
                    "scans": Quantity(index.scans, "count"),
                    "twin_scans": Quantity(kept.scans, "count"),
                },
                fix=_drop(index),
            )


def _twins(indexes: Iterable[Index]) -> Iterator[list[Index]]:
    """Groups of indexes that hold the same entries in the same order."""
    by_entries: dict[object, list[Index]] = {}
    for i in indexes:
        if i.is_valid:
            key = (i.table_oid, i.method, i.columns, frozenset(i.included), i.predicate)
            by_entries.setdefault(key, []).append(i)
    yield from (twins for twins in by_entries.values() if len(twins) > 1)


def _worth(index: Index) -> tuple[bool, bool, bool, bool, int, str]:
    """Sorts the twin to keep first."""
    return (
        not index.has_constraint,
        not index.is_replica_identity,
        not index.is_partition,
        # of two unique ones, the stricter
        not (index.is_unique and index.nulls_not_distinct) if index.is_unique else True,
        -2 * int(index.is_unique) - int(index.scans > 0),
        index.name,
    )


def redundant(indexes: Iterable[Index]) -> Iterator[Finding]:
    """index.redundant: a btree that another one begins with, including all it covers.

    Without the duplicates: an index is dropped once.
    """
    everything = list(indexes)
    twice = {f.subject for f in duplicate(everything)}
    usable = [i for i in everything if i.is_valid and i.method == "btree" and i.name not in twice]
    by_table = groupby(sorted(usable, key=lambda i: (i.table_oid, i.name)), lambda i: i.table_oid)
    for _, group in by_table:
        here = list(group)
        for index in here:
            if index.is_needed or index.is_partition:
                continue
            wider = [other for other in here if _covers(other, index)]
            if wider:
                yield _redundant(index, min(wider, key=lambda i: (i.size_bytes, i.name)))


def _covers(wider: Index, index: Index) -> bool:
    if wider is index or wider.predicate != index.predicate:
        return False
    width = len(index.columns)
    if wider.columns[:width] != index.columns:
        return False
    if len(wider.columns) == width and len(set(wider.included) - set(index.included)) == 0:
        return False  # the same entries: that is index.duplicate, or `index` is the wider one
    return set(index.included) <= {*wider.included, *wider.keys}


def _redundant(index: Index, wider: Index) -> Finding:
    return Finding(
        code="index.redundant",
        severity=Severity.warning,
        subject=index.name,
        title=f"{wider.name} begins with the same columns",
        why="A query that could use this index can use the wider one, and every write pays for "
        "both.",
        evidence={
            "size": Quantity(index.size_bytes, "bytes"),
            "wider": Quantity(wider.name),
            "wider_size": Quantity(wider.size_bytes, "bytes"),
            "scans": Quantity(index.scans, "count"),
        },
        fix=_drop(
            index,
            "Where the wider index is many times larger, scans of it read more pages: compare the "
            "plans of the statements that use this one.",
        ),
    )


def unused(indexes: Iterable[Index], limits: UsageThresholds) -> Iterator[Finding]:
    """index.unused: not scanned since the statistics began, and needed for nothing else."""
    for index in indexes:
        if index.scans or index.is_needed or index.is_partition or index.is_partitioned:
            continue
        if not index.is_valid or index.size_bytes < limits.unused_minimum_bytes:
            continue
        window = index.window_seconds
        settled = window >= limits.unused_window_seconds
        large = index.size_bytes >= limits.unused_warning_bytes
        yield Finding(
            code="index.unused",
            severity=Severity.warning if settled and large else Severity.info,
            subject=index.name,
            title=f"An index of {size(index.size_bytes)} was not used in {duration(window)}",
            why="Every write maintains it, and it may keep updates from being HOT."
            + ("" if settled else " The statistics are too young for a verdict."),
            evidence={
                "size": Quantity(index.size_bytes, "bytes"),
                "scans": Quantity(index.scans, "count"),
                "table_rows": Quantity(index.table_rows, "rows"),
                "window": Quantity(round(window), "seconds"),
            },
            fix=_drop(index, f"{STANDBYS} A new index has had no time to be used."),
        )


def _drop(index: Index, caution: str = "") -> Fix:
    if index.is_partitioned:  # CONCURRENTLY is not to be had there
        return Fix(
            sql=f"DROP INDEX {index.quoted};",
            lock="ACCESS EXCLUSIVE on the table and its partitions",
            caution=caution,
        )
    return Fix(sql=f"DROP INDEX CONCURRENTLY {index.quoted};", lock=DROP_LOCK, caution=caution)


def missing_foreign_key(
    keys: Sequence[ForeignKey], limits: ForeignKeyThresholds
) -> Iterator[Finding]:
    """index.missing_foreign_key"""
    for key in keys:
        large = key.table_rows >= limits.foreign_key_minimum_rows
        yield Finding(
            code="index.missing_foreign_key",
            severity=Severity.warning if large else Severity.info,
            subject=f"{key.table_name}.{key.name}",
            title=f"No index serves the foreign key ({key.columns}) of {number(key.table_rows)} "
            "rows",
            why=f"Each DELETE from {key.referenced}, and each UPDATE of its key, reads all of "
            f"{key.table_name} while it holds its locks; so does every join from the parent.",
            evidence={
                "table_rows": Quantity(key.table_rows, "rows"),
                "parent_changes": Quantity(key.parent_changes, "rows"),
                "columns": Quantity(key.columns),
            },
            fix=Fix(
                sql=key.create_sql,
                lock="SHARE on the partitioned table, briefly" if key.is_partitioned else DROP_LOCK,
                caution="Every write to the table will maintain it: where parents are never "
                "deleted and nothing joins from them, do without.",
            ),
        )


def bloat(spaces: Iterable[IndexSpace], limits: IndexBloatThresholds) -> Iterator[Finding]:
    """bloat.index, by estimate."""
    for space in spaces:
        if space.needed_bytes is None or not space.visible:
            continue
        wasted = space.size_bytes - space.needed_bytes
        percent = 100.0 * wasted / space.size_bytes
        if wasted < limits.index_bloat_info_bytes or percent < limits.index_bloat_percent:
            continue
        large = wasted >= limits.index_bloat_warning_bytes
        yield Finding(
            code="bloat.index",
            severity=Severity.warning if large else Severity.info,
            subject=space.name,
            title=f"About {size(wasted)} of {size(space.size_bytes)} are empty space "
            f"({percent:.0f} %)",
            why="Scans read and the cache holds pages that are mostly empty. An estimate from the "
            "planner's statistics; pgstattuple tells exactly.",
            evidence={
                "size": Quantity(space.size_bytes, "bytes"),
                "needed": Quantity(space.needed_bytes, "bytes"),
                "wasted": Quantity(wasted, "bytes"),
                "wasted_percent": Quantity(round(percent, 1), "percent"),
            },
            fix=Fix(
                sql=f"REINDEX INDEX CONCURRENTLY {space.quoted};",
                lock=DROP_LOCK,
                caution=f"Needs {size(space.needed_bytes)} of room while it is built.",
            ),
        )
