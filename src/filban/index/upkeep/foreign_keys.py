"""Foreign keys whose referencing columns have no index. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.index.upkeep.evidence import counted
from filban.index.upkeep.rows import ForeignKey, Index
from filban.index.upkeep.thresholds import ForeignKeyThresholds

# Access methods that can answer equality on leading columns.
_ORDERED_KEYS = frozenset({"btree", "gist"})


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Foreign keys over the same columns of one table, in whatever order, without an index."""

    keys: tuple[ForeignKey, ...]

    @property
    def first(self) -> ForeignKey:
        return self.keys[0]

    @property
    def scanned_rows(self) -> int:
        """Rows that deletes since the last reset have scanned, had each found no index."""
        return sum(k.rows * k.referenced_deletes for k in self.keys)


def supports(index: Index, key: ForeignKey) -> bool:
    """Whether the check of a referencing row can search this index."""
    width = len(key.columns)
    if not index.usable or not _predicate_allows(index.predicate, key):
        return False
    if index.access_method == "hash":
        return index.columns == key.columns and _collations_fit(index, key)
    if index.access_method not in _ORDERED_KEYS or index.key_count < width:
        return False
    return set(index.columns[:width]) == set(key.columns) and _collations_fit(index, key)


def _predicate_allows(predicate: str | None, key: ForeignKey) -> bool:
    """No predicate, or one that a comparison with the key implies: its columns IS NOT NULL."""
    if predicate is None:
        return True
    left = predicate
    for text in key.columns_not_null:
        left = left.replace(text, "")
    return not left.replace(" AND ", "").strip("()").strip()


def _collations_fit(index: Index, key: ForeignKey) -> bool:
    """An index under another collation than the column's cannot answer the column's equality."""
    wanted = dict(zip(key.columns, key.collations, strict=True))
    offered = dict(zip(index.columns, map(int, index.collations.split()), strict=False))
    return all(offered.get(column) == collation for column, collation in wanted.items())


def unsupported(keys: Sequence[ForeignKey], indexes: Iterable[Index]) -> list[Unsupported]:
    """Per table and set of columns; a partitioned table once, at the parent."""
    by_table: dict[int, list[Index]] = {}
    for index in indexes:
        by_table.setdefault(index.table_oid, []).append(index)
    inherited: dict[int, list[ForeignKey]] = {}
    for key in keys:
        if key.parent_oid is not None:
            inherited.setdefault(key.parent_oid, []).append(key)

    def is_supported(key: ForeignKey) -> bool:
        if any(supports(i, key) for i in by_table.get(key.table_oid, [])):
            return True
        # constraints that a partitioned *referenced* table adds are of the same referencing table
        parts = [k for k in inherited.get(key.oid, []) if k.table_oid != key.table_oid]
        return bool(parts) and all(map(is_supported, parts))

    groups: dict[tuple[int, frozenset[int]], list[ForeignKey]] = {}
    for key in keys:
        if key.parent_oid is None and not is_supported(key):
            groups.setdefault((key.table_oid, frozenset(key.columns)), []).append(key)
    found = [Unsupported(tuple(group)) for group in groups.values()]
    return [one for one in found if not any(_leads(one.first, other.first) for other in found)]


def _leads(key: ForeignKey, wider: ForeignKey) -> bool:
    """Whether the index that the wider key gets will begin with the columns of this one."""
    width = len(key.columns)
    return (
        key.table_oid == wider.table_oid
        and width < len(wider.columns)
        and set(wider.columns[:width]) == set(key.columns)
    )


def findings(
    found: Iterable[Unsupported],
    builds: Mapping[int, tuple[str, ...]],
    limits: ForeignKeyThresholds,
) -> Iterator[Finding]:
    """index.missing_foreign_key. builds: oid of the first key -> the statements, in order."""
    for one in found:
        key = one.first
        columns = ", ".join(key.column_names)
        yield Finding(
            code="index.missing_foreign_key",
            severity=_severity(one, limits),
            subject=f"{key.table_name} ({columns})",
            title=f"No index finds the rows that refer to {_targets(one)} ({key.rows:,} rows)",
            why="Each DELETE and each change of the key there scans this table whole, holding "
            "its locks meanwhile; joins from there do as well.",
            evidence={
                "constraints": Quantity(", ".join(k.name for k in one.keys)),
                "rows": Quantity(key.rows, "rows"),
                "size": counted(key.size_bytes),
                "referenced": Quantity(_targets(one)),
                "referenced_deletes": Quantity(sum(k.referenced_deletes for k in one.keys), "rows"),
            },
            fix=_fix(key, builds.get(key.oid, ())),
        )


def _targets(one: Unsupported) -> str:
    return ", ".join(dict.fromkeys(k.referenced_name for k in one.keys))


def _severity(one: Unsupported, limits: ForeignKeyThresholds) -> Severity:
    large = one.first.rows >= limits.foreign_key_warning_rows
    felt = one.scanned_rows >= limits.foreign_key_scanned_rows
    return Severity.warning if large or felt else Severity.info


def _fix(key: ForeignKey, statements: Sequence[str]) -> Fix:
    if not statements:
        return Fix(advice=f"Index the columns {', '.join(key.column_names)} of {key.table_name}.")
    caution = "Not inside a transaction; it waits for open transactions to end. Costs every write."
    if key.is_partitioned:
        caution = (
            "The first and last statements lock briefly (SHARE on the parent, which has no rows); "
            "partitions are built one after the other, without blocking writes. Not inside a "
            "transaction."
        )
    return Fix(sql="\n".join(statements), lock="SHARE UPDATE EXCLUSIVE", caution=caution)
