"""What the rooms of `candidates` share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from filban.index.advice.access import Access
from filban.index.advice.catalog import Catalog
from filban.index.advice.facts import Column, Table
from filban.index.advice.rows import CandidateKind, IndexSpec, Key, Method, ReasonCode
from filban.index.advice.specs import EQUALITIES

# Types without a default btree operator class.
_NO_ORDER = frozenset({
    "json", "xml", "point", "box", "polygon", "circle", "line", "lseg", "path",
    "txid_snapshot", "aclitem", "geometry", "geography",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Thought:
    """An index that comes to mind. refused: why it cannot be at all, with `why` as sentence."""

    spec: IndexSpec
    kind: CandidateKind
    reason: str
    refused: ReasonCode | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What is known beside the access. asked: how many statements compare a table's key by
    equality (keys that many share come first, so that one index serves them). constants: literals
    that stand in the statements' own texts, by statement."""

    catalog: Catalog
    asked: Counter[tuple[int, str]] = field(default_factory=Counter)
    constants: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def columns(self, access: Access) -> Mapping[str, Column]:
        return self.catalog.columns.get(access.table.oid, {})

    def column(self, access: Access, name: str | None) -> Column | None:
        return self.columns(access).get(name) if name else None

    def distinct(self, access: Access, name: str | None) -> float:
        column = self.column(access, name)
        known = column.distinct_values(access.table.rows) if column else None
        return known or 1.0

    def sortable(self, access: Access, name: str | None) -> bool:
        column = self.column(access, name)
        return column is None or column.type not in _NO_ORDER


def asked(accesses: Iterable[Access]) -> Counter[tuple[int, str]]:
    """For Context.asked."""
    pairs = {
        (a.table.oid, c.key, a.statement)
        for a in accesses
        for c in a.conditions
        if c.kind in EQUALITIES
    }
    return Counter((table, key) for table, key, _ in pairs)


def spec(
    table: Table,
    keys: Iterable[Key],
    method: Method = "btree",
    include: Iterable[str] = (),
    where: str | None = None,
) -> IndexSpec:
    """An index on a table; a key that is there already is not repeated."""
    different: dict[str, Key] = {}
    for key in keys:
        different.setdefault(key.sql, key)
    return IndexSpec(
        table.schema_quoted, table.name_quoted, tuple(different.values()), method, tuple(include),
        where,
    )  # fmt: skip
