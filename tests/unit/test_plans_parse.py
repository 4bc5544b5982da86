"""Plans from any text: pasted, wrapped, logged, damaged; never a crash, never a hang."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filban.errors import UsageError
from filban.profile.plans import Plan, judge, parse, parse_all
from filban.profile.plans.formats import DEEPEST
from filban.profile.plans.parse import LONGEST

TEXT = """\
Hash Left Join  (cost=1.07..2.16 rows=3 width=8) (actual time=0.050..0.053 rows=3 loops=1)
  Hash Cond: (a.id = b.id)
  Buffers: shared hit=2
  InitPlan 1 (returns $0)
    ->  Result  (cost=0.00..0.01 rows=1 width=4) (actual time=0.001..0.001 rows=1 loops=1)
  ->  Seq Scan on a  (cost=0.00..1.03 rows=3 width=4) (actual time=0.010..0.011 rows=3 loops=1)
        Filter: (x > $0)
        Rows Removed by Filter: 12
        Buffers: shared hit=1
  ->  Hash  (cost=1.03..1.03 rows=3 width=4) (actual time=0.020..0.021 rows=3 loops=1)
        Buckets: 1024  Batches: 1  Memory Usage: 9kB
        Buffers: shared hit=1
        ->  Seq Scan on public.b bb  (cost=0.00..1.03 rows=3 width=4) (never executed)
Planning Time: 0.2 ms
Trigger for constraint a_fk on a: time=1.5 calls=3
JIT:
  Functions: 7
  Options: Inlining false, Optimization false, Expressions true, Deforming true
  Timing: Generation 0.5 ms, Inlining 0.0 ms, Optimization 0.3 ms, Emission 3.1 ms, Total 4.0 ms
