"""Indexes that no query has read in a long time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from filban.finding import Finding, Quantity, Severity
from filban.index.upkeep.foreign_keys import supports
from filban.index.upkeep.removal import drop
from filban.index.upkeep.rows import ForeignKey, Index
from filban.index.upkeep.thresholds import UsageThresholds
from filban.units import duration, size


@dataclass(frozen=True, slots=True)
class Unused:
    """An index without a scan; size and writes include its partitions'."""

    index: Index
    size_bytes: int
    entries_written: int


def unused(
    indexes: Sequence[Index], foreign_keys: Iterable[ForeignKey], limits: UsageThresholds
) -> list[Unused]:
    """Those that could go. Never one that keeps a promise (constraint, uniqueness, replica
    identity), nor the only one that finds the rows of a foreign key: nobody may have deleted a
    referenced row in the window, and the next who does would scan the table."""
    needed = _foreign_key_supports(indexes, foreign_keys)
    parts = _parts(indexes)
    found = []
    for index in indexes:
        if index.pinned or index.is_unique or not index.usable or index.oid in needed:
            continue
        family = parts[index.oid]
        total = sum(i.size_bytes for i in family)
        if sum(i.scans for i in family) == 0 and total >= limits.unused_minimum_bytes:
            found.append(Unused(index, total, sum(i.entries_written for i in family)))
    return found


def _foreign_key_supports(indexes: Sequence[Index], keys: Iterable[ForeignKey]) -> set[int]:
    by_table: dict[int, list[Index]] = {}
    for index in indexes:
        by_table.setdefault(index.table_oid, []).append(index)
    alone = set()
    for key in keys:
        supporting = [i.oid for i in by_table.get(key.table_oid, []) if supports(i, key)]
        if len(supporting) == 1:
            alone.add(supporting[0])
    return alone


def _parts(indexes: Sequence[Index]) -> Mapping[int, list[Index]]:
    """oid -> the index and all that are attached to it, at any depth."""
    by_oid = {i.oid: i for i in indexes}
    parts: dict[int, list[Index]] = {i.oid: [] for i in indexes}
    for index in indexes:
        above: int | None = index.oid
        while above in by_oid:
            parts[above].append(index)
            above = by_oid[above].parent_oid
    return parts


def findings(
    found: Iterable[Unused], window_seconds: float, definitions: Mapping[int, str]
) -> Iterator[Finding]:
    """index.unused, one an index (a partitioned one with all its parts)."""
    for one in found:
        index = one.index
        yield Finding(
            code="index.unused",
            severity=Severity.warning,
            subject=index.name,
            title=f"Not read once in {duration(window_seconds)}: {size(one.size_bytes)}",
            why=f"{one.entries_written:,} changed rows of {index.table_name} had to be entered "
            "into it, and it takes up cache, backups and vacuum's time.",
            evidence={
                "table": Quantity(index.table_name),
                "size": Quantity(one.size_bytes, "bytes"),
                "scans": Quantity(0, "count"),
                "window": Quantity(round(window_seconds), "seconds"),
                "entries_written": Quantity(one.entries_written, "rows"),
            },
            fix=drop(
                index,
                definitions.get(index.oid),
                "Scans on standbys are counted there: look at each of them first, and at jobs "
                "that run less often than this window. A young index has been watched for less.",
            ),
        )
