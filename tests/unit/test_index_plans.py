"""The plan file, the journal, progress and the look afterwards, without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.errors import UsageError
from filban.flows.prove.intervals import ratio
from filban.index.apply import Journal, Plan, Step, Watched, read, write
from filban.index.apply.progress import seen
from filban.index.apply.rows import Building
from filban.index.apply.watched import Counted, as_line, from_line, outcomes

CREATE = 'CREATE UNIQUE INDEX CONCURRENTLY "A b" ON "S".t USING btree (lower(x)) WHERE y > 0'


def test_a_plan_comes_back_from_its_file(tmp_path: Path):
    plan = Plan(
        (Step(CREATE, "why", 10, 0.5), Step('DROP INDEX CONCURRENTLY "S"."old one"')),
        (Watched(-(2**63), "SELECT 1", 2.0, 1.0),), 2**63 + 1, "news", '"$user", public',
        {"ratio": 0.5},
    )  # fmt: skip
    write(plan, tmp_path / "p.json")
    assert read(tmp_path / "p.json") == plan
    step, drop = plan.steps
    assert (step.action, step.schema, step.table, step.name) == ("create", "S", "t", "A b")
    assert step.has_expression
    assert (drop.action, drop.schema, drop.name) == ("drop", "S", "old one")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX i ON public.t (a)",  # would block
        "CREATE INDEX CONCURRENTLY i ON t (a)",  # whose t?
        "CREATE INDEX CONCURRENTLY ON public.t (a)",  # which name to look for?
        "DROP INDEX CONCURRENTLY i",
        "DROP INDEX CONCURRENTLY public.i, public.j",
        "DROP INDEX CONCURRENTLY public.i CASCADE",
        "DROP TABLE public.t",
        "CREATE INDEX CONCURRENTLY i ON public.t (a); DROP TABLE public.t",
        "nonsense",
        "",
    ],
)
def test_a_step_is_one_index(sql: str):
    with pytest.raises(UsageError):
        Step(sql)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "else"}, {"version": 2}, {"steps": [{"sql": "DROP TABLE t"}]}, {"steps": None},
        {"watched": [{}]}, {"system_identifier": "x"}, {"created_at": "yesterday"},
    ],
)  # fmt: skip
def test_a_damaged_plan_says_so(tmp_path: Path, change: dict[str, object]):
    path = tmp_path / "p.json"
    write(Plan((Step(CREATE),)), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UsageError):
        read(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', "\x00"])
def test_no_plan_at_all(tmp_path: Path, text: str):
    (tmp_path / "p").write_text(text)
    with pytest.raises(UsageError):
        read(tmp_path / "p")
    with pytest.raises(UsageError):
        read(tmp_path / "missing")


def test_the_journal_remembers_what_was_begun(tmp_path: Path):
    journal = Journal(tmp_path / "plan.json")
    journal.note("p", "1/db", "building", step=0, index="a.b")
    assert journal.state("p", "1/db").begun is not None
    assert journal.state("p", "1/other").begun is None
    assert journal.state("q", "1/db").begun is None
    journal.note("p", "1/db", "built", step=0)
    journal.note("p", "1/db", "dropping", step=1, definition="CREATE INDEX x ON y (z)")
    journal.note("p", "1/db", "dropped", step=1)
    state = journal.state("p", "1/db")
    assert state.begun is None
    assert state.done == {0: "built", 1: "dropped"}
    assert state.definitions == {1: "CREATE INDEX x ON y (z)"}
    journal.note("p", "1/db", "reverting", step=1)
    journal.note("p", "1/db", "reverted", step=1)
    assert journal.state("p", "1/db").done == {0: "built"}


@given(cut=st.integers(min_value=1, max_value=60))
def test_a_line_that_a_kill_cut_says_nothing(tmp_path_factory, cut: int):
    journal = Journal(tmp_path_factory.mktemp("j") / "plan.json")
    journal.note("p", "s", "building", step=0)
    journal.note("p", "s", "built", step=0)
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-cut])
    journal.note("p", "s", "building", step=1)
    state = journal.state("p", "s")
    assert state.begun is not None
    assert state.begun[0] == 1
    assert state.done in ({}, {0: "built"})


def building(phase: str, blocks: int = 0, tuples: int = 0) -> Building:
    return Building(phase, 100, blocks, 100, tuples, None)


def test_progress_never_goes_back():
    looks = [
        building("initializing"),
        building("building index: scanning table", 10),
        building("building index: scanning table", 100),
        building("building index: sorting live tuples", 100),
        building("building index: loading tuples in tree", 100, 1),
        building("building index: loading tuples in tree", 100, 100),
        building("index validation: scanning index", 1),
        building("index validation: sorting tuples", 100),
        building("index validation: scanning table", 50),
        building("waiting for old snapshots"),
    ]
    ratios = [seen("i", look, 10.0).ratio for look in looks]
    assert ratios == sorted(ratios)
    assert ratios[0] == 0.0
    assert ratios[-1] == 1.0
    half = seen("i", building("building index: scanning table", 100), 10.0)
    assert half.eta_seconds == pytest.approx(10.0)
    assert seen("i", looks[0], 10.0).eta_seconds is None


def test_what_became_of_the_statements():
    plan = Plan(
        (),
        tuple(Watched(n, f"s{n}", before_ms=10.0, forecast_ms=2.0) for n in range(5)),
    )
    after = {0: Counted(100, 1000.0), 1: Counted(100, 1000.0), 2: Counted(100, 1000.0)}
    now = {
        0: Counted(150, 1000.0 + 50 * 5.9),  # more than half of what was promised
        1: Counted(150, 1000.0 + 50 * 6.1),  # less
        2: Counted(110, 1010.0),  # ten calls say nothing
        3: Counted(50, 50 * 1.0),  # was not called before
    }
    found = outcomes(plan, after, now)
    assert [o.verdict for o in found] == [
        "as promised", "disappoints", "too few calls", "as promised", "too few calls",
    ]  # fmt: skip
    line = json.loads(json.dumps(as_line("e1", after)))
    assert from_line(line, "e1") == after
    assert from_line(line, "e2") is None  # the counters began anew
    assert from_line(None, "e1") is None


@given(st.lists(st.floats(0.01, 1e4), min_size=2, max_size=20), st.floats(0.1, 10.0))
def test_the_interval_of_a_pure_factor_is_that_factor(before: list[float], factor: float):
    found = ratio(before, [b * factor for b in before])
    assert found.low == pytest.approx(factor, rel=1e-6)
    assert found.high == pytest.approx(factor, rel=1e-6)


@given(st.lists(st.tuples(st.floats(0.01, 1e3), st.floats(0.01, 1e3)), min_size=1, max_size=40))
def test_an_interval_holds_its_value(pairs: list[tuple[float, float]]):
    found = ratio([b for b, _ in pairs], [a for _, a in pairs])
    assert found.low <= found.value * (1 + 1e-9)
    assert found.value <= found.high * (1 + 1e-9)
    assert len(pairs) > 1 or (found.low, found.high) == (0.0, float("inf"))
