"""A set of candidates under a budget, by what the planner estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from filban.index.advice import Candidate, Workload

# A proof executes what it is given: more than these would take hours, and the last bring little.
MOST_PROVEN = 40


def chosen(
    candidates: Sequence[Candidate], workload: Workload, budget_bytes: int | None
) -> list[Candidate]:
    """Greedy by what each saves for its size. Of candidates without estimates the first ones."""
    calls = {s.id: s.calls for s in workload.statements}
    left = budget_bytes
    picked: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: _rank(c, calls)):
        size = candidate.numbers.get("size_bytes", 0.0)
        if left is not None:
            if size > left:
                continue
            left -= int(size)
        picked.append(candidate)
    return picked[:MOST_PROVEN]


def _rank(candidate: Candidate, calls: Mapping[str, float]) -> tuple[float, str]:
    numbers = candidate.numbers
    saved = numbers.get("cost_before", 0.0) - numbers.get("cost_after", 0.0)
    weight = sum(calls.get(s, 0.0) for s in candidate.statements)
    return (-weight * saved / max(numbers.get("size_bytes", 1.0), 1.0), str(candidate.spec))
