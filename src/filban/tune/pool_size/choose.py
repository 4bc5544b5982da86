"""Which size to take, from what was measured. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from filban.tune.pool_size.rows import Step
from filban.tune.pool_size.usl import Usl, fit
from filban.units import duration

# The knee: what is left above 95 % of the best throughput is within the noise of a run, and each
# further connection costs memory and latency (HikariCP, "About Pool Sizing"; Gunther, chapter 6).
SHARE_OF_PEAK = 0.95
# A p95 up to a quarter above the best of the sweep counts as good where no objective is named;
# filban's own, about the spread between two runs on a shared machine.
P95_MARGIN = 1.25


@dataclass(frozen=True, slots=True)
class Choice:
    """size: connections for all processes together. reached: share of the best throughput."""

    size: int
    reached: float
    peak_throughput: float
    latency_p95: float
    good: bool
    why: str
    usl: Usl | None


def choose(
    steps: Sequence[Step],
    *,
    objective_p95: float | None = None,
    share: float = SHARE_OF_PEAK,
    margin: float = P95_MARGIN,
) -> Choice | None:
    """The smallest size with `share` of the best throughput whose p95 is good, at the highest
    concurrency that was measured. None without a step that has run a statement.

    objective_p95: seconds; without it, `margin` times the best p95 at the same concurrency.
    """
    ran = [s for s in steps if s.rate is None and s.statements]
    if not ran:
        return None
    concurrency = max(s.concurrency for s in ran)
    at_load = sorted((s for s in ran if s.concurrency == concurrency), key=lambda s: s.size)
    peak = max(s.throughput for s in at_load)
    limit = objective_p95 or margin * min(s.latency_p95 for s in at_load)
    fast = [s for s in at_load if s.throughput >= share * peak]
    good = [s for s in fast if s.latency_p95 <= limit]
    best = min(good or fast, key=lambda s: s.size if good else s.latency_p95)
    # below the concurrency each connection is busy; above it the size changes nothing
    points = [(float(s.size), s.throughput) for s in at_load if s.size <= concurrency]
    return Choice(
        size=best.size,
        reached=best.throughput / peak,
        peak_throughput=peak,
        latency_p95=best.latency_p95,
        good=bool(good),
        why=_why(best, peak, limit, bool(good), at_load[-1]),
        usl=fit(points),
    )


def _why(best: Step, peak: float, limit: float, good: bool, largest: Step) -> str:
    reached = f"{best.throughput / peak:.0%} of the best throughput"
    if not good:
        return (
            f"no size reaches p95 {duration(limit)} at this load: {best.size} comes closest with "
            f"{duration(best.latency_p95)}, at {reached}. Fewer statements or faster ones are "
            "needed, not more connections"
        )
    words = f"the smallest with {reached} and p95 {duration(best.latency_p95)}"
    if best.size == largest.size:
        words += "; it is the largest that was measured, so a larger one may do more"
    return words
