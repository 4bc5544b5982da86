"""The search for a set of indexes, held against trying them all."""

from __future__ import annotations

from itertools import chain, combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from filban.index.advice import IndexSpec, Key, Statement
from filban.index.choice.pairs import Pair, Pairs
from filban.index.choice.rows import NONE, Cost
from filban.index.choice.search import Problem, best

SPECS = [IndexSpec("public", f"t{n // 3}", (Key(f"c{n}"),)) for n in range(7)]


def never() -> bool:
    return False


def statement(number: int) -> Statement:
    return Statement(str(number), None, "SELECT 1", "read", 1, 0, (), (), "file")


@st.composite
def problems(draw) -> Problem:
    """Statements with plans over the same few indexes, sizes, write costs and a budget."""
    pairs = []
    for number in range(draw(st.integers(1, 5))):
        base = draw(st.integers(10, 1000))
        known = [Pair(Cost(base), NONE)]
        for _ in range(draw(st.integers(0, 4))):
            used = draw(st.frozensets(st.sampled_from(SPECS), min_size=1, max_size=3))
            known.append(Pair(Cost(draw(st.integers(1, base)), used), used))
        pairs.append((Pairs(statement(number), base, known), draw(st.integers(1, 9))))
    sizes = {spec: draw(st.integers(1, 50)) for spec in SPECS}
    writes = {spec: float(draw(st.integers(0, 200))) for spec in SPECS}
    return Problem(pairs, sizes, writes, draw(st.none() | st.integers(0, 200)))


@given(problems())
@settings(max_examples=150)
def test_nothing_is_better(problem):
    everything = chain.from_iterable(combinations(SPECS, n) for n in range(len(SPECS) + 1))
    optimum = min(problem.value(frozenset(s)) for s in everything if problem.fits(s))
    found = best(problem, 0, never)
    assert problem.fits(found)
    assert problem.value(found) <= optimum + 1e-3 * max(1.0, problem.value(NONE))


@given(problems(), st.integers(0, 3))
@settings(max_examples=30)
def test_the_same_seed_finds_the_same(problem, seed):
    assert best(problem, seed, never) == best(problem, seed, never)


@given(problems())
@settings(max_examples=30)
def test_without_time_some_set_is_there(problem):
    assert problem.fits(best(problem, 0, lambda: True))


@given(problems(), st.frozensets(st.sampled_from(SPECS)), st.frozensets(st.sampled_from(SPECS)))
@settings(max_examples=100)
def test_a_change_is_the_difference_of_values(problem, one, other):
    assert abs(problem.change(one, other) - (problem.value(other) - problem.value(one))) < 1e-6


def test_a_plan_stands_for_all_sets_between_what_it_used_and_was_offered():
    a, b, c = SPECS[:3]
    pairs = Pairs(statement(1), 100, [Pair(Cost(100), NONE)])
    pairs.known.append(Pair(Cost(10, frozenset({a})), frozenset({a, b})))
    assert pairs.exact(frozenset({a})) == Cost(10, frozenset({a}))
    assert pairs.exact(frozenset({a, b})) is not None
    assert pairs.exact(frozenset({b})) is None
    assert pairs.exact(frozenset({a, c})) is None
    assert pairs.answer(frozenset({a, c})).total == 10
    assert pairs.answer(frozenset({b, c})).total == 100
