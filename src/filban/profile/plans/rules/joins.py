"""What is done again for each row: inner sides of nested loops, subqueries, join filters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity
from filban.profile.plans.expressions import relations, terms
from filban.profile.plans.model import Node, Plan
from filban.profile.plans.rules.common import (
    MAIN_SHARE,
    MINIMUM_SHARE,
    Known,
    severity,
    subject,
)

CODES = ("plan.nested_loop", "plan.subplan_per_row", "plan.late_or", "plan.cte_materialised")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """loops: a thousand repetitions; an index lookup takes some microseconds, so fewer cost
    milliseconds. blocks_a_loop: an index lookup touches four or five blocks (the tree's height and
    the row's); twice that is no lookup. removed_ratio and removed_rows: as for scans. All filban's
    own but for the shares of `common`."""

    loops: float = 1_000
    blocks_a_loop: float = 10
    removed_ratio: float = 0.90
    removed_rows: float = 10_000


LIMITS = Thresholds()
# Row overhead of a hashed subquery's entry (nodeSubplan.c keeps a MinimalTuple in a hash table).
_ENTRY_BYTES = 64
_RESERVE = 1.5  # as for spilled hashes


def find(plan: Plan, known: Known) -> Iterator[Finding]:
    for node in plan.nodes:
        if not node.executed:
            continue
        if node.kind == "Nested Loop":
            yield from _nested_loop(plan, node)
        if node.relationship == "SubPlan":
            yield from _per_row(plan, node, known)
        yield from _late_or(plan, node)
        if node.kind == "CTE Scan":
            yield from _cte(plan, node)


def _loops(node: Node) -> float:
    """Repetitions in one process."""
    return (node.loops or 0.0) / node.participants


def _nested_loop(plan: Plan, node: Node) -> Iterator[Finding]:
    sides = [c for c in plan.children(node) if c.relationship in ("Outer", "Inner")]
    if len(sides) != 2 or _loops(sides[1]) < LIMITS.loops:
        return
    outer, inner = sides
    if inner.inclusive_ms is not None and plan.share(inner.inclusive_ms) < MAIN_SHARE:
        return
    blocks = inner.buffers.touched / (inner.loops or 1) if inner.buffers else 0.0
    rescans = inner.kind in ("Seq Scan", "Materialize") or blocks > LIMITS.blocks_a_loop
    misled = (outer.error or 1.0) >= LIMITS.blocks_a_loop
    if not rescans and not misled:
        return  # many cheap lookups: often the best there is
    why = (
        f"{outer.plan_rows or 0:,.0f} rows were expected from {outer.title}, and each of the "
        f"{outer.rows or 0:,.0f} costs a repetition."
        if misled
        else "Each repetition reads more than an index lookup would."
    )
    yield Finding(
        code="plan.nested_loop",
        severity=severity(plan, inner.inclusive_ms),
        subject=subject(node),
        title=f"{inner.title} was repeated {_loops(inner):,.0f} times",
        why=why,
        evidence={
            "loops": Quantity(round(inner.loops or 0), "count"),
            "blocks_a_loop": Quantity(round(blocks, 1), "pages"),
            "share": Quantity(round(100 * plan.share(inner.inclusive_ms), 1), "percent"),
        },
        fix=Fix(
            advice="Mend the estimate (see plan.misestimate), so that a hash join is taken."
            if misled
            else "An index on the inner table's join column makes a lookup of each repetition; a "
            "join by equality can be hashed, one by inequality or OR cannot."
        ),
    )


def _per_row(plan: Plan, node: Node, known: Known) -> Iterator[Finding]:
    ms = node.inclusive_ms
    if _loops(node) < LIMITS.loops or (ms is not None and plan.share(ms) < MINIMUM_SHARE):
        return
    above = next(plan.above(node))
    conditions = " ".join(above.text_of(key) for key in ("Filter", "Join Filter"))
    if f"hashed {node.subplan}" in conditions:
        return
    # the planner materialises what IN and NOT IN look through, and nothing else of a SubPlan
    # (make_subplan, subselect.c)
    not_hashed = node.kind == "Materialize"
    yield Finding(
        code="plan.subplan_per_row",
        severity=severity(plan, ms),
        subject=subject(node),
        title=f"A subquery was executed {node.loops:,.0f} times, once for each row",
        why="The list of IN or NOT IN was not expected to fit into work_mem as a hash table, so "
        "that it is searched from its beginning for every row."
        if not_hashed
        else "It depends on the row around it, and the planner could not turn it into a join.",
        evidence={
            "loops": Quantity(round(node.loops or 0), "count"),
            "share": Quantity(round(100 * plan.share(ms), 1), "percent"),
        },
        fix=Fix(
            advice="Write EXISTS or NOT EXISTS (SELECT … WHERE inner = outer), which becomes a "
            "join (and treats NULL as one expects), or hold the list in memory: "
            f"SET LOCAL work_mem = '{_list_mb(node, known)}MB'."
            if not_hashed
            else "Join the table, grouped by the column that it depends on, or give the subquery "
            "an index on that column."
        ),
    )


def _list_mb(node: Node, known: Known) -> int:
    """work_mem that takes the list as a hash table; the planner asks by its own estimate."""
    rows = max(node.rows or 0.0, node.plan_rows or 0.0)
    needed = rows * ((node.width or 0) + _ENTRY_BYTES) * _RESERVE
    return max(1, math.ceil(needed / 1024**2 / (known.hash_mem_multiplier or 1.0)))


def _late_or(plan: Plan, node: Node) -> Iterator[Finding]:
    key = "Join Filter" if "Join Filter" in node.properties else "Filter"
    if not node.kind.endswith(("Join", "Loop")) or key not in node.properties:
        return
    removed = node.number_of(f"Rows Removed by {key}") * (node.loops or 0)
    if removed < LIMITS.removed_rows or removed / (removed + node.total_rows) < (
        LIMITS.removed_ratio
    ):
        return
    either = [t for t in terms(node.text_of(key)) if t.alternatives]
    if not either or len(relations(node.text_of(key))) < 2:
        return
    yield Finding(
        code="plan.late_or",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"An OR across tables throws {removed:,.0f} joined rows away",
        why=f"{node.text_of(key)} needs columns of both sides, so that it is tested only after "
        "they are joined, and no index serves it.",
        evidence={
            "rows_removed": Quantity(round(removed), "rows"),
            "rows_kept": Quantity(round(node.total_rows), "rows"),
        },
        fix=Fix(
            advice="Write one SELECT for each side of the OR and put them together with UNION: "
            "each then has a condition on one table."
        ),
    )


def _cte(plan: Plan, node: Node) -> Iterator[Finding]:
    removed = node.number_of("Rows Removed by Filter") * (node.loops or 0)
    read = removed + node.total_rows
    if removed < LIMITS.removed_rows or removed / read < LIMITS.removed_ratio:
        return
    name = node.text_of("CTE Name")
    readers = sum(n.kind == "CTE Scan" and n.text_of("CTE Name") == name for n in plan.nodes)
    yield Finding(
        code="plan.cte_materialised",
        severity=severity(plan, node.inclusive_ms),
        subject=subject(node),
        title=f"The CTE {name} is computed whole and {removed:,.0f} of its rows thrown away",
        why=f"A materialised CTE is a fence: {node.text_of('Filter')} cannot be pushed into it.",
        evidence={
            "rows_removed": Quantity(round(removed), "rows"),
            "rows_kept": Quantity(round(node.total_rows), "rows"),
            "readers": Quantity(readers, "count"),
        },
        fix=Fix(
            advice=f"WITH {name} AS NOT MATERIALIZED (…), or put the condition into it."
            + (" It is read more than once: compare both." if readers > 1 else "")
        ),
    )
