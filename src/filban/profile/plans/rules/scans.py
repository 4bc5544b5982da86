"""Rows that are read and thrown away, blocks that did not have to be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity
from filban.profile.plans.expressions import Term, quote, terms
from filban.profile.plans.model import Node, Plan
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
    "plan.hidden_column",
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


def find(plan: Plan, known: Known) -> Iterator[Finding]:  # noqa: ARG001 - every rule's signature
    for node in plan.nodes:
        if not node.executed or not matters(plan, node):
            continue
        if node.kind == "Seq Scan":
            yield from _seq_scan(plan, node)
        elif node.kind in ("Index Scan", "Index Only Scan", "Bitmap Heap Scan"):
            yield from _index_scan(plan, node)
        if node.kind == "Bitmap Heap Scan":
            yield from _lossy(plan, node)
        if node.kind == "Index Only Scan":
            yield from _heap_fetches(plan, node)


def _removed(node: Node) -> tuple[float, float]:
    """Rows thrown away over all loops, and their share of those read."""
    removed = node.number_of("Rows Removed by Filter") * (node.loops or 0)
    read = removed + node.total_rows
    return removed, removed / read if read else 0.0


def _seq_scan(plan: Plan, node: Node) -> Iterator[Finding]:
    removed, ratio = _removed(node)
    if removed < LIMITS.removed_rows or ratio < LIMITS.removed_ratio:
        return
    parts = terms(node.text_of("Filter"))
    hidden = [t for t in parts if (not t.bare and t.functions) or (t.casts and _hides(t))]
    usable = _key(parts)
    if hidden and not usable:
        yield _hidden_column(plan, node, hidden[0], removed)
        return
    yield Finding(
        code="plan.seq_scan_filter",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"{removed:,.0f} rows of {node.relation} are read to keep {node.total_rows:,.0f}",
        why=f"The whole table is scanned and {100 * ratio:.1f} % thrown away by "
        f"{node.text_of('Filter')}.",
        evidence=_evidence(plan, node, removed),
        fix=_index(node, usable) if usable else Fix(
            advice="No column is compared alone with a constant, so no plain index serves this "
            "condition; rewrite it so that one is."
        ),
    )  # fmt: skip


def _evidence(plan: Plan, node: Node, removed: float) -> dict[str, Quantity]:
    rows = {
        "rows_removed": Quantity(round(removed), "rows"),
        "rows_kept": Quantity(round(node.total_rows), "rows"),
    }
    return rows | times(plan, node)


def _key(parts: tuple[Term, ...]) -> list[str]:
    """Columns for an index: those compared for equality first, then one compared by a range."""
    usable = [t for t in parts if t.indexable and not _hides(t)]
    equal = [t.bare for t in usable if t.equality]
    ranged = [t.bare for t in usable if not t.equality and t.bare not in equal]
    return list(dict.fromkeys([*equal, *ranged[:1]]))


def _hides(term: Term) -> bool:
    """Whether a cast of the column keeps a plain index from being used.

    text over varchar and name is only a relabelling: the index serves it as it is.
    """
    return any(kind not in ("text", "varchar", "bpchar", "oid") for kind in term.casts)


def _index(node: Node, columns: list[str]) -> Fix:
    keys = ", ".join(quote(column) for column in columns)
    return Fix(
        sql=f"CREATE INDEX CONCURRENTLY ON {quoted_table(node)} ({keys});",
        lock="SHARE UPDATE EXCLUSIVE",
        caution="A candidate, not proven: look first whether an index begins with these columns "
        "already. Every write will have to keep it up.",
    )


def _hidden_column(plan: Plan, node: Node, term: Term, removed: float) -> Finding:
    what = f"the function {term.functions[0]}()" if term.functions else f"a cast to {term.casts[0]}"
    columns = ", ".join(term.columns)
    return Finding(
        code="plan.hidden_column",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"{what} around {columns} keeps an index on it from being used",
        why=f"{removed:,.0f} rows are read and thrown away by {node.text_of('Filter')}. An index "
        "on the column knows nothing of the expression's values.",
        evidence=_evidence(plan, node, removed),
        fix=Fix(
            advice="Compare the column itself (a range instead of a function of it, a parameter of "
            "the column's own type), or make an index on the whole expression, which has to be "
            "immutable."
        ),
    )


def _index_scan(plan: Plan, node: Node) -> Iterator[Finding]:
    removed, ratio = _removed(node)
    if walks_for_limit(plan, node):
        return  # plan.limit_index says it
    if removed < LIMITS.removed_rows or ratio < LIMITS.removed_ratio:
        return
    columns = _key(terms(node.text_of("Filter")))
    condition = _key(terms(node.text_of("Index Cond") or node.text_of("Recheck Cond")))
    wanted = list(dict.fromkeys([*condition, *columns]))
    yield Finding(
        code="plan.index_filter",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"The index finds {removed + node.total_rows:,.0f} rows and "
        f"{node.total_rows:,.0f} are kept",
        why=f"{100 * ratio:.1f} % are fetched from the table only to be thrown away by "
        f"{node.text_of('Filter')}, which the index does not have.",
        evidence=_evidence(plan, node, removed),
        fix=_index(node, wanted) if columns else Fix(
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
