"""Whether an index that comes to mind is worth it, and if not, why not, in numbers.

All estimates are the planner's: how many rows a condition leaves is asked with EXPLAIN, what
reading them costs is `cost`. What is not plainly hopeless stays a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from filban.index.advice.access import Access
from filban.index.advice.catalog import Catalog
from filban.index.advice.conditions import Condition
from filban.index.advice.cost import PAGE_BYTES, Costs, index_bytes
from filban.index.advice.expressions import conjuncts, join, tokens
from filban.index.advice.facts import Table
from filban.index.advice.immutable import few_values, mutable
from filban.index.advice.planning import REFUSALS, Planner
from filban.index.advice.rows import IndexSpec, ReasonCode
from filban.index.advice.specs import Existing, Served, columns_of, name_of, serves

# Reading all of a table that costs less than so many lookups of one row: about 1,500 short rows.
SMALL_TABLE_LOOKUPS = 4.0
# Above this share of the rows, spread over the table, every page is read all the same; the planner
# still counts the rows that it need not look at. With the rows in the column's order (correlation
# as of pg_stats) a share of the rows is a share of the pages.
LARGEST_SHARE = 0.25
LEAST_CORRELATION = 0.5
# An index has to save at least a tenth of what reading the table costs now: the estimates of rows
# are not better than that.
LEAST_SAVING = 0.1
# An index-only scan is worth its INCLUDE where most pages need not be read.
LEAST_VISIBLE = 0.5
# An INCLUDE that makes the index more than half of the table is a second table to keep up.
LARGEST_COVERING = 0.5
# BRIN has an entry for 128 pages, not for a row; so many short rows are in them.
ROWS_OF_BRIN = 5000
# A predicate that leaves more than this of the rows is hardly smaller than the whole index.
LARGEST_PARTIAL = 0.5
# What the planner assumes of a value that it cannot see (selfuncs.h: DEFAULT_EQ_SEL,
# DEFAULT_INEQ_SEL).
_UNSEEN_EQUAL = 0.005
_UNSEEN_RANGE = 1 / 3
# What an index reads less than this many rows for needs no further key.
FEW_ROWS = 20


@dataclass(frozen=True, slots=True)
class Change:
    """What a writing statement does to a table: calls times rows. columns: that an UPDATE sets;
    None for INSERT, which writes them all."""

    table: int
    statement: str
    rows: float
    columns: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """code None: it may be worth it."""

    code: ReasonCode | None
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    replaces: tuple[str, ...] = ()


@dataclass(slots=True)
class Judge:
    """Judges specs of one workload. calls: by statement. returned: rows that a call has really
    returned, where that is known."""

    catalog: Catalog
    planner: Planner
    existing: Mapping[int, tuple[Existing, ...]]
    calls: Mapping[str, float]
    changes: Mapping[int, tuple[Change, ...]]
    returned: Mapping[str, float] = field(default_factory=dict)
    _shares: dict[tuple[int, str], float | None] = field(default_factory=dict)

    async def verdict(self, spec: IndexSpec, accesses: Iterable[Access]) -> Verdict:
        """Of an index on one table, by all accesses to it. Raises ConnectionLost."""
        served = [(a, s) for a in accesses if (s := serves(spec, a)) is not None]
        if not served:
            return Verdict("unsupported", "no statement of the workload can use it")
        table, costs = served[0][0].table, Costs.of(self.catalog.settings)
        if (small := self.small(table)) is not None:
            return small
        columns = self.catalog.columns.get(table.oid, {})
        if why := mutable(spec, columns, self.catalog.functions):
            return Verdict("not_immutable", why)
        if (few := few_values(spec)) is not None:
            return Verdict("selectivity", f"each of its {few} values is all over the table",
                           {"selectivity": 1 / few})  # fmt: skip
        if spec.include and (refused := self._covering(spec, served)) is not None:
            return refused
        where = await self._share(table, spec.where) if spec.where else 1.0
        if where is not None and spec.where and where > LARGEST_PARTIAL:
            numbers = {"share": where}
            return Verdict("selectivity", f"its predicate leaves {where:.0%} of the rows", numbers)
        size = index_bytes(self.catalog, table, spec, 1.0 if where is None else where)
        by = [await self._by(spec, a, s) for a, s in served]
        fresh = [one for one, known in zip(served, by, strict=True) if known is None]
        if not fresh:
            return Verdict("exists", f"{by[0]} answers it already", {"size_bytes": size})
        return await self._gain(spec, fresh, size, costs)

    def small(self, table: Table) -> Verdict | None:
        """The verdict on a table that is read whole as quickly as by an index; None: larger."""
        costs = Costs.of(self.catalog.settings)
        if table.rows < 0 or table.kind == "p":
            return None
        whole, one = costs.whole(table), costs.lookup(table, 1, 1, 0, covered=False)
        if whole >= SMALL_TABLE_LOOKUPS * one:
            return None
        numbers = {"rows": table.rows, "size_bytes": table.pages * PAGE_BYTES,
                   "cost_whole": whole, "cost_lookup": one}  # fmt: skip
        return Verdict(
            "small_table", f"all of its {table.rows:.0f} rows are read as quickly", numbers
        )

    def looked_up(self, spec: IndexSpec, table: Table, times: float) -> Verdict:
        """Of an index through which one value is looked up so many times, where the whole table
        was read, as the triggers of a foreign key do."""
        if (small := self.small(table)) is not None:
            return small
        costs, size = Costs.of(self.catalog.settings), index_bytes(self.catalog, table, spec)
        column = self.catalog.column(table.oid, name_of(spec.keys[0].sql))
        values = column.distinct_values(table.rows) if column else None
        rows = table.rows / max(values or 1.0, 1.0)
        before = costs.whole(table)
        after = costs.lookup(table, rows, size / PAGE_BYTES, 0.0, covered=False)
        numbers = {"rows": rows, "cost_before": before, "cost_after": after, "size_bytes": size}
        return self._writes(spec, table, times * (before - after), costs, numbers)

    def _covering(self, spec: IndexSpec, served: list[tuple[Access, Served]]) -> Verdict | None:
        table = served[0][0].table
        numbers = {"visible_share": table.visible_share}
        if table.visible_share < LEAST_VISIBLE:
            return Verdict(
                "not_visible",
                f"only {table.visible_share:.0%} of the pages are all-visible: it would read the "
                "table all the same",
                numbers,
            )
        size, of = index_bytes(self.catalog, table, spec), table.pages * PAGE_BYTES
        if size > LARGEST_COVERING * of:
            numbers = {"size_bytes": size, "table_bytes": of}
            return Verdict("size", f"it would be {size / of:.0%} of the table", numbers)
        return None

    async def _by(self, spec: IndexSpec, access: Access, served: Served) -> str | None:
        """The index that is there and does the same for this access, or nearly the same."""
        for existing in self.existing.get(access.table.oid, ()):
            does = serves(existing.spec, access)
            if does is None:
                continue
            if existing.index.is_unique and existing.spec.where is None:
                keys = {c.key for c in does.bounding if c.kind == "eq" and not c.is_join}
                used = access.index == existing.index.name.partition(".")[2]
                if used or all(key.sql in keys for key in existing.spec.keys):
                    return existing.index.name  # one row at most: nothing to gain
            if does.at_least(served) and existing.spec.method == spec.method:
                return existing.index.name
            if does.bounding and not served.ordered and set(does.bounding) < set(served.bounding):
                share = await self._bounding(access, does.bounding)
                if share * access.table.rows <= FEW_ROWS:
                    return existing.index.name
        return None

    async def _gain(
        self,
        spec: IndexSpec,
        served: list[tuple[Access, Served]],
        size: float,
        costs: Costs,
    ) -> Verdict:
        best: dict[str, float] = {}
        saved: dict[str, float] = {}
        for access, does in served:
            before, after, share = await self._costs(spec, access, does, size, costs)
            if before - after > saved.get(access.statement, 0.0):
                saved[access.statement] = before - after
            if not best or after / max(before, 1e-9) < best["ratio"]:
                best = {"ratio": after / max(before, 1e-9), "cost_before": before,
                        "cost_after": after, "selectivity": share,
                        "rows": share * max(access.table.rows, 0)}  # fmt: skip
        numbers = {k: v for k, v in best.items() if k != "ratio"} | {"size_bytes": size}
        if best["ratio"] > 1 - LEAST_SAVING:
            share = best["selectivity"]
            why = f"{share:.0%} of the rows would be read through it: reading all is as quick"
            return Verdict("selectivity", why, numbers)
        gain = sum(self.calls.get(s, 0.0) * value for s, value in saved.items())
        return self._writes(spec, served[0][0].table, gain, costs, numbers)

    async def _costs(
        self, spec: IndexSpec, access: Access, does: Served, size: float, costs: Costs
    ) -> tuple[float, float, float]:
        """(cost now, cost with it, share of the rows that it reads)."""
        before, loops = access.cost, access.loops
        if loops == 1.0 and (access.limit is not None or any(c.is_join for c in does.bounding)):
            # the sort goes away as well; a join is turned round: what is above counts too
            before = max(access.total, before)
        bounded = bool(does.bounding or does.branch or spec.where)
        if does.ordered and access.limit is None and not bounded and not does.covered:
            return before, before, 1.0  # the order alone: all of it is read in any case
        rows = await self._rows(spec, access, does)
        share, correlation = rows / max(access.table.rows, 1), self._correlation(access.table, does)
        if share > LARGEST_SHARE and not does.covered and abs(correlation) < LEAST_CORRELATION:
            return before, before, share
        after = costs.lookup(access.table, rows, size / PAGE_BYTES, correlation, does.covered)
        return before, after * loops, share

    async def _rows(self, spec: IndexSpec, access: Access, does: Served) -> float:
        """How many rows are read through it."""
        bounding = tuple(dict.fromkeys((*does.bounding, *_stated(spec, access))))
        share = await self._bounding(access, bounding)
        if does.branch:
            branches = " OR ".join(f"({c.text})" for c in does.branch)
            asked = await self._share(access.table, branches)
            share = _UNSEEN_EQUAL if asked is None else asked
        rows = share * max(access.table.rows, 1)
        if does.ordered and access.limit is not None and access.loops == 1.0:
            left = await self._bounding(access, access.conditions)
            return min(rows, access.limit * share / max(left, 1e-9))
        return max(rows, self.returned.get(access.statement, 0.0))

    def _correlation(self, table: Table, does: Served) -> float:
        column = next((c.column for c in does.bounding if c.column), None)
        known = self.catalog.column(table.oid, column) if column else None
        return (known.correlation or 0.0) if known else 0.0

    async def _bounding(self, access: Access, conditions: Iterable[Condition]) -> float:
        """The share of the rows that these leave. Of all conditions together the plan has said it;
        of some the server is asked for each key, and keys are taken for independent, as it does."""
        found, table = list(dict.fromkeys(conditions)), access.table
        joined = any(c.is_join for c in access.conditions)
        if not joined and not access.any_of and set(found) == set(access.conditions):
            return float(min(access.rows / access.loops / max(table.rows, 1.0), 1.0))
        share, texts = 1.0, dict[str, list[str]]()
        for c in found:
            if c.is_join:
                column = self.catalog.column(table.oid, c.column or "")
                different = column.distinct_values(table.rows) if column else None
                share *= 1 / different if different else _UNSEEN_EQUAL
            elif c.text and "$" not in c.text:
                texts.setdefault(c.key, []).append(c.text)
            else:
                share *= _UNSEEN_EQUAL if c.kind == "eq" else _UNSEEN_RANGE
        for of_key in texts.values():
            asked = await self._share(table, " AND ".join(f"({t})" for t in sorted(of_key)))
            share *= 1.0 if asked is None else asked
        return share

    async def _share(self, table: Table, where: str) -> float | None:
        """What the planner says that a condition leaves; None when it cannot be asked."""
        key = (table.oid, where)
        if where and key not in self._shares:
            self._shares[key] = await self._ask(table, where)
        return self._shares.get(key, 1.0)

    async def _ask(self, table: Table, where: str) -> float | None:
        try:
            # the texts are the server's own, from EXPLAIN
            plan = await self.planner.plan(f"SELECT 1 FROM {table.quoted} WHERE {where}")
        except REFUSALS:
            return None
        return float(min(plan["Plan Rows"] / max(table.rows, 1.0), 1.0))

    def _writes(
        self, spec: IndexSpec, table: Table, gain: float, costs: Costs, numbers: dict[str, float]
    ) -> Verdict:
        """What it saves against what its upkeep costs."""
        depends = frozenset(columns_of(spec))
        others = self.existing.get(table.oid, ())
        entries = hot = 0.0
        for change in self.changes.get(table.oid, ()):
            if change.columns is None or change.columns & depends:
                entries += change.rows / (ROWS_OF_BRIN if spec.method == "brin" else 1)
            if change.columns and change.columns & depends and not _indexed(change, others):
                # until now heap-only: every other index gets an entry from now on as well
                hot += change.rows * len(others)
        upkeep = (entries + hot) * costs.entry
        numbers |= {"gain": gain, "upkeep": upkeep, "entries": entries, "hot_entries": hot}
        replaced = tuple(e.index.quoted for e in others if replaces(spec, e))
        if upkeep > gain:
            code: ReasonCode = "hot" if hot > entries else "writes"
            why = f"{entries + hot:.0f} entries to write cost {upkeep:.0f}, it saves {gain:.0f}"
            return Verdict(code, why, numbers)
        return Verdict(None, "", numbers, replaced)


def _stated(spec: IndexSpec, access: Access) -> tuple[Condition, ...]:
    """The conditions that the predicate of a partial index states: what they leave out is not in
    it."""
    parts = {join(p) for p in conjuncts(tokens(spec.where))} if spec.where else set()
    return tuple(c for c in access.conditions if c.text in parts)


def _indexed(change: Change, others: Iterable[Existing]) -> bool:
    """Whether the update changes an indexed column already, and so is not heap-only."""
    columns = change.columns or frozenset()
    return any(columns & frozenset(columns_of(e.spec)) for e in others)


def replaces(spec: IndexSpec, existing: Existing) -> bool:
    """Whether the existing index has nothing that the new one has not: its keys come first."""
    old = existing.spec
    plain = not (existing.index.pinned or old.unique)
    same = old.method == spec.method == "btree" and old.where == spec.where
    prefix = spec.keys[: len(old.keys)] == old.keys
    names = {*(name_of(key.sql) for key in spec.keys), *map(name_of, spec.include)}
    return plain and same and prefix and {name_of(i) for i in old.include} <= names
