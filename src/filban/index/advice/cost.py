"""What reading a table costs in the planner's own units: enough to say why an index is no gain.

The formulas are those of PostgreSQL's costsize.c (cost_seqscan, cost_index, cost_bitmap_heap_scan,
index_pages_fetched) without parallelism. They judge what is hopeless and say why in numbers; what
the planner takes in the end is for the planner to say (filban.index.choice).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from filban.index.advice.catalog import Catalog
from filban.index.advice.facts import Table
from filban.index.advice.rows import IndexSpec

PAGE_BYTES = 8192
# Of a btree's page: 90 % fillfactor less headers (nbtree.h: BTREE_DEFAULT_FILLFACTOR).
_FILL = 0.9
# IndexTupleData and its line pointer; with alignment (itup.h, itemid.h).
_ENTRY_BYTES = 12
# A posting list of deduplicated entries needs six bytes a row (ItemPointerData).
_POSTING_BYTES = 6
_UNKNOWN_WIDTH = 16
# GIN and trigram indexes: entries a row that are not shared with others; a guess to compare by
# (choice/ measures by a sampled build).
_INVERTED_SHARE = 0.6
_BRIN_PAGES_PER_RANGE = 128
# A write that is not heap-only puts an entry into the index: one leaf page to find and to log.
# Measured on PostgreSQL 15: 72 bytes of WAL for a heap-only update, 189 to 299 for others; a leaf
# page is mostly in memory, so a quarter of random_page_cost.
UPKEEP_SHARE_OF_RANDOM_PAGE = 0.25


@dataclass(frozen=True, slots=True)
class Costs:
    """The server's own cost constants."""

    random_page: float
    sequential_page: float
    tuple: float
    index_tuple: float
    operator: float
    cache_pages: float

    @classmethod
    def of(cls, settings: Mapping[str, float]) -> Costs:
        return cls(
            settings["random_page_cost"],
            settings["seq_page_cost"],
            settings["cpu_tuple_cost"],
            settings["cpu_index_tuple_cost"],
            settings["cpu_operator_cost"],
            max(settings["effective_cache_size"], 1.0),
        )

    @property
    def entry(self) -> float:
        """Keeping one index up for one write."""
        return self.random_page * UPKEEP_SHARE_OF_RANDOM_PAGE + self.index_tuple

    def whole(self, table: Table) -> float:
        """Reading all of it."""
        return table.pages * self.sequential_page + max(table.rows, 0) * (
            self.tuple + self.operator
        )

    def lookup(
        self, table: Table, rows: float, index_pages: float, correlation: float, covered: bool
    ) -> float:
        """Reading `rows` of it through an index; covered: from all-visible pages."""
        total = max(table.rows, 1.0)
        share = min(rows / total, 1.0)
        leaves = max(math.ceil(share * index_pages), 1)
        inside = leaves * self.random_page + rows * (self.index_tuple + self.operator)
        pages = self._pages(rows, table.pages)
        if covered:
            pages *= 1 - table.visible_share
        worst = pages * self.random_page
        best = self.random_page + max(share * table.pages - 1, 0) * self.sequential_page
        by_index = worst + correlation**2 * (min(best, worst) - worst)
        step = math.sqrt(min(pages / max(table.pages, 1), 1.0))
        by_bitmap = pages * (self.random_page - (self.random_page - self.sequential_page) * step)
        return inside + min(by_index, by_bitmap) + rows * self.tuple

    def _pages(self, rows: float, pages: int) -> float:
        """Mackert and Lohman: how many different pages so many rows are on."""
        total = max(pages, 1)
        return min(2 * total * rows / (2 * total + rows), total) if rows else 0.0


def index_bytes(catalog: Catalog, table: Table, spec: IndexSpec, share: float = 1.0) -> float:
    """About how large it will be. share: of the rows that its predicate leaves."""
    rows = max(table.rows, 0) * share
    if spec.method == "brin":
        return (table.pages / _BRIN_PAGES_PER_RANGE + 3) * PAGE_BYTES
    widths = _width(catalog, table, [k.sql for k in spec.keys])
    if spec.method in ("gin", "gist", "spgist"):
        return rows * widths * _INVERTED_SHARE
    extra = _width(catalog, table, spec.include) if spec.include else 0
    entry = _ENTRY_BYTES + _aligned(widths + extra)
    distinct = _distinct(catalog, table, spec)
    if spec.include or distinct is None or distinct > rows / 2:
        return rows * entry / _FILL
    return (distinct * entry + rows * _POSTING_BYTES) / _FILL


def _aligned(width: float) -> float:
    return math.ceil(width / 8) * 8


def _width(catalog: Catalog, table: Table, keys: list[str] | tuple[str, ...]) -> float:
    known = {c.quoted: c.width_bytes for c in catalog.columns.get(table.oid, {}).values()}
    return sum(known.get(key) or _UNKNOWN_WIDTH for key in keys)


def _distinct(catalog: Catalog, table: Table, spec: IndexSpec) -> float | None:
    known = {c.quoted: c for c in catalog.columns.get(table.oid, {}).values()}
    product = 1.0
    for key in spec.keys:
        column = known.get(key.sql)
        values = column.distinct_values(table.rows) if column else None
        if values is None:
            return None
        product *= values
    return min(product, table.rows)
