"""Sorts, hashes and aggregates that did not fit into work_mem, and the one that holds them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity
from filban.profile.plans.model import Node, Plan
from filban.profile.plans.rules.common import Known, severity, subject, times
from filban.units import size

CODES = ("plan.sort_spill", "plan.hash_spill", "plan.aggregate_spill", "plan.temp_blocks")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """minimum_kb: below a megabyte the files never leave the operating system's cache; filban's
    own. row_overhead_bytes: a sorted row's SortTuple (24), its header (23, aligned) and the
    allocator's share (tuplesort.c, aset.c). group_overhead_bytes: a hash entry, its key's header
    and its transition values (nodeAgg.c, execGrouping.c). reserve: what is left for growth, as
    arrays are doubled. largest_multiplier: of hash_mem_multiplier (guc_tables.c)."""

    minimum_kb: float = 1024
    row_overhead_bytes: float = 64
    group_overhead_bytes: float = 128
    reserve: float = 1.5
    block_kb: float = 8
    largest_multiplier: float = 1000


LIMITS = Thresholds()


def find(plan: Plan, known: Known) -> Iterator[Finding]:
    for node in plan.nodes:
        if not node.executed:
            continue
        if node.kind in ("Sort", "Incremental Sort"):
            yield from _sort(plan, node)
        elif node.kind == "Hash":
            yield from _hash(plan, node, known)
        elif node.kind == "Aggregate":
            yield from _aggregate(plan, node, known)
        elif not node.kind.endswith("Join"):  # a join writes what its hash's batches hold
            yield from _temp(plan, node)


def _sort(plan: Plan, node: Node) -> Iterator[Finding]:
    disk = node.number_of("Sort Space Used")
    if node.text_of("Sort Space Type") != "Disk" or disk < LIMITS.minimum_kb:
        return
    below = next(plan.inputs(node), node)
    row = (node.width or 0) + LIMITS.row_overhead_bytes
    in_memory = (below.rows or 0.0) * row / 1024
    needed = max(in_memory, disk) * LIMITS.reserve
    yield _spill(
        plan, node, "plan.sort_spill", disk, needed,
        f"The sort by {node.text_of('Sort Key')} went to disk",
    )  # fmt: skip


def _hash(plan: Plan, node: Node, known: Known) -> Iterator[Finding]:
    batches = node.number_of("Hash Batches")
    peak = node.number_of("Peak Memory Usage")
    total = batches * peak
    if batches <= 1 or total < LIMITS.minimum_kb:
        return
    yield _spill(
        plan, node, "plan.hash_spill", total - peak,
        total * LIMITS.reserve / _multiplier(plan, known),
        f"The hash table went to disk in {batches:,.0f} batches",
    )  # fmt: skip


def _aggregate(plan: Plan, node: Node, known: Known) -> Iterator[Finding]:
    disk = node.number_of("Disk Usage")
    if disk < LIMITS.minimum_kb:
        return
    groups = (node.rows or 0.0) * ((node.width or 0) + LIMITS.group_overhead_bytes) / 1024
    needed = max(groups, node.number_of("Peak Memory Usage")) * LIMITS.reserve
    yield _spill(
        plan, node, "plan.aggregate_spill", disk, needed / _multiplier(plan, known),
        f"{node.rows or 0:,.0f} groups did not fit into memory",
    )  # fmt: skip


def _multiplier(plan: Plan, known: Known) -> float:
    """hash_mem_multiplier (2 by default since 15, 1 before): 1 where nobody told, the safe side."""
    said = plan.settings.get("hash_mem_multiplier")
    if not said:
        return known.hash_mem_multiplier or 1.0
    try:
        value = float(said)
    except ValueError:
        return 1.0
    return value if 1.0 <= value <= LIMITS.largest_multiplier else 1.0


def _spill(
    plan: Plan, node: Node, code: str, disk_kb: float, needed_kb: float, title: str
) -> Finding:
    megabytes = max(1, math.ceil(needed_kb / 1024))
    return Finding(
        code=code,
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"{title}: {size(disk_kb * 1024)} of temporary files",
        why="What does not fit into work_mem is written to files and read again.",
        evidence={
            "disk": Quantity(round(disk_kb * 1024), "bytes"),
            "work_mem_needed": Quantity(megabytes * 1024**2, "bytes"),
            **times(plan, node),
        },
        fix=Fix(
            sql=f"SET LOCAL work_mem = '{megabytes}MB';",
            caution="An estimate with a reserve, for this statement's transaction. Every such node "
            "of every session may take as much: do not set it for the whole server.",
        ),
    )


def _temp(plan: Plan, node: Node) -> Iterator[Finding]:
    written = (node.own.temp_written if node.own else 0) * LIMITS.block_kb
    if written < LIMITS.minimum_kb:
        return
    yield Finding(
        code="plan.temp_blocks",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"{size(written * 1024)} were written to temporary files",
        why="The rows that this node keeps for later did not fit into work_mem.",
        evidence={"written": Quantity(round(written * 1024), "bytes"), **times(plan, node)},
        fix=Fix(
            sql=f"SET LOCAL work_mem = '{max(1, math.ceil(written * LIMITS.reserve / 1024))}MB';",
            caution="For this statement's transaction. Or keep fewer rows and columns: a "
            "materialised CTE keeps all that it selects.",
        ),
    )