Execution Time: 5.081 ms"""
JSON = json.dumps(
    [
        {
            "Plan": {
                "Node Type": "Limit",
                "Plan Rows": 3,
                "Plans": [{"Node Type": "Seq Scan", "Relation Name": "t", "Alias": "t"}],
            },
            "Planning Time": 0.2,
        }
    ],
    indent=2,
)
YAML = """- Plan:
    Node Type: "Sort"
    Sort Key:
      - "a"
      - "b DESC"
    Plans:
      - Node Type: "Seq Scan"
        Relation Name: "t"
        Filter: "(a = 'x: - y'::text)"
  Planning Time: 0.2"""
XML = """<explain xmlns="http://www.postgresql.org/2009/explain"><Query><Plan>
<Node-Type>Sort</Node-Type><Sort-Key><Item>a</Item></Sort-Key><I-O-Read-Time>1.5</I-O-Read-Time>
<Plans><Plan><Node-Type>Seq Scan</Node-Type><Filter>(a &lt; 4)</Filter></Plan></Plans></Plan>
<Planning-Time>0.2</Planning-Time></Query></explain>"""
SAMPLES = (TEXT, JSON, YAML, XML)


def shape(plan: Plan) -> list[tuple[Any, ...]]:
    return [(n.depth, n.title, n.rows, n.loops, n.exclusive_ms, n.own) for n in plan.nodes]


def test_text() -> None:
    plan = parse(TEXT)
    assert [n.title for n in plan.nodes] == [
        "Hash Left Join", "Result", "Seq Scan on a", "Hash", "Seq Scan on public.b bb",
    ]  # fmt: skip
    assert plan.execution_ms == 5.081
    assert plan.jit is not None
    assert plan.jit.total_ms == 4.0
    assert plan.jit.functions == 7
    assert plan.triggers[0].constraint == "a_fk"
    assert plan.triggers[0].ms == 1.5
    assert plan.nodes[4].loops == 0


def test_an_initplan_is_paid_by_the_node_that_waits_for_it() -> None:
    times = [n.exclusive_ms for n in parse(TEXT).nodes]
    assert times[4] is None  # never executed
    assert times[:4] == pytest.approx([0.021, 0.001, 0.010, 0.021])


def _psql(text: str) -> str:
    lines = text.splitlines()
    width = max(map(len, lines))
    body = "\n".join(f" {line}" for line in lines)
    return f"news=# EXPLAIN\n{'QUERY PLAN':^{width}}\n{'-' * (width + 2)}\n{body}\n(21 rows)\n\n"


def _bordered(text: str, bar: str = "|") -> str:
    lines = text.splitlines()
    width = max(map(len, lines))
    rule = "+" + "-" * (width + 2) + "+"
    body = "\n".join(f"{bar} {line:<{width}} {bar}" for line in lines)
    return f"{rule}\n{bar} {'QUERY PLAN':^{width}} {bar}\n{rule}\n{body}\n{rule}\n(21 rows)"


def _wrapped(text: str, columns: int = 70) -> str:
    """A narrow terminal, as it is copied."""
    return "\n".join(
        line[i : i + columns] for line in text.splitlines() for i in range(0, len(line), columns)
    )


FRAMES = {
    "psql": _psql,
    "border 2": _bordered,
    "unicode": lambda text: _bordered(text, "│"),
    "quoted rows": lambda text: "\n".join(f'"{x}"' for x in text.replace('"', '""').splitlines()),
    "mail": lambda text: "\n".join(f"> {line}" for line in text.splitlines()),
    "comment": lambda text: "\n".join(f"-- {line}" for line in text.splitlines()),
    "windows": lambda text: text.replace("\n", "\r\n"),
    "terminal": _wrapped,
    "expanded": lambda text: (
        "-[ RECORD 1 ]-----\n" + "\n".join(f"QUERY PLAN | {line}" for line in text.splitlines())
    ),
}


@pytest.mark.parametrize("frame", FRAMES)
def test_frames_of_a_text_plan(frame: str) -> None:
    assert shape(parse(FRAMES[frame](TEXT))) == shape(parse(TEXT))


@pytest.mark.parametrize("columns", range(50, 110, 3))
def test_a_terminal_of_any_width(columns: int) -> None:
    broken = _wrapped(TEXT, columns)
    assert shape(parse(broken)) == shape(parse(TEXT))
    trimmed = "\n".join(line.rstrip() for line in broken.splitlines())
    assert shape(parse(trimmed)) == shape(parse(TEXT))


def test_a_number_broken_at_its_point_keeps_it() -> None:
    line = "Limit  (cost=0.00..1.03 rows=3 width=4) (actual time=7.355..9.667 rows=3 loops=1)"
    at = line.index("..9") + 1
    assert parse(f"{line[:at]}\n{line[at:]}").total_ms == 9.667


def test_a_csv_value() -> None:
    for document in SAMPLES:
        quoted = document.replace('"', '""')
        if '""' in quoted:
            assert shape(parse(f'"{quoted}"')) == shape(parse(document))
    ends = "\n".join(f'{line}"' for line in TEXT.splitlines())
    assert shape(parse(ends)) == shape(parse(TEXT))


def test_frames_of_psql_with_double_lines() -> None:
    framed = _bordered(TEXT, "║").replace("+", "╟", 1)
    assert shape(parse(framed)) == shape(parse(TEXT))
    mixed = _bordered(TEXT, "│").splitlines()
    mixed[2] = "╞" + "═" * (len(mixed[2]) - 2) + "╡"
    assert shape(parse("\n".join(mixed))) == shape(parse(TEXT))


def test_subplans_without_a_number() -> None:
    """As PostgreSQL wrote them before 9.1: one line for all of a node's."""
    plan = parse(
        "Limit  (cost=0.00..2.00 rows=1 width=4)\n"
        "  InitPlan\n"
        "    ->  Seq Scan on a  (cost=0.00..1.00 rows=1 width=4)\n"
        "    ->  Result  (cost=0.00..1.00 rows=1 width=4)\n"
        "          ->  Seq Scan on c  (cost=0.00..1.00 rows=1 width=4)\n"
        "  ->  Seq Scan on b  (cost=0.00..1.00 rows=1 width=4)\n"
    )
    assert [(n.depth, n.subplan) for n in plan.nodes] == [
        (0, ""), (1, "InitPlan"), (1, "InitPlan"), (2, ""), (1, ""),
    ]  # fmt: skip


def test_what_follows_the_execution_time_is_not_part_of_it() -> None:
    assert parse(f"{TEXT}\n\n# this one was slow").execution_ms == 5.081


@pytest.mark.parametrize("document", [JSON, YAML, XML])
def test_documents_in_a_cell_of_psql(document: str) -> None:
    lines = document.splitlines()
    width = max(map(len, lines))
    body = "\n".join(f" {line:<{width}}+" for line in lines[:-1]) + f"\n {lines[-1]}"
    framed = f"{'QUERY PLAN':^{width}}\n{'-' * (width + 2)}\n{body}\n(1 row)\n"
    assert shape(parse(framed)) == shape(parse(document))


def test_documents() -> None:
    assert parse(YAML).nodes[0].properties["Sort Key"] == ["a", "b DESC"]
    assert parse(YAML).nodes[1].properties["Filter"] == "(a = 'x: - y'::text)"
    assert parse(XML).nodes[0].properties["I/O Read Time"] == 1.5
    assert parse(XML).nodes[1].text_of("Filter") == "(a < 4)"
    assert {parse(text).format for text in SAMPLES} == {"text", "json", "yaml", "xml"}
    assert parse(json.dumps([{"QUERY PLAN": JSON}])).nodes[1].relation == "t"
    assert parse(TEXT.encode("utf-16")).nodes[2].relation == "a"


