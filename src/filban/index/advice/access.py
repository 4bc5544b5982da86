"""How a plan reaches each table: what it asks of it, in which order, and at which cost. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from filban.index.advice import expressions as _e
from filban.index.advice.catalog import Catalog
from filban.index.advice.conditions import Condition, conditions, key_of
from filban.index.advice.facts import Column, Table
from filban.index.advice.planning import Plan

_ORDER_WORDS = frozenset({"ASC", "DESC", "NULLS", "FIRST", "LAST"})
_ON_TABLE = ("Filter", "Index Cond", "Recheck Cond")
_ON_JOIN = ("Hash Cond", "Merge Cond", "Join Filter")
# Their rows come in the order of their first child's.
_KEEPS_ORDER = frozenset({
    "Limit", "Result", "ProjectSet", "Subquery Scan", "LockRows", "Gather Merge", "Append",
    "Merge Append", "Unique", "WindowAgg", "ModifyTable", "Group", "Nested Loop", "Memoize",
    "Incremental Sort", "Sort",
})  # fmt: skip
_EXTREME = re.compile(r"^(min|max)\((.+)\)$")


@dataclass(frozen=True, slots=True)
class Order:
    """One key of a wanted order; nulls_first as the order says it."""

    key: str
    column: str | None
    descending: bool
    nulls_first: bool
    functions: tuple[_e.Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """One table in one plan of one statement.

    any_of: OR groups whose every branch is about this table. order: wanted of its rows; limit: how
    many of them are enough, None for all. needed: the columns that the statement reads, None for
    all. rows and cost: the planner's, of all `loops` together. index: what it uses now.
    distance: for ORDER BY column <-> value, the column. writes: "Update" or "Delete" where the rows
    found are changed.
    """

    statement: str
    table: Table
    conditions: tuple[Condition, ...]
    any_of: tuple[tuple[Condition, ...], ...] = ()
    order: tuple[Order, ...] = ()
    limit: float | None = None
    needed: frozenset[str] | None = None
    rows: float = 0.0
    cost: float = 0.0
    loops: float = 1.0
    index: str | None = None
    distance: str | None = None
    total: float = 0.0
    writes: str = ""


@dataclass(frozen=True, slots=True)
class _Around:
    """What is known of a node from those above it."""

    order: tuple[str, ...] = ()
    limit: float | None = None
    loops: float = 1.0
    joins: tuple[str, ...] = ()
    writes: tuple[str, str] = ("", "")


@dataclass(slots=True)
class Reading:
    """Reads the plans of a statement. named: the columns that the text reads of each alias."""

    statement: str
    catalog: Catalog
    named: Mapping[str, frozenset[str] | None] = field(default_factory=dict)

    def accesses(self, plan: Plan) -> list[Access]:
        """Each table of the plan; the parts of a partitioned one are one."""
        found: dict[Any, Access] = {}
        for access in self._walk(plan, _Around(), plan["Total Cost"]):
            key = (access.table.oid, access.conditions, access.any_of, access.order)
            if (same := found.get(key)) is not None:
                access = replace(same, rows=same.rows + access.rows, cost=same.cost + access.cost)
            found[key] = access
        return list(found.values())

    def _walk(self, node: Plan, around: _Around, total: float) -> Iterator[Access]:
        if "Relation Name" in node and node["Node Type"] != "ModifyTable":
            yield from self._table(node, around, total)
        inside = self._inside(node, around)
        children = node.get("Plans", [])
        outer = next((c for c in children if c.get("Parent Relationship") == "Outer"), None)
        for child in children:
            yield from self._walk(child, _below(node, child, outer, inside), total)

    def _inside(self, node: Plan, around: _Around) -> _Around:
        """What a node adds to what is known below it."""
        kind = node["Node Type"]
        joins = around.joins + tuple(node[name] for name in _ON_JOIN if name in node)
        around = replace(around, joins=joins)
        if kind == "ModifyTable":
            found = self.catalog.names.find(node["Schema"], node["Relation Name"])
            target = self.catalog.names.root(found[0]).quoted if found else ""
            return replace(around, writes=(target, node["Operation"]))
        if kind == "Limit":
            return replace(around, limit=node["Plan Rows"] * 1.0)
        if kind in ("Sort", "Incremental Sort"):
            return replace(around, order=tuple(node.get("Sort Key", ())))
        if kind == "Aggregate":
            return replace(around, **_extreme(node))
        return around if kind in _KEEPS_ORDER else replace(around, order=(), limit=None)

    def _table(self, node: Plan, around: _Around, total: float) -> Iterator[Access]:
        found = self.catalog.names.find(node["Schema"], node["Relation Name"])
        if not found:
            return
        table, alias = self.catalog.names.root(found[0]), node["Alias"]
        columns = self.catalog.columns.get(table.oid, {})
        texts = [node[name] for name in _ON_TABLE if name in node] + list(around.joins)
        texts += _below_bitmap(node)
        groups = dict.fromkeys(g for text in texts for g in conditions(text, alias, columns))
        yield Access(
            statement=self.statement,
            table=table,
            conditions=tuple(dict.fromkeys(g[0] for g in groups if len(g) == 1)),
            any_of=tuple(g for g in groups if len(g) > 1),
            order=_order(around.order, alias, columns),
            limit=around.limit,
            needed=self._needed(node, alias, table),
            rows=node["Plan Rows"] * around.loops,
            cost=node["Total Cost"] * around.loops,
            loops=around.loops,
            index=_index(node),
            distance=_distance(around.order or tuple(node.get("Order By", "").split(";")), alias),
            total=total,
            writes=around.writes[1] if around.writes[0] == table.quoted else "",
        )

    def _needed(self, node: Plan, alias: str, table: Table) -> frozenset[str] | None:
        for name in (alias, re.sub(r"_\d+$", "", alias), table.name):
            if name in self.named:
                return self.named[name]
        uses = (use for text in node.get("Output", ()) for use in _e.uses(_e.tokens(text)))
        return frozenset(use.column for use in uses if use.alias == alias)


def _extreme(node: Plan) -> dict[str, Any]:
    """min() and max() alone are the first row of an order, on whichever side NULL stands."""
    output = [m for text in node.get("Output", ()) if (m := _EXTREME.match(text))]
    plain = node.get("Strategy") == "Plain" and len(node.get("Output", ())) == 1
    if not output or not plain:
        return {"order": (), "limit": None}
    direction = " DESC" if output[0][1] == "max" else ""
    return {"order": (output[0][2] + direction,), "limit": 1.0}


def _below(node: Plan, child: Plan, outer: Plan | None, around: _Around) -> _Around:
    """What a child is told: the inner side of a join is read again for each row of the outer."""
    relation = child.get("Parent Relationship")
    if relation == "Inner":
        loops = around.loops
        if node["Node Type"] == "Nested Loop" and outer is not None:
            loops *= max(outer["Plan Rows"], 1)
        return replace(around, order=(), limit=None, loops=loops)
    if relation in ("SubPlan", "InitPlan"):
        hashed = "hashed SubPlan" in str(node.get("Filter", ""))
        rows = node["Plan Rows"] if relation == "SubPlan" and not hashed else 1
        return _Around(loops=around.loops * max(rows, 1))
    if node["Node Type"] in ("Hash Join", "Merge Join"):
        return replace(around, limit=None)
    return around


def _below_bitmap(node: Plan) -> list[str]:
    if node["Node Type"] != "Bitmap Heap Scan":
        return []
    return [t for child in node.get("Plans", ()) for t in _bitmap_texts(child)]


def _bitmap_texts(node: Plan) -> list[str]:
    below = [t for child in node.get("Plans", ()) for t in _bitmap_texts(child)]
    if node["Node Type"] == "BitmapOr":
        return []
    return ([node["Index Cond"]] if "Index Cond" in node else []) + below


def _index(node: Plan) -> str | None:
    if "Index Name" in node:
        return str(node["Index Name"])
    return (
        next((i for c in node.get("Plans", ()) if (i := _index(c))), None)
        if (node["Node Type"].startswith("Bitmap"))
        else None
    )


def _order(texts: tuple[str, ...], alias: str, columns: Mapping[str, Column]) -> tuple[Order, ...]:
    """The wanted order as far as it is this table's: its first keys."""
    found: list[Order] = []
    for text in texts:
        parts = list(_e.tokens(text))
        words = []
        while parts and parts[-1].text in _ORDER_WORDS:
            words.append(parts.pop().text)
        if len(parts) == 1 and parts[0].name in columns:
            # the output of a plan of one table has no aliases
            parts = [_e.Token("quoted", f'"{alias}"'), _e.Token("mark", "."), *parts]
        uses = list(_e.uses(parts))
        if not uses or any(use.alias != alias for use in uses):
            break
        descending = "DESC" in words
        inner = _e.plain_column(parts)
        column = columns.get(inner.column) if inner else None
        found.append(
            Order(
                key=column.quoted if column else key_of(parts, alias),
                column=column.name if column else None,
                descending=descending,
                nulls_first="FIRST" in words if "NULLS" in words else descending,
                functions=() if column else _e.called(parts),
            )
        )
    return tuple(found)


def _distance(texts: tuple[str, ...], alias: str) -> str | None:
    """The column of ORDER BY column <-> value."""
    if not texts or "<->" not in texts[0]:
        return None
    uses = [use for use in _e.uses(_e.tokens(texts[0])) if use.alias == alias]
    return uses[0].column if len(uses) == 1 else None
