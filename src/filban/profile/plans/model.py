"""A plan as rows: nodes with what they cost by themselves. Frozen; made by `build`.

Times are milliseconds of wall clock over all loops; in a parallel section the processes' times are
averaged, as they ran side by side. Buffers are blocks of the server's block size over all loops and
processes. `own` and `exclusive` are without the children, `inclusive` and `buffers` with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

# Beyond it, no count or time of a server; keeps damaged input out of the arithmetic.
LARGEST = 1e15


@dataclass(frozen=True, slots=True)
class Buffers:
    """Blocks touched, and milliseconds spent on reading and writing them (track_io_timing)."""

    shared_hit: int = 0
    shared_read: int = 0
    shared_dirtied: int = 0
    shared_written: int = 0
    local_hit: int = 0
    local_read: int = 0
    local_dirtied: int = 0
    local_written: int = 0
    temp_read: int = 0
    temp_written: int = 0
    read_ms: float = 0.0
    write_ms: float = 0.0

    def __add__(self, other: Buffers) -> Buffers:
        return Buffers(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def without(self, other: Buffers) -> Buffers:
        """Never below zero: the server rounds, and a Gather's workers may be counted apart."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Buffers(*(max(mine - minus, type(mine)(0)) for mine, minus in pairs))

    @property
    def touched(self) -> int:
        """Blocks of tables and indexes, from memory or not."""
        return self.shared_hit + self.shared_read + self.local_hit + self.local_read


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    number: its place in `Plan.nodes`; parent: that of the node above, None for the root.
    kind: "Seq Scan", "Hash Join" … as EXPLAIN's JSON names it; title: as EXPLAIN's text does.
    relationship: "Outer", "Inner", "Member", "Subquery", "InitPlan", "SubPlan" or "".
    subplan: "InitPlan 1", "SubPlan 2", "CTE name" or "".
    rows, loops: as measured (rows a loop); None without ANALYZE; 0 loops: never executed.
    participants: processes that ran this part side by side, the leader counted.
    properties: everything EXPLAIN said, by its JSON's keys.
    """

    number: int
    parent: int | None
    depth: int
    kind: str
    title: str
    relationship: str
    subplan: str
    schema: str
    relation: str
    alias: str
    index: str
    startup_cost: float | None
    total_cost: float | None
    plan_rows: float | None
    width: int | None
    rows: float | None
    loops: float | None
    participants: float
    inclusive_ms: float | None
    exclusive_ms: float | None
    buffers: Buffers | None
    own: Buffers | None
    children: tuple[int, ...]
    properties: Mapping[str, Any] = field(repr=False)

    @property
    def executed(self) -> bool:
        return bool(self.loops)

    @property
    def total_rows(self) -> float:
        """Rows returned over all loops and processes; 0 without ANALYZE."""
        return (self.rows or 0.0) * (self.loops or 0.0)

    @property
    def error(self) -> float | None:
        """Rows measured over rows estimated (a loop): above 1 more came, below 1 fewer.

        None where nothing was measured. Both are taken as one at least, as the planner does.
        """
        if self.rows is None or self.plan_rows is None or not self.loops:
            return None
        return max(self.rows, 1.0) / max(self.plan_rows, 1.0)

    def number_of(self, key: str) -> float:
        """A numeric property, 0 where EXPLAIN did not tell it, or nothing that can be."""
        value = self.properties.get(key)
        if not isinstance(value, int | float) or not abs(value) < LARGEST:  # NaN is neither
            return 0.0
        return float(value)

    def text_of(self, key: str) -> str:
        """A property as text, "" where EXPLAIN did not tell it."""
        value = self.properties.get(key, "")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    @property
    def table(self) -> str:
        """`schema.table`, or the table alone without VERBOSE; "" where none is scanned."""
        return f"{self.schema}.{self.relation}" if self.schema else self.relation


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger's share. constraint: the foreign key (or other constraint) behind it, or ""."""

    name: str
    constraint: str
    relation: str
    calls: float
    ms: float | None


@dataclass(frozen=True, slots=True)
class Jit:
    """Just-in-time compilation, all processes together."""

    functions: int
    total_ms: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """nodes: in the order of EXPLAIN's text, the root first. query: its text where it is known."""

    nodes: tuple[Node, ...]
    planning_ms: float | None = None
    execution_ms: float | None = None
    triggers: tuple[Trigger, ...] = ()
    jit: Jit | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    query_id: int | None = None
    format: str = ""

    @property
    def root(self) -> Node:
        return self.nodes[0]

    @property
    def analyzed(self) -> bool:
        """Whether it was executed, so that rows were counted."""
        return self.root.loops is not None

    @property
    def total_ms(self) -> float | None:
        """What the statement took to execute, planning apart; None when no time was measured."""
        return self.execution_ms if self.execution_ms is not None else self.root.inclusive_ms

    def children(self, node: Node) -> Iterator[Node]:
        return (self.nodes[number] for number in node.children)

    def inputs(self, node: Node) -> Iterator[Node]:
        """The children whose rows it works on: not CTEs, InitPlans and SubPlans."""
        return (child for child in self.children(node) if not child.subplan)

    def above(self, node: Node) -> Iterator[Node]:
        """The nodes above, the nearest first."""
        while node.parent is not None:
            node = self.nodes[node.parent]
            yield node

    def below(self, node: Node) -> Iterator[Node]:
        """The nodes below, in order."""
        for child in self.children(node):
            yield child
            yield from self.below(child)

    def share(self, ms: float | None) -> float:
        """0..1 of the execution; 0 where time was not measured."""
        total = self.total_ms
        return min(1.0, ms / total) if ms and total else 0.0
