"""Indexes that another index makes superfluous: duplicates and prefixes. Pure.

Rows are grouped by table first, so 5,000 indexes on 1,000 tables are 1,000 small comparisons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Literal

from filban.finding import Finding, Fix, Quantity, Severity
from filban.index.upkeep.evidence import clause, counted
from filban.index.upkeep.removal import drop
from filban.index.upkeep.rows import Index
from filban.index.upkeep.thresholds import UsageThresholds

# One key as the planner tells keys apart: (column or expression, class, collation, order).
_Key = tuple[int | str | None, str, str, str]


@dataclass(frozen=True, slots=True)
class Superfluous:
    """`index` can go, because `kept` answers whatever it answered."""

    code: Literal["index.duplicate", "index.redundant"]
    index: Index
    kept: Index


def superfluous(indexes: Iterable[Index]) -> list[Superfluous]:
    """Each superfluous index once, with one that stays. `indexes` may come in any order."""
    found: list[Superfluous] = []
    ordered = sorted(
        (i for i in indexes if i.usable and i.is_readable), key=attrgetter("table_oid", "oid")
    )
    for _, group in groupby(ordered, key=attrgetter("table_oid")):
        on_table = list(group)
        if len(on_table) > 1:
            found += _on_one_table(on_table)
    return found


def _on_one_table(indexes: list[Index]) -> Iterator[Superfluous]:
    doubles = list(_duplicates(indexes))
    gone = {d.index.oid for d in doubles}
    yield from doubles
    yield from _prefixes([i for i in indexes if i.oid not in gone])


def _duplicates(indexes: list[Index]) -> Iterator[Superfluous]:
    alike: dict[object, list[Index]] = {}
    for index in indexes:
        alike.setdefault(_identity(index), []).append(index)
    for group in alike.values():
        kept = max(group, key=_claim)
        for index in group:
            if index is not kept and _may_go(index, kept):
                yield Superfluous("index.duplicate", index, kept)


def _may_go(index: Index, kept: Index) -> bool:
    """Whether nothing but speed depends on it; uniqueness must be promised by the other as well."""
    if index.pinned:
        return False
    if not index.is_unique:
        return True
    same_promise = kept.is_unique and kept.nulls_not_distinct == index.nulls_not_distinct
    return same_promise and kept.is_immediate


def _claim(index: Index) -> tuple[bool | int, ...]:
    """Who stays among equals: what cannot be dropped, then what would be missed, then the older."""
    return (
        index.is_primary,
        index.has_constraint,
        index.pinned,
        index.is_unique,
        index.is_clustered,
        index.is_partitioned,
        -index.oid,
    )


def _prefixes(indexes: list[Index]) -> Iterator[Superfluous]:
    """A chain (a), (a, b), (a, b, c) gives two findings, and both name the last as kept."""
    trees = [i for i in indexes if i.access_method == "btree"]
    covered = {i.oid: [k for k in trees if k is not i and _covers(k, i)] for i in trees}
    may_go = {i.oid for i in trees if covered[i.oid] and not i.pinned and not i.is_unique}
    for index in trees:
        staying = [k for k in covered[index.oid] if k.oid not in may_go]
        if index.oid in may_go and staying:
            kept = min(staying, key=attrgetter("size_bytes", "oid"))
            yield Superfluous("index.redundant", index, kept)


def _covers(longer: Index, index: Index) -> bool:
    if longer.predicate != index.predicate or longer.key_count < index.key_count:
        return False
    if _included(index) - _included(longer) - set(longer.columns[: longer.key_count]):
        return False
    if _sort_key(longer)[: index.key_count] != _sort_key(index):
        return False
    # between equal keys the one that includes more stays; a cover in both directions is a duplicate
    return longer.key_count > index.key_count or _included(longer) != _included(index)


def _identity(index: Index) -> object:
    """Equal for indexes that answer the same queries. Storage options of a btree change its
    size only; those of other access methods (pages_per_range, fastupdate) change what it can do."""
    return (
        index.access_method,
        _sort_key(index),
        _included(index),
        index.predicate,
        index.opclass_options,
        None if index.access_method == "btree" else index.storage_options,
        # an exclusion constraint's operators are not in the key
        index.oid if index.is_exclusion else None,
    )


def _sort_key(index: Index) -> tuple[_Key, ...]:
    expressions = index.expressions or (None,) * len(index.columns)
    keys: list[int | str | None] = [
        expression if column == 0 else column
        for column, expression in zip(index.columns, expressions, strict=True)
    ]
    vectors = (index.opclasses.split(), index.collations.split(), index.options.split())
    return tuple(zip(keys[: index.key_count], *vectors, strict=False))


def _included(index: Index) -> set[int] | frozenset[int]:
    return frozenset(index.columns[index.key_count :])


def findings(
    found: Iterable[Superfluous], definitions: Mapping[int, str], limits: UsageThresholds
) -> Iterator[Finding]:
    """index.duplicate and index.redundant, one an index. definitions: oid -> CREATE INDEX."""
    for one in found:
        index, kept = one.index, one.kept
        double = one.code == "index.duplicate"
        large = index.size_bytes >= limits.redundant_warning_bytes
        yield Finding(
            code=one.code,
            severity=Severity.warning if double or large else Severity.info,
            subject=index.name,
            title=_title(index, kept, double),
            why="Every write keeps it up and every vacuum reads it; whatever it answers, "
            f"{kept.name} answers too.",
            evidence={
                "table": Quantity(index.table_name),
                "size": counted(index.size_bytes),
                "scans": Quantity(index.scans, "count"),
                "kept": Quantity(kept.name),
                "kept_size": counted(kept.size_bytes),
                "kept_scans": Quantity(kept.scans, "count"),
            },
            fix=_fix(index, kept, definitions, double),
        )


def _title(index: Index, kept: Index, double: bool) -> str:
    what = "The same index as" if double else "Its keys are the first keys of"
    return f"{what} {kept.name}" + clause(index.size_bytes, "for nothing")


def _fix(index: Index, kept: Index, definitions: Mapping[int, str], double: bool) -> Fix:
    if double:
        return drop(index, definitions.get(index.oid))
    larger = f"Its queries will use {kept.name}{clause(kept.size_bytes, 'large')}."
    return drop(index, definitions.get(index.oid), larger)
