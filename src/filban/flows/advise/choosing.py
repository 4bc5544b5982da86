"""Which candidates go on: to the proof, or, without one, to the person.

With a proof the real choice is made on the clone (`filban.flows.prove.choosing`); here only so many
are let through as can be built there. Without one, HypoPG is asked where the server has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from filban.flows.advise.options import AdviseOptions
from filban.index import choice
from filban.index.advice import Candidate, Workload
from filban.pg import Session

# Each is built on the clone for real; beyond these a proof would take hours.
MOST_PROVEN = 40
# What HypoPG 1.3 can pretend; others cannot be weighed against them.
_PRETENDED = frozenset({"btree", "hash", "brin"})
EXTENSION = "hypopg"


async def chosen(
    opened: Session,
    workload: Workload,
    candidates: Sequence[Candidate],
    options: AdviseOptions,
) -> list[Candidate]:
    """The candidates that go on, the most useful first. Raises ConnectionLost."""
    if options.prove and len(candidates) <= MOST_PROVEN:
        return list(candidates)
    budget = None if options.prove else options.budget_bytes
    if opened.server.installed(EXTENSION) is None:
        picked = greedy(candidates, workload, budget)
    else:
        picked = await _by_hypopg(opened, workload, candidates, budget)
    return picked[:MOST_PROVEN] if options.prove else picked


async def _by_hypopg(
    opened: Session, workload: Workload, candidates: Sequence[Candidate], budget: int | None
) -> list[Candidate]:
    of = {c.spec: c for c in candidates}
    able = [c for c in candidates if c.spec.method in _PRETENDED]
    async with choice.hypothetical(opened, workload.search_path) as what_if:
        best = await choice.choose(
            what_if, workload, able, {c.spec: _bytes(c) for c in able},
            choice.Limits(bytes=budget),
            writes={c.spec: c.numbers.get("upkeep", 0.0) for c in able},
        )  # fmt: skip
    left = None if budget is None else budget - best.bytes
    others = [c for c in candidates if c.spec.method not in _PRETENDED]
    return [*(of[spec] for spec in best.specs), *greedy(others, workload, left)]


def greedy(
    candidates: Sequence[Candidate], workload: Workload, budget: int | None
) -> list[Candidate]:
    """By what each saves for its size, as if it were alone."""
    calls = {s.id: s.calls for s in workload.statements}
    left = budget
    picked: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: _rank(c, calls)):
        if left is not None:
            if _bytes(candidate) > left:
                continue
            left -= _bytes(candidate)
        picked.append(candidate)
    return picked


def _bytes(candidate: Candidate) -> int:
    return int(candidate.numbers.get("size_bytes", 0.0))


def _rank(candidate: Candidate, calls: Mapping[str, float]) -> tuple[float, str]:
    numbers = candidate.numbers
    saved = numbers.get("cost_before", 0.0) - numbers.get("cost_after", 0.0)
    weight = sum(calls.get(s, 0.0) for s in candidate.statements)
    return (-weight * saved / max(_bytes(candidate), 1), candidate.spec.definition())
