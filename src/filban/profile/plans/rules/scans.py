"""Rows that are read and thrown away, blocks that did not have to be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity
from filban.profile.plans.model import Node, Plan
from filban.profile.plans.rules.columns import candidate, conditions, key, obstacle, without_key
from filban.profile.plans.rules.common import (
    Known,
    matters,
    quoted_table,
    severity,
    subject,
    times,
)
from filban.profile.plans.rules.shapes import walks_for_limit

CODES = (
    "plan.seq_scan_filter", "plan.index_filter", "plan.lossy_bitmap", "plan.heap_fetches",
    "plan.hidden_column", "plan.collation",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Thresholds:
    """removed_ratio: nine rows of ten thrown away; with random reads at random_page_cost 1.1 to 4
    an index pays from about there on (PostgreSQL's manual, 20.7.2). removed_rows: fewer fit into
    some hundred blocks, which an index hardly beats; filban's own. lossy_ratio: half of the heap
    blocks are rechecked whole. heap_fetch_ratio: a tenth of the rows of an index-only scan had to
    be looked up; autovacuum_vacuum_insert_scale_factor's 0.2 lets it come to about twice that.
    """

    removed_ratio: float = 0.90
    removed_rows: float = 10_000
    lossy_ratio: float = 0.50
    heap_fetch_ratio: float = 0.10
    heap_fetches: float = 1_000


LIMITS = Thresholds()


def find(plan: Plan, known: Known) -> Iterator[Finding]:
    for node in plan.nodes:
        if not plan.analyzed and node.kind == "Seq Scan":
            yield from _seq_scan(plan, node, known, *_foreseen(plan, node, known))
        if not node.executed or not matters(plan, node):
            continue
        if node.kind == "Seq Scan":
            yield from _seq_scan(plan, node, known, *_removed(node))
        elif node.kind in ("Index Scan", "Index Only Scan", "Bitmap Heap Scan"):
            yield from _index_scan(plan, node, known)
        if node.kind == "Bitmap Heap Scan":
            yield from _lossy(plan, node)
        if node.kind == "Index Only Scan":
            yield from _heap_fetches(plan, node)


def _removed(node: Node) -> tuple[float, float]:
    """Rows thrown away over all loops, and their share of those read."""
    removed = node.number_of("Rows Removed by Filter") * (node.loops or 0)
    read = removed + node.total_rows
    return removed, removed / read if read else 0.0


def _foreseen(plan: Plan, node: Node, known: Known) -> tuple[float, float]:
    """The same by the planner's estimate and the server's count of the table's rows."""
    facts = known.table(node)
    limited = any(above.kind == "Limit" for above in plan.above(node))  # may stop early
    if facts is None or limited or "Filter" not in node.properties:
        return 0.0, 0.0
    removed = max(0.0, facts.rows - (node.plan_rows or 0.0))
    return removed, removed / facts.rows if facts.rows else 0.0


def _seq_scan(
    plan: Plan, node: Node, known: Known, removed: float, ratio: float
) -> Iterator[Finding]:
    if removed < LIMITS.removed_rows or ratio < LIMITS.removed_ratio:
        return
    evidence = _evidence(plan, node, removed)
    found = obstacle(plan, node, known, removed, evidence)
    if found is not None:
        yield found
        return
    usable = key(conditions(node, known, "Filter"))
    kept = node.total_rows if plan.analyzed else node.plan_rows or 0.0
    yield Finding(
        code="plan.seq_scan_filter",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"{removed:,.0f} rows of {node.relation} {'are' if plan.analyzed else 'would be'} "
        f"read to keep {kept:,.0f} others",
        why=f"The whole table is scanned and {100 * ratio:.1f} % thrown away by "
        f"{node.text_of('Filter')}.",
        evidence=evidence,
        fix=candidate(node, usable) if usable else without_key(node),
    )


def _evidence(plan: Plan, node: Node, removed: float) -> dict[str, Quantity]:
    rows = {
        "rows_removed": Quantity(round(removed), "rows"),
        "rows_kept": Quantity(
            round(node.total_rows if plan.analyzed else node.plan_rows or 0), "rows"
        ),
    }
    return rows | times(plan, node)


def _index_scan(plan: Plan, node: Node, known: Known) -> Iterator[Finding]:
    removed, ratio = _removed(node)
    if walks_for_limit(plan, node):
        return  # plan.limit_index says it
    if removed < LIMITS.removed_rows or ratio < LIMITS.removed_ratio:
        return
    filtered = conditions(node, known, "Filter")
    found = "Index Cond" if "Index Cond" in node.properties else "Recheck Cond"
    wanted = key((*conditions(node, known, found), *filtered))
    yield Finding(
        code="plan.index_filter",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"The index finds {removed + node.total_rows:,.0f} rows and "
        f"{node.total_rows:,.0f} are kept",
        why=f"{100 * ratio:.1f} % are fetched from the table only to be thrown away by "
        f"{node.text_of('Filter')}, which the index does not have.",
        evidence=_evidence(plan, node, removed),
        fix=candidate(node, wanted) if key(filtered) else Fix(
            advice="The filter compares no column alone with a constant: no wider index helps; a "
            "partial or expression index may."
        ),
    )  # fmt: skip


def _lossy(plan: Plan, node: Node) -> Iterator[Finding]:
    lossy = node.number_of("Lossy Heap Blocks")
    total = lossy + node.number_of("Exact Heap Blocks")
    if not lossy or lossy / total < LIMITS.lossy_ratio:
        return
    # tbm_calculate_entries (tidbitmap.c): about 64 bytes a page; twice for what hashing wastes
    needed_kb = max(64, round(total * 64 * 2 / 1024))
    yield Finding(
        code="plan.lossy_bitmap",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"The bitmap did not fit: {lossy:,.0f} of {total:,.0f} blocks are rechecked whole",
        why="Beyond work_mem a bitmap keeps blocks instead of rows, and every row of such a block "
        "is tested again.",
        evidence={
            "lossy_blocks": Quantity(round(lossy), "pages"),
            "exact_blocks": Quantity(round(total - lossy), "pages"),
            **times(plan, node),
        },
        fix=Fix(
            sql=f"SET LOCAL work_mem = '{needed_kb}kB';",
            caution="An estimate, for this transaction only.",
        ),
    )


def _heap_fetches(plan: Plan, node: Node) -> Iterator[Finding]:
    # counted over all loops, unlike rows
    fetches = node.number_of("Heap Fetches")
    rows = max(node.total_rows, 1.0)
    if fetches < LIMITS.heap_fetches or fetches / rows < LIMITS.heap_fetch_ratio:
        return
    yield Finding(
        code="plan.heap_fetches",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"An index-only scan looked {fetches:,.0f} rows up in the table after all",
        why="Blocks that the visibility map does not know as all-visible have to be read; VACUUM "
        "keeps the map.",
        evidence={
            "heap_fetches": Quantity(round(fetches), "rows"),
            "rows": Quantity(round(node.total_rows), "rows"),
            **times(plan, node),
        },
        fix=Fix(sql=f"VACUUM {quoted_table(node)};", lock="SHARE UPDATE EXCLUSIVE"),
    )
