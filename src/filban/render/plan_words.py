"""What terminal and page both say of a plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from filban.finding import Finding
from filban.profile.plans import Comparison, Node, Plan
from filban.units import number

# Shown below a node, in this order, where EXPLAIN tells them.
DETAILS = (
    "Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter", "Filter",
    "One-Time Filter", "Rows Removed by Filter", "Rows Removed by Join Filter",
    "Rows Removed by Index Recheck", "Sort Key", "Presorted Key", "Group Key", "Sort Method",
    "Hash Batches", "HashAgg Batches", "Heap Fetches", "Lossy Heap Blocks", "Workers Launched",
    "Subplans Removed",
)  # fmt: skip


def milliseconds(value: float | None) -> str:
    """ "0.012", "3.4", "1,204"; "" for what was not measured."""
    if value is None:
        return ""
    return f"{value:.3f}" if value < 1 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def headline(plan: Plan) -> str:
    """One line about the whole."""
    root = plan.root
    words = [root.title]
    if plan.total_ms is not None:
        words.append(f"{milliseconds(plan.total_ms)} ms")
    if plan.planning_ms is not None:
        words.append(f"planning {milliseconds(plan.planning_ms)} ms")
    if plan.jit is not None and plan.jit.total_ms is not None:
        words.append(f"JIT {milliseconds(plan.jit.total_ms)} ms")
    if root.buffers is not None:
        words.append(f"{number(root.buffers.touched)} blocks")
    if plan.settings.get("plan_cache_mode") == "force_generic_plan":
        words.append("generic plan, for any values of its parameters")
    if not plan.analyzed:
        words.append("estimates only, nothing was executed")
    return " · ".join(words)


def details(node: Node) -> Iterator[tuple[str, str]]:
    """What is worth a line below a node: no zero counts, no single batch."""
    for key in DETAILS:
        value = node.text_of(key)
        if value not in ("", "0") and not (key.endswith("Batches") and value == "1"):
            yield key, value


def nothing_found(plan: Plan) -> str:
    """What is said in place of findings."""
    if plan.analyzed:
        return "Nothing found."
    return "Nothing found in the estimates; most findings need what was measured (--analyze)."


def rows_text(node: Node) -> str:
    """Estimated → measured, a loop."""
    planned = "" if node.plan_rows is None else number(round(node.plan_rows))
    if node.rows is None or not node.loops:
        return planned
    measured = number(node.rows if node.rows < 10 else round(node.rows))
    return f"{planned} → {measured}" if planned else measured


def branches(plan: Plan) -> Iterator[tuple[Node, str, str]]:
    """(node, what leads to it, what stands before the lines below it), as a tree is drawn."""
    prefixes = {0: ""}
    for node in plan.nodes:
        if node.parent is None:
            yield node, "", "│" if node.children else " "
            continue
        before = prefixes[node.parent]
        last = plan.nodes[node.parent].children[-1] == node.number
        prefixes[node.number] = before + ("   " if last else "│  ")
        below = prefixes[node.number] + ("│" if node.children else " ")
        yield node, before + ("└─ " if last else "├─ "), below


def plan_json(plan: Plan, findings: tuple[Finding, ...]) -> dict[str, Any]:
    """The document of `filban explain --json`: units are in the names."""
    return {
        "findings": [finding.as_json() for finding in findings],
        "facts": {
            "query": plan.query,
            "query_id": plan.query_id,
            "format": plan.format,
            "analyzed": plan.analyzed,
            "planning_ms": plan.planning_ms,
            "execution_ms": plan.execution_ms,
            "total_ms": plan.total_ms,
            "settings": dict(plan.settings),
        },
        "triggers": [dataclasses.asdict(trigger) for trigger in plan.triggers],
        "jit": plan.jit and dataclasses.asdict(plan.jit),
        "nodes": [dataclasses.asdict(node) for node in plan.nodes],
    }


def comparison_json(compared: Comparison) -> dict[str, Any]:
    """The document of `--compare --json`: nodes by their number in each plan."""
    return {
        "before": plan_json(compared.before, ()),
        "after": plan_json(compared.after, ()),
        "ratio": compared.ratio,
        "pairs": [
            {
                "before": None if pair.before is None else pair.before.number,
                "after": None if pair.after is None else pair.after.number,
            }
            for pair in compared.pairs
        ],
    }