def test_out_of_logs() -> None:
    tabbed = "\n".join(f"\t{line}" for line in TEXT.splitlines())
    entry = "2026-11-23 10:00:00 UTC [7] LOG:  duration: 5.081 ms  plan:\n\tQuery Text: SELECT\n"
    log = f"{entry}\t  1\n{tabbed}\n2026-11-23 10:00:01 UTC [7] LOG:  checkpoint starting: time\n"
    plans = parse_all(log + log.replace("5.081 ms", "9.0 ms"))
    assert len(plans) == 2
    assert plans[0].query.split() == ["SELECT", "1"]
    assert shape(plans[0]) == shape(parse(TEXT))
    message = {"message": f"duration: 1.0 ms  plan:\nQuery Text: SELECT 1\n{TEXT}", "pid": 1}
    assert shape(parse(json.dumps(message))) == shape(parse(TEXT))
    tabbed = "\n".join(f"\t{line}" for line in JSON.strip("[]").splitlines())
    assert parse(f"LOG:  duration: 1.0 ms  plan:\n{tabbed}\nnext").nodes[1].relation == "t"


@pytest.mark.parametrize(
    "text",
    [
        "", "hello", "{}", "[]", "[{}]", "<explain>", "<explain></explain>", "SELECT 1",
        '{"Plan": {}}', '{"Plan": {"Node Type": 4}}', "<explain><Query></explain>",
        '<!DOCTYPE x [<!ENTITY a "b">]><explain><Query><Plan>&a;</Plan></Query></explain>',
    ],
)  # fmt: skip
def test_no_plan_is_one_clear_error(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert raised.value.message


@pytest.mark.parametrize(
    "text",
    [
        '{"Plan":' + '{"Node Type":"A","Plans":[' * (DEEPEST + 9) + "]}" * (DEEPEST + 9) + "}",
        '{"Plan":' * 100_000,
        "[" * 200_000,
        "<explain><Query>" + "<Plans><Plan>" * 50_000 + "</explain>",
        "- Plan:\n" + "".join(f"{'  ' * i}Node Type:\n" for i in range(2, 2000)),
        "\n".join(f"{'  ' * i}->  Limit  (cost=0..1 rows=1 width=1)" for i in range(900)),
    ],
)
def test_too_deep_is_one_clear_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_too_long_is_one_clear_error() -> None:
    with pytest.raises(UsageError):
        parse(b" " * (LONGEST + 1))


def check(source: str | bytes) -> None:
    """A plan (which can be judged), or one clear error; nothing else."""
    try:
        plans = parse_all(source)
    except UsageError:
        return
    for plan in plans:
        judge(plan)
        assert all((n.exclusive_ms or 0) >= 0 for n in plan.nodes)


@given(st.binary(max_size=2000))
@example(b"\xff\xfe")
def test_any_bytes(raw: bytes) -> None:
    check(raw)


@given(
    st.lists(
        st.sampled_from(
            [line for sample in SAMPLES for line in sample.splitlines()]
            + [
                "duration: 1 ms  plan:",
                "(3 rows)",
                "----",
                "QUERY PLAN",
                "|",
                "",
                "CTE x",
                "{",
                "[",
            ]
        ),
        max_size=40,
    ),
    st.integers(0, 20),
)
def test_lines_in_any_order(lines: list[str], indent: int) -> None:
    check("\n".join(" " * (i * indent % 37) + line for i, line in enumerate(lines)))


KEYS = st.sampled_from(
    ["Plan", "Plans", "Node Type", "Actual Rows", "Actual Loops", "Actual Total Time", "Filter",
     "Plan Rows", "Rows Removed by Filter", "Subplan Name", "Triggers", "JIT", "Timing", "Settings",
     "Workers Launched", "Sort Key", "Alias", "CTE Name", "Shared Hit Blocks", "Query Identifier"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=8), VALUES)
def test_any_document(properties: dict[str, Any], summary: Any) -> None:
    node = {"Node Type": "Gather", "Actual Loops": 1, **properties}
    check(json.dumps({"Plan": node, "JIT": summary, "Triggers": summary, "Settings": summary}))


def damaged(sample: str, numbers: random.Random) -> str:
    """Characters removed, doubled, swapped and replaced."""
    text = sample
    for _ in range(numbers.randint(1, 12)):
        at, length = numbers.randrange(len(text) + 1), numbers.randint(0, 30)
        piece = numbers.choice(
            ["", text[at : at + length] * 2, "\n", '"', "(", ")", "9" * 400, "é"]
        )
        text = text[:at] + piece + text[at + length :]
    return text


@given(st.sampled_from(SAMPLES), st.integers(0, 2**32))
def test_damaged(sample: str, seed: int) -> None:
    check(damaged(sample, random.Random(seed)))


@pytest.mark.long
@settings(max_examples=20_000, deadline=None)
@given(st.sampled_from(SAMPLES), st.integers(0, 2**32))
def test_damaged_long(sample: str, seed: int) -> None:
    check(damaged(sample, random.Random(seed)))
