"""What became of the statements that a plan was made for. Pure.

Two readings of pg_stat_statements are compared, one from after the indexes were there; what a
statement took before is what the plan and the reading before say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from filban.index.apply.plan import Plan, Watched

# A mean of fewer calls says little: one call that waited for a lock would decide.
LEAST_CALLS = 20
# It disappoints that brings less than half of what was promised: forecasts are measured on a clone
# with its own cache, so that the last third is not to be relied on.
LEAST_SHARE_OF_GAIN = 0.5

Verdict = Literal["as promised", "disappoints", "too few calls"]


@dataclass(frozen=True, slots=True)
class Counted:
    """calls and their time in all, as one reading of pg_stat_statements has them."""

    calls: int
    total_ms: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One statement since. before_ms, forecast_ms, now_ms: means a call; now_ms None without
    calls."""

    watched: Watched
    calls: int
    before_ms: float
    forecast_ms: float
    now_ms: float | None
    verdict: Verdict


Reading = Mapping[int, Counted]


def as_line(epoch: str, reading: Reading) -> dict[str, Any]:
    """What the journal keeps. epoch: since when the counters count; others' do not compare."""
    return {
        "epoch": epoch,
        "calls": {str(q): [c.calls, c.total_ms] for q, c in reading.items()},
    }


def from_line(line: Mapping[str, Any] | None, epoch: str) -> Reading | None:
    """The reading of a journal's line; None where there is none of this run of counters."""
    if line is None or line.get("epoch") != epoch:
        return None
    return {int(q): Counted(int(c), float(ms)) for q, (c, ms) in line["calls"].items()}


def outcomes(plan: Plan, after: Reading, now: Reading) -> list[Outcome]:
    """What was called since `after` was read, statement by statement, in the plan's order."""
    return [_outcome(w, after.get(w.query_id), now.get(w.query_id)) for w in plan.watched]


def _outcome(watched: Watched, after: Counted | None, now: Counted | None) -> Outcome:
    start, end = after or Counted(0, 0.0), now or Counted(0, 0.0)
    calls, spent = end.calls - start.calls, end.total_ms - start.total_ms
    if calls < 0:  # dropped from the table for room and counted anew
        calls, spent = end.calls, end.total_ms
    mean = spent / calls if calls > 0 else None
    return Outcome(
        watched, max(calls, 0), watched.before_ms, watched.forecast_ms, mean,
        _verdict(watched, calls, mean),
    )  # fmt: skip


def _verdict(watched: Watched, calls: int, mean: float | None) -> Verdict:
    if mean is None or calls < LEAST_CALLS:
        return "too few calls"
    promised = watched.before_ms - watched.forecast_ms
    if promised <= 0:
        return "as promised"
    gained = watched.before_ms - mean
    return "as promised" if gained >= LEAST_SHARE_OF_GAIN * promised else "disappoints"
