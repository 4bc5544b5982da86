"""The shapes of choosing a set of indexes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from filban.index.advice import IndexSpec

Specs = frozenset[IndexSpec]
NONE: Specs = frozenset()


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one statement in the planner's units, and the candidates that its plan uses."""

    total: float
    used: Specs = NONE


@dataclass(frozen=True, slots=True)
class Limits:
    """bytes: of all chosen indexes together; None: no limit. seconds: until the best set so far is
    taken."""

    bytes: int | None = None
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """specs: the set, what helps most by itself first. bytes: its estimated size. before, after:
    the cost of the workload, each statement's as often as it is called. costs: statement id ->
    (before, after), once. asked: plans that the server was asked for. whole: every search has ended
    before its time."""

    specs: tuple[IndexSpec, ...]
    bytes: int
    before: float
    after: float
    costs: Mapping[str, tuple[float, float]]
    asked: int
    whole: bool

    @property
    def ratio(self) -> float:
        """After to before; 1.0 where there is nothing to win."""
        return self.after / self.before if self.before else 1.0
