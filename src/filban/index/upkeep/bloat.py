"""Empty space in btrees, estimated from the planner's statistics. Pure.

The layout is PostgreSQL's own (src/include/storage/bufpage.h, access/itup.h, access/nbtree.h): a
page has a header of 24 bytes and 16 of btree's own; an entry has 8 bytes of header (16 where it
holds a NULL), its values, all rounded up to 8, and a line pointer of 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from filban.finding import Finding, Fix, Quantity, Severity
from filban.index.upkeep.rows import IndexSpace
from filban.index.upkeep.thresholds import IndexBloatThresholds
from filban.units import size

_PAGE_OVERHEAD = 24 + 16
_ENTRY_HEADER = 8
_NULLS_HEADER = 16
_LINE_POINTER = 4
_ALIGNMENT = 8
_ROW_POINTER = 6
# A build writes posting lists of at most a tenth of a page (nbtsort.c, maxpostingsize).
_POSTING_SHARE = 0.1
# ANALYZE finds too few distinct values in large tables (a sample of 30,000 rows): an index would
# look bloated that is not. Taken times three, a column of few values stays one of few.
_DISTINCT_CORRECTION = 3.0


def needed_bytes(space: IndexSpace) -> int | None:
    """What a fresh build would take, metapage included; None without statistics."""
    if space.key_bytes is None or space.distinct_keys is None:
        return None
    header = _NULLS_HEADER if space.is_nullable else _ENTRY_HEADER
    entry = _aligned(header + space.key_bytes) + _LINE_POINTER
    usable = (space.page_bytes - _PAGE_OVERHEAD) * space.fillfactor / 100
    leaves = math.ceil(_leaf_bytes(space, entry) / usable)
    inner = math.ceil(leaves * (entry + _ALIGNMENT) / usable) if leaves > 1 else 0
    return (1 + max(1, leaves) + inner) * space.page_bytes


def _leaf_bytes(space: IndexSpace, entry: float) -> float:
    plain = space.rows * entry
    if space.is_unique or not space.deduplicates or space.distinct_keys is None:
        return plain
    keys = min(space.rows, space.distinct_keys * _DISTINCT_CORRECTION)
    per_list = max(1.0, (space.page_bytes * _POSTING_SHARE - entry) / _ROW_POINTER)
    lists = keys + space.rows / per_list
    return min(plain, lists * entry + space.rows * _ROW_POINTER)


def _aligned(value: float) -> int:
    return math.ceil(value / _ALIGNMENT) * _ALIGNMENT


def bloated(
    spaces: Iterable[IndexSpace], limits: IndexBloatThresholds
) -> Iterator[tuple[IndexSpace, int]]:
    """Those that waste enough to be rebuilt, each with the bytes that a fresh build takes."""
    for space in spaces:
        needed = needed_bytes(space)
        if needed is None:
            continue
        wasted = space.size_bytes - needed
        if wasted >= limits.smallest() and _percent(space, needed) >= (
            limits.index_bloat_minimum_percent
        ):
            yield space, needed


def _percent(space: IndexSpace, needed: int) -> float:
    return 100.0 * (space.size_bytes - needed) / space.size_bytes if space.size_bytes else 0.0


def findings(spaces: Iterable[IndexSpace], limits: IndexBloatThresholds) -> Iterator[Finding]:
    """bloat.index, one an index."""
    for space, needed in bloated(spaces, limits):
        much = space.size_bytes - needed >= limits.index_bloat_warning_wasted_bytes
        severity = Severity.warning if much else Severity.info
        yield _finding(space, needed, _percent(space, needed), severity)


def _finding(space: IndexSpace, needed: int, percent: float, severity: Severity) -> Finding:
    wasted = space.size_bytes - needed
    return Finding(
        code="bloat.index",
        severity=severity,
        subject=space.name,
        title=f"About {size(wasted)} of {size(space.size_bytes)} are empty ({percent:.0f} %)",
        why="Scans of it read the empty pages, and they take up cache, backups and disk. This is "
        "an estimate from the planner's statistics; pgstattuple's pgstatindex measures.",
        evidence={
            "table": Quantity(space.table_name),
            "size": Quantity(space.size_bytes, "bytes"),
            "needed_estimate": Quantity(needed, "bytes"),
            "wasted_estimate": Quantity(wasted, "bytes"),
            "wasted_percent": Quantity(round(percent, 1), "percent"),
        },
        fix=Fix(
            sql=f"REINDEX INDEX CONCURRENTLY {space.quoted};",
            lock="SHARE UPDATE EXCLUSIVE",
            caution=f"Needs room for a second copy of about {size(needed)}; not inside a "
            "transaction. If it is interrupted, index.invalid names what it left.",
        ),
    )
