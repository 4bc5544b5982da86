"""What rules share: what a server knows about a plan's tables, names for subjects, shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from filban.finding import Quantity, Severity
from filban.profile.plans.expressions import quote
from filban.profile.plans.model import Node, Plan

# A node that takes less than a tenth of the statement is not where its time goes: mending it can
# win one part in ten at most (Amdahl). filban's own.
MINIMUM_SHARE = 0.10
# From half of the statement on it is the first thing to do.
MAIN_SHARE = 0.50


@dataclass(frozen=True, slots=True)
class TableFacts:
    """rows: live rows as the server counts them; modified: since the last ANALYZE.

    statistics: names of the extended statistics that tell how columns belong together, with those.
    texts: columns that hold texts; None: not known.
    """

    analysed: bool
    rows: int
    modified: int
    statistics: tuple[tuple[str, frozenset[str]], ...] = ()
    texts: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the server told besides the plan. tables: by `schema.table`; work_mem in kB."""

    tables: Mapping[str, TableFacts] = field(default_factory=dict)
    work_mem_kb: int | None = None
    hash_mem_multiplier: float | None = None
    sql: str = ""

    def table(self, node: Node) -> TableFacts | None:
        return self.tables.get(f"{node.schema}.{node.relation}")


NOTHING_KNOWN = Known()


def subject(node: Node) -> str:
    """A node as a person finds it in the tree: "#3 Seq Scan on orders"."""
    return f"#{node.number + 1} {node.title}"


def quoted_table(node: Node) -> str:
    """The table's name for SQL."""
    parts = [node.schema, node.relation] if node.schema else [node.relation]
    return ".".join(quote(part) for part in parts)


def matters(plan: Plan, node: Node) -> bool:
    """Whether its own time is worth a finding; without times, every node is."""
    return node.exclusive_ms is None or plan.share(node.exclusive_ms) >= MINIMUM_SHARE


def severity(plan: Plan, ms: float | None) -> Severity:
    """warning where most of the time is at stake, info below and where none was measured."""
    return Severity.warning if plan.share(ms) >= MAIN_SHARE else Severity.info


def times(plan: Plan, node: Node) -> dict[str, Quantity]:
    """Evidence: the node's own time, and its share of the statement."""
    if node.exclusive_ms is None:
        return {}
    return {
        "own_time": Quantity(round(node.exclusive_ms, 3), "ms"),
        "share": Quantity(round(100 * plan.share(node.exclusive_ms), 1), "percent"),
    }
