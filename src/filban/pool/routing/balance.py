"""Which of the servers that may answer does answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

# A server that has just come in gets this share of the reads of a settled one, growing to all.
FIRST_SHARE = 0.1
# A lag of so many seconds costs as much as one more statement in flight.
LAG_SECONDS_PER_STATEMENT = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """outstanding: leases out. latency, lag: seconds. share: 0..1, below 1 while it warms up."""

    outstanding: int
    latency: float
    lag: float
    share: float = 1.0


def share_after(seconds_in: float, slow_start: float) -> float:
    """How much of a full share a server gets that has been in for so long: linear."""
    if slow_start <= 0 or seconds_in >= slow_start:
        return 1.0
    return FIRST_SHARE + (1.0 - FIRST_SHARE) * seconds_in / slow_start


def cost(load: Load, fastest: float) -> float:
    """What one more statement costs there: those in flight and the lag, times how slow it is
    against the fastest, over its share."""
    slowness = load.latency / fastest if fastest > 0 else 1.0
    queue = 1 + load.outstanding + load.lag / LAG_SECONDS_PER_STATEMENT
    return queue * slowness / load.share


def pick(loads: Sequence[Load]) -> int:
    """The index of the cheapest; chosen at random, by share, where servers are as cheap.

    With few statements in flight all servers cost about the same: then the shares decide, or one
    that warms up would get nothing, and a slightly slower one nothing either.
    """
    fastest = min(load.latency for load in loads)
    costs = [cost(load, fastest) for load in loads]
    weights = [1.0 / c for c in costs]
    idle = [i for i, load in enumerate(loads) if not load.outstanding]
    if len(idle) == len(loads):
        return random.choices(range(len(loads)), weights)[0]  # noqa: S311 - load, not a secret
    cheapest = min(costs)
    return random.choice([i for i, c in enumerate(costs) if c == cheapest])  # noqa: S311
