"""The shapes of a proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from filban.flows.prove.intervals import Interval
from filban.index.advice import IndexSpec, Statement

Plan = dict[str, Any]
WhyDropped = Literal[
    "not_built",  # the server refuses it
    "not_chosen",  # by the planner's estimates others of the set do more within the budget
    "not_used",  # no plan of the workload has it
    "does_not_pay",  # without it the statements take as long
    "slows_down",  # a statement became slower through it
    "not_measured",  # the time was over
    "budget",  # the set would be larger than allowed, and it brings least for its size
    "writes",  # its upkeep costs more than the reads save
]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a proof may take. statement_timeout_ms: of one execution; least_pairs, most_pairs: how
    often a statement is executed on each side; seconds: after which nothing new is measured;
    budget_bytes: of all that is kept together, really built; None for no limit."""

    statement_timeout_ms: int = 60_000
    least_pairs: int = 3
    most_pairs: int = 15
    seconds: float = 1800.0
    budget_bytes: int | None = None
    cold_statements: int = 5


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution on the clone. ms: planning and executing; cpu_ms: of the backend and its
    workers, None where the system does not tell; blocks: touched, hit or read; wal_bytes: written;
    timed_out: it was ended at the timeout, which stands for its times."""

    ms: float
    cpu_ms: float | None
    blocks: int
    read_blocks: int
    wal_bytes: int
    plan: Plan
    timed_out: bool = False

    @property
    def cost(self) -> float:
        """What decides: the CPU where it is known, as it is not the neighbours' doing; in ms."""
        return self.ms if self.cpu_ms is None else self.cpu_ms


@dataclass(frozen=True, slots=True)
class Side:
    """Means over the executions of one side. plan: of the last one."""

    ms: float
    cpu_ms: float | None
    blocks: float
    wal_bytes: float
    plan: Plan

    @property
    def cost(self) -> float:
        return self.ms if self.cpu_ms is None else self.cpu_ms


@dataclass(frozen=True, slots=True)
class Compared:
    """A statement before and after. ratio: after / before of what decides (CPU where known), with
    its 95 % interval; pairs: how many executions of each side; indexes: names that the plan after
    uses. cold_before_ms, cold_after_ms: from disk, None where not measured."""

    statement: Statement
    before: Side
    after: Side
    ratio: Interval
    pairs: int
    indexes: tuple[str, ...]
    timed_out: bool = False
    cold_before_ms: float | None = None
    cold_after_ms: float | None = None

    @property
    def gain_ms(self) -> float:
        """Of all its calls together."""
        return self.statement.calls * (self.before.cost - self.after.cost)


@dataclass(frozen=True, slots=True)
class Built:
    """An index that was built on the clone. name: on the clone and in the plan; definition: the
    server's own statement for it, with every name qualified; names: under which plans show it, its
    own and those of its partitions' parts."""

    spec: IndexSpec
    name: str
    seconds: float
    size_bytes: int
    definition: str
    names: tuple[str, ...]

    @property
    def qualified(self) -> str:
        """As SQL has it."""
        return f"{self.spec.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Dropped:
    """An index that did not stand the proof."""

    spec: IndexSpec
    why: WhyDropped
    detail: str
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RefusedStatement:
    """A statement that was not executed, even on the clone."""

    statement: Statement
    why: str


@dataclass(frozen=True, slots=True)
class WriteCost:
    """A writing statement replayed in transactions that were rolled back. hot_before, hot_after:
    share of its updates that were heap-only, None where it updates nothing."""

    statement: Statement
    before: Side
    after: Side
    ratio: Interval
    pairs: int
    hot_before: float | None
    hot_after: float | None

    @property
    def loss_ms(self) -> float:
        """Of all its calls together."""
        return self.statement.calls * (self.after.cost - self.before.cost)


@dataclass(frozen=True, slots=True)
class Proof:
    """What was kept and what speaks for it. drops: existing indexes ("schema.name" as SQL has it)
    that are not needed beside what was kept.

    compared: statements whose plan changes through the kept set; unchanged: ids of those whose plan
    does not. taken_at: the clone's. complete: everything was measured within the time that was
    allowed.
    """

    kept: tuple[Built, ...]
    drops: tuple[str, ...]
    dropped: tuple[Dropped, ...]
    compared: tuple[Compared, ...]
    unchanged: tuple[str, ...]
    writes: tuple[WriteCost, ...]
    refused: tuple[RefusedStatement, ...]
    taken_at: datetime
    seconds: float
    executions: int
    complete: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(b.size_bytes for b in self.kept)

    @property
    def ratio(self) -> float:
        """After / before of all calls of the statements compared, writes included; 1.0 of none."""
        measured: tuple[Compared | WriteCost, ...] = (*self.compared, *self.writes)
        before = sum(c.statement.calls * c.before.cost for c in measured)
        after = sum(c.statement.calls * c.after.cost for c in measured)
        return after / before if before else 1.0
