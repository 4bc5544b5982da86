"""Which spans are shown and compared, what is said of them, and how it looks."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from rich.console import Console
from test_statements_deltas import START, counts, key

from filban.flows.queries import Queries, Window
from filban.flows.queries.window import basis, chosen, earlier
from filban.profile.statements import rules
from filban.profile.statements.history import Point, Span
from filban.profile.statements.learn import Samples, fingerprint, known
from filban.profile.statements.report import (
    ORDERS,
    Statement,
    compared,
    ranked,
    summed,
    with_shares,
)
from filban.profile.statements.rows import Active
from filban.render.queries import print_queries, sparkline
from filban.render.queries_html import page

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def span(number: int, start: datetime, end: datetime, *, from_zero: bool = False) -> Span:
    return Span(number, start, end, from_zero, 0, 0, 0, 0)


def every_ten_minutes(hours: int) -> list[Span]:
    """The first one from zero, a week before."""
    first = span(0, START - 7 * DAY, START, from_zero=True)
    steps = range(hours * 6)
    return [
        first,
        *(span(n + 1, START + 10 * n * MINUTE, START + 10 * (n + 1) * MINUTE) for n in steps),
    ]


def statement(number: int = 1, **values) -> Statement:
    made = Statement(number, f"f{number}", 5, "news", f"SELECT {number}", "pg_stat_statements")
    return replace(made, **values)


def test_the_last_span_alone_by_default():
    spans = every_ten_minutes(3)
    assert chosen(spans, Window(), spans[-1].end) == spans[-1:]
    assert "no earlier snapshot" in basis(spans[:1], Window())
    assert chosen(spans[:1], Window(since=HOUR), START) == spans[:1]


def test_since_is_what_lies_inside():
    spans = every_ten_minutes(3)
    assert chosen(spans, Window(since=HOUR), spans[-1].end) == spans[-6:]
    assert chosen(spans, Window(since=64 * MINUTE), spans[-1].end) == spans[-6:]
    assert chosen(spans, Window(since=66 * MINUTE), spans[-1].end) == spans[-7:]
    assert chosen(spans, Window(since=30 * DAY), spans[-1].end) == spans
    assert chosen(spans, Window(last=2), spans[-1].end) == spans[-2:]


def test_a_week_in_one_span_is_not_the_last_day():
    spans = every_ten_minutes(3)
    assert chosen(spans, Window(since=DAY), spans[-1].end) == spans[1:]


def test_the_same_hours_of_the_day_before():
    spans = every_ten_minutes(30)
    shown = chosen(spans, Window(since=HOUR), spans[-1].end)
    before, words = earlier(spans, shown)
    assert words == "the same hours of the day before"
    assert [s.start for s in before] == [s.start - DAY for s in shown]
    before, words = earlier(spans[:20], spans[18:20])
    assert (words, before) == ("the day until then", spans[1:18])
    assert earlier(spans[:1], spans[:1]) == ([], None)


def points(means: list[float], calls: int = 20) -> list[Point]:
    return [
        Point(START + n * MINUTE, START + (n + 1) * MINUTE, counts([mean] * calls))
        for n, mean in enumerate(means)
    ]


SLOWER = [10.0 + n / 100 for n in range(12)] + [34.0 + n / 100 for n in range(12)]


def test_a_regression_says_since_when_and_how_much():
    [found] = rules.regressions([(statement(), points(SLOWER))])
    finding = rules.regression(found)
    assert found.since == START + 12 * MINUTE
    assert finding.title.startswith("3.4x slower since 2026-11-23 08:12 UTC")
    assert finding.evidence["probability_of_chance"].value < 0.01
    assert "another plan" not in finding.why


def test_more_blocks_a_call_are_said():
    series = points(SLOWER)
    series = [
        replace(p, counts=p.counts._replace(hit_blocks=(60 if n < 12 else 6000)))
        for n, p in enumerate(series)
    ]
    [found] = rules.regressions([(statement(), series)])
    assert found.blocks_ratio == pytest.approx(100)
    assert "another plan" in rules.regression(found).why


def test_a_small_or_uncertain_change_is_none():
    assert not rules.regressions([(statement(), points([n + 10 for n in range(3)] * 8))])
    assert not rules.regressions([(statement(), points([10.0] * 12 + [14.0] * 12))])
    assert not rules.regressions([(statement(), points(SLOWER[::-1]))])
    assert not rules.regressions([(statement(), points(SLOWER[8:16]))])


def test_the_more_are_tested_the_more_certain_it_has_to_be():
    short = points(SLOWER[5:19])  # 2 / C(14, 7) = 0.0006
    quiet = [(statement(n), points([10.0 + n % 3] * 14)) for n in range(2, 30)]
    assert rules.regressions([(statement(), short)])
    assert not rules.regressions([(statement(), short), *quiet])


def test_candidates_make_up_most_of_the_time():
    given = with_shares([statement(n, total_ms=float(10**n)) for n in range(6)])
    assert [s.query_id for s in rules.candidates(given)] == [5, 4]


def test_intervals_without_a_call_are_no_points():
    series = points(SLOWER)
    idle = [replace(p, counts=p.counts._replace(calls=0, exec_ms=0.0)) for p in series]
    mixed = [p for pair in zip(series, idle, strict=True) for p in pair]
    [found] = rules.regressions([(statement(), mixed)])
    assert found.change.ratio == pytest.approx(3.4, abs=0.05)


def server(**settings: str):
    return SimpleNamespace(
        database="news",
        managed_by=None,
        installed={}.get,
        setting=lambda name: SimpleNamespace(value=settings[name]) if name in settings else None,
    )


def test_the_three_lines():
    sql = rules.not_installed(server(shared_preload_libraries="")).fix.sql
    assert sql.splitlines()[0] == (
        "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';"
    )
    assert len(sql.splitlines()) == 3
    managed = server()
    managed.managed_by = "Amazon RDS"
    fix = rules.not_installed(managed).fix
    assert fix.sql == "CREATE EXTENSION pg_stat_statements;"
    assert "Amazon RDS" in fix.caution
    ready = server(**{"pg_stat_statements.max": "5000"})
    assert rules.not_installed(ready).fix.sql == "CREATE EXTENSION pg_stat_statements;"


def test_ranking():
    one = statement(1, total_ms=5.0, calls=9, wal_bytes=1)
    other = statement(2, total_ms=9.0, calls=3, wal_bytes=7, temp_written_blocks=4)
    assert [s.query_id for s in ranked([one, other], "calls")] == [1, 2]
    assert [s.query_id for s in ranked([one, other], "wal")] == [2, 1]
    for by in ORDERS:
        assert len(ranked([one, other, statement(3)], by)) == 3
    assert [s.share for s in with_shares([one, other])] == pytest.approx([5 / 14, 9 / 14])


def test_summed_over_users_and_levels():
    sums = summed({key(1): counts([1.0]), key(1, user=9, toplevel=False): counts([2.0, 3.0])})
    assert (sums[5, 1].counts.calls, sums[5, 1].nested_calls) == (3, 2)
    assert sums[5, 1].user_ids == (9, 10)


def test_compared():
    assert compared(statement(mean_ms=6.0), counts([2.0])).change == 3
    assert compared(statement(mean_ms=6.0), None).change is None
    assert compared(statement(mean_ms=6.0), counts([0.0])).change is None


def test_texts_that_are_cut_or_lost():
    assert fingerprint("SELECT 1") == fingerprint("select $1 /*a='b'*/")
    assert fingerprint("SELECT 1 FROM (").startswith("x")
    assert known(5, 1, None).query == ""
    assert known(5, 1, "SELECT 1 /*route='a'*/").labels == {"route": "a"}


def test_samples_are_added_up():
    samples = Samples()
    session = Active(7, "news", "app", "khabar", "Lock:relation", "SELECT 1 /*route='a'*/")
    samples.add([session, session, replace(session, query=None)])
    samples.add([replace(session, query_id=None, wait="CPU")])
    seen = samples.seen["news", 7]
    assert (samples.taken, samples.hidden, seen.samples) == (2, 1, 2)
    assert (seen.waits, seen.labels) == ({"Lock:relation": 2}, {"route": "a"})
    assert len(samples.seen) == 2


EVIL = statement(
    -9223372036854775808, query="SELECT '<script>\x1b[2J'\n--", calls=10**9, total_ms=1e9,
    mean_ms=1e6, p95_ms=3.0, max_ms=3e6, stddev_ms=1.0, share=1.0, change=3.4, plan_ms=5.0,
    labels={"route": "GET /<b>"}, slower_since=START, slower_ratio=3.4, io_ms=3.0,
    users=("a", "b"), waits={"CPU": 3},
)  # fmt: skip
FACTS = {
    "by": "io", "basis": "since the last snapshot", "start": START.isoformat(),
    "end": START.isoformat(), "window_seconds": 60.0, "entries_evicted": 500,
    "compared_with": "the day until then", "not_visible": [],
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_table_fits(width: int):
    text = io.StringIO()
    result = Queries("primary", (EVIL, statement(2)) * 15, (), FACTS)
    print_queries(Console(file=text, width=width), result, top=20)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "\x1b" not in text.getvalue()
    for words in ("-9223372036854775808", "3.4x", "and 10 more", "500 evicted", "1,000,000,000"):
        assert words in text.getvalue()
    assert ("since 08:00" in text.getvalue()) == (width >= 120)
    assert "[GET" in text.getvalue()
    assert ("database" in text.getvalue()) == (width == 200)


def test_one_statement_whole():
    text = io.StringIO()
    series = tuple(points([1.0, 2.0, 8.0]))
    result = Queries("primary", (EVIL,), (), FACTS, one=True, points=series, plans=("Seq Scan",))
    print_queries(Console(file=text, width=80), result)
    for words in ("▂▃█", "fingerprint f-92", "p95 3.0 ms", "Seq Scan", "CPU 3", "route=GET"):
        assert words in text.getvalue()
    assert set(result.as_json()) == {"statements", "findings", "facts", "points", "plans"}


def test_the_page_escapes():
    html = page(Queries("primary", (EVIL,), (), FACTS, plans=("<i>",)))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "<i>" not in html


def test_sparkline():
    assert sparkline([0.0, 1.0, 2.0]) == "▁▅█"
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([]) == ""
