"""Indexes that no query has read in a long time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from filban.finding import Finding, Quantity, Severity
from filban.index.upkeep.foreign_keys import supports
from filban.index.upkeep.removal import drop
from filban.index.upkeep.rows import ForeignKey, Index
from filban.index.upkeep.thresholds import UsageThresholds
from filban.units import count, duration, size


def unused(
    indexes: Sequence[Index], foreign_keys: Iterable[ForeignKey], limits: UsageThresholds
) -> list[Index]:
    """Those that could go, all of them together. Never one that keeps a promise (constraint,
    uniqueness, replica identity), nor the last one that finds the rows of a foreign key: nobody may
    have deleted a referenced row in the window, and the next who does would scan the table.
    indexes: without those that are to go for another reason."""
    unread = {i.oid for i in indexes if _may_go(i, limits)}
    by_table: dict[int, list[Index]] = {}
    for index in indexes:
        by_table.setdefault(index.table_oid, []).append(index)
    for key in foreign_keys:
        supporting = [i for i in by_table.get(key.table_oid, []) if supports(i, key)]
        if supporting and all(i.oid in unread for i in supporting):
            unread.remove(min(supporting, key=attrgetter("size_bytes", "oid")).oid)
    return [i for i in indexes if i.oid in unread]


def _may_go(index: Index, limits: UsageThresholds) -> bool:
    if index.pinned or index.is_unique or not index.usable:
        return False
    return index.scans == 0 and index.size_bytes >= limits.unused_minimum_bytes


def findings(
    found: Iterable[Index],
    window_seconds: float,
    definitions: Mapping[int, str],
    other_servers: int = 0,
) -> Iterator[Finding]:
    """index.unused, one an index (a partitioned one with all its parts).

    other_servers: on how many standbys its scans were counted as well.
    """
    elsewhere = (
        f"Its scans on {count(other_servers, 'standby')} are counted in; look at any other one"
        if other_servers
        else "Scans on standbys are counted there: look at each of them first (filban indexes --on)"
    )
    for index in found:
        yield Finding(
            code="index.unused",
            severity=Severity.warning,
            subject=index.name,
            title=f"Not read once in {duration(window_seconds)}: {size(index.size_bytes)}",
            why=f"{index.entries_written:,} changed rows of {index.table_name} had to be entered "
            "into it, and it takes up cache, backups and vacuum's time.",
            evidence={
                "table": Quantity(index.table_name),
                "size": Quantity(index.size_bytes, "bytes"),
                "scans": Quantity(0, "count"),
                "window": Quantity(round(window_seconds), "seconds"),
                "entries_written": Quantity(index.entries_written, "rows"),
            },
            fix=drop(
                index,
                definitions.get(index.oid),
                f"{elsewhere}, and at jobs that run less often than this window. A young index has "
                "been watched for less.",
            ),
        )
