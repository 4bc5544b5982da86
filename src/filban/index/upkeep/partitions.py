"""A partitioned index as one with its parts: it has no pages and no scans of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from filban.index.upkeep.rows import Index


def whole(indexes: Sequence[Index]) -> list[Index]:
    """The same indexes; size, scans and writes of partitioned ones are the sums of their parts."""
    parts = _parts(indexes)
    return [_sum(i, parts[i.oid]) if i.is_partitioned else i for i in indexes]


def _sum(index: Index, parts: Sequence[Index]) -> Index:
    return replace(
        index,
        size_bytes=sum(p.size_bytes for p in parts),
        scans=sum(p.scans for p in parts),
        entries_written=sum(p.entries_written for p in parts),
    )


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
