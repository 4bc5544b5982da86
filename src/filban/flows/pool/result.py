"""What a sweep has found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from filban.tune.pool_size import Choice, Slots, Step


@dataclass(frozen=True, slots=True)
class BenchResult:
    """closed: one step for each size and concurrency; open: at the chosen size, by rate."""

    server: str
    workload: str
    closed: tuple[Step, ...]
    open: tuple[Step, ...]
    choice: Choice | None
    slots: Slots
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Stable keys; times in seconds, throughput in statements a second."""
        usl = self.choice.usl if self.choice else None
        return {
            "server": self.server,
            "workload": self.workload,
            "recommended_size": self.choice.size if self.choice else None,
            "good": self.choice.good if self.choice else False,
            "why": self.choice.why if self.choice else "no statement was run",
            "peak_throughput": self.choice.peak_throughput if self.choice else None,
            "usl": asdict(usl) | {"peak": usl.peak, "limit": usl.limit} if usl else None,
            "closed": [asdict(s) | {"throughput": s.throughput} for s in self.closed],
            "open": [asdict(s) | {"throughput": s.throughput} for s in self.open],
            "slots": asdict(self.slots),
            "seconds": self.seconds,
        }
