"""What holds the workload of an interval back, with the evidence and what to do first.

diagnose(target, seconds=30) -> Diagnosis    watch a server and judge
judge(interval)                              the same for an interval that was watched; pure
"""

from filban.profile.bottlenecks.diagnose import (
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    Diagnosis,
    diagnose,
)
from filban.profile.bottlenecks.parts import NAMES
from filban.profile.bottlenecks.rules import CODES, Verdict, judge

__all__ = [
    "CODES",
    "LONGEST_SECONDS",
    "NAMES",
    "SHORTEST_SECONDS",
    "Diagnosis",
    "Verdict",
    "diagnose",
    "judge",
]
