"""LIMIT, OFFSET and partitions: how much is read for what is returned."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity
from filban.profile.plans.expressions import order_by, terms
from filban.profile.plans.model import Node, Plan
from filban.profile.plans.rules.common import (
    MAIN_SHARE,
    Known,
    severity,
    subject,
    times,
)

CODES = ("plan.large_offset", "plan.limit_index", "plan.partitions")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """skipped_rows: a page far down; the first twenty pages of fifty are the ones people read
    (Winand, "SQL Performance Explained", chapter 7). walked_rows and walked_ratio: an index walked
    past this many rows to find the few asked for. partitions, empty_ratio: three of four partitions
    read for nothing, and not just two of two. Filban's own where no source is named."""

    skipped_rows: float = 1_000
    skipped_ratio: float = 0.90
    walked_rows: float = 10_000
    walked_ratio: float = 0.99
    partitions: int = 4
    empty_ratio: float = 0.75


LIMITS = Thresholds()
_PART = re.compile(r"(?P<base>.+)_(?P<number>\d+)")
_KEY = re.compile(r'(?P<column>(?:[\w."]|[^\x00-\x7f])+)(?P<down> DESC)?')


def find(plan: Plan, known: Known) -> Iterator[Finding]:
    for node in plan.nodes:
        if not node.executed:
            continue
        if node.kind == "Limit":
            yield from _offset(plan, node, known)
        if walks_for_limit(plan, node):
            yield _limit_index(plan, node)
        if node.kind in ("Append", "Merge Append"):
            yield from _partitions(plan, node)


def _offset(plan: Plan, node: Node, known: Known) -> Iterator[Finding]:
    below = next(plan.inputs(node), None)
    if below is None or below.rows is None or node.rows is None:
        return
    skipped = below.rows - node.rows
    if skipped < LIMITS.skipped_rows or skipped / below.rows < LIMITS.skipped_ratio:
        return
    yield Finding(
        code="plan.large_offset",
        severity=severity(plan, below.inclusive_ms),
        subject=subject(node),
        title=f"OFFSET: {skipped:,.0f} rows are computed and skipped for {node.rows:,.0f}",
        why="Every page costs all the pages before it.",
        evidence={
            "rows_skipped": Quantity(round(skipped), "rows"),
            "rows_returned": Quantity(round(node.rows), "rows"),
        },
        fix=Fix(advice=_keyset(plan, node, known)),
    )


def _keyset(plan: Plan, node: Node, known: Known) -> str:
    """The rewrite, with the sort's own columns where the plan or the statement tells them."""
    keys = next((below.properties.get("Sort Key") for below in plan.below(node)
                 if below.kind in ("Sort", "Incremental Sort")), None)  # fmt: skip
    told = keys if isinstance(keys, list) else order_by(known.sql or plan.query)
    found = [_KEY.fullmatch(str(key)) for key in told]
    words = [m for m in found if m]
    down = {bool(m["down"]) for m in words}
    if not words or len(words) != len(found) or len(down) != 1:
        return (
            "Remember the last row's sort key instead and ask for what follows it: WHERE (key, id) "
            "> (last key, last id) ORDER BY key, id LIMIT n, with an index on (key, id)."
        )
    columns = [m["column"] for m in words]
    tuple_, last = ", ".join(columns), ", ".join(f"last {c}" for c in columns)
    order = ", ".join(m[0] for m in words)
    beyond = "<" if down == {True} else ">"
    return (
        f"Remember the last row of the page instead: WHERE ({tuple_}) {beyond}"
        f" ({last}) ORDER BY {order} LIMIT {node.rows:,.0f}, with an index on ({tuple_}). Add a "
        "unique column at the end if these may be equal."
    )


def walks_for_limit(plan: Plan, node: Node) -> bool:
    """An index read in order, for a LIMIT above, past rows that its condition does not have."""
    if node.kind != "Index Scan" or not node.executed or "Filter" not in node.properties:
        return False
    removed = node.number_of("Rows Removed by Filter") * (node.loops or 0)
    read = removed + node.total_rows
    if removed < LIMITS.walked_rows or removed / read < LIMITS.walked_ratio:
        return False
    for above in plan.above(node):
        if above.kind == "Limit":
            return True
        if above.kind in ("Sort", "Aggregate", "Hash", "Hash Join") or above.subplan:
            return False
    return False


def _limit_index(plan: Plan, node: Node) -> Finding:
    removed = node.number_of("Rows Removed by Filter") * (node.loops or 0)
    equal = [t.bare for t in terms(node.text_of("Filter")) if t.indexable and t.equality]
    first = ", ".join(dict.fromkeys(equal)) or "the condition's columns"
    return Finding(
        code="plan.limit_index",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"{node.index} was walked past {removed:,.0f} rows to find {node.total_rows:,.0f}",
        why="For ORDER BY … LIMIT the planner hoped to meet rows with "
        f"{node.text_of('Filter')} soon, taking them for evenly spread; they are rare or stand at "
        "the other end.",
        evidence={
            "rows_removed": Quantity(round(removed), "rows"),
            "rows_kept": Quantity(round(node.total_rows), "rows"),
            **times(plan, node),
        },
        fix=Fix(
            advice=f"An index that has both: ({first}, then the columns of ORDER BY). Until then "
            "an expression in ORDER BY (id + 0) keeps the planner off this index."
        ),
    )


def _partitions(plan: Plan, node: Node) -> Iterator[Finding]:
    parts = list(plan.inputs(node))
    if len(parts) < LIMITS.partitions or not _of_one_table(parts):
        return
    filtered = [p for p in parts if p.executed and _conditions(p)]
    empty = [p for p in filtered if p.total_rows == 0]
    ms = sum(p.inclusive_ms or 0.0 for p in empty)
    timed = node.inclusive_ms is not None
    if len(empty) < LIMITS.empty_ratio * len(parts) or (timed and plan.share(ms) < MAIN_SHARE):
        return
    yield Finding(
        code="plan.partitions",
        severity=severity(plan, ms),
        subject=subject(node),
        title=f"{len(empty)} of {len(parts)} partitions were read and gave nothing",
        why="The condition does not let the planner leave them out: it is not on the partition "
        "key, or hides it in an expression or a cast.",
        evidence={
            "partitions": Quantity(len(parts), "count"),
            "empty": Quantity(len(empty), "count"),
            "share": Quantity(round(100 * plan.share(ms), 1), "percent"),
        },
        fix=Fix(
            advice="Add a condition on the partition key itself, of its own type and without a "
            "function around it."
        ),
    )


def _of_one_table(parts: list[Node]) -> bool:
    """Partitions of one table have its alias with a number: p_1, p_2 …"""
    named = [_PART.fullmatch(part.alias) for part in parts if part.kind.endswith("Scan")]
    bases = {match["base"] for match in named if match}
    return len(named) == len(parts) and all(named) and len(bases) == 1


def _conditions(node: Node) -> str:
    return node.text_of("Filter") or node.text_of("Index Cond") or node.text_of("Recheck Cond")
