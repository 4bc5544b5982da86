"""Counters as they could stand -> deltas that add up to what was counted."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filban.errors import UsageError
from filban.profile.statements.deltas import by_statement, delta, evicted, growth, together
from filban.profile.statements.history import opened
from filban.profile.statements.rows import Counts, Info, Key, Snapshot

START = datetime(2026, 11, 23, 8, tzinfo=UTC)
TIMES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=30)


def counts(times: list[float], since: datetime | None = None) -> Counts:
    """What pg_stat_statements would have after calls of so many milliseconds."""
    zero = Counts(
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None, 0, 0, 0, None, None, None, None, None
    )
    return zero._replace(
        calls=len(times),
        rows=2 * len(times),
        exec_ms=sum(times),
        min_ms=min(times),
        max_ms=max(times),
        exec_sq_ms2=statistics.pvariance(times) * len(times),
        since=since,
    )


def snapshot(
    minute: int,
    entries: dict[Key, Counts],
    epoch: int = -60,
    evictions: int = 0,
    cluster: str = "1",
) -> Snapshot:
    at = START + timedelta(minutes=minute)
    info = Info(START + timedelta(minutes=epoch), evictions, 5000, at, START)
    return Snapshot(cluster, info, entries, 0)


def key(number: int, *, user: int = 10, toplevel: bool = True) -> Key:
    return Key(user, 5, number, toplevel)


@given(TIMES, TIMES)
def test_growth_is_what_was_counted_in_between(first: list[float], second: list[float]):
    grown = growth(counts(first), counts(first + second))
    assert grown.calls == len(second)
    assert grown.exec_ms == pytest.approx(sum(second), rel=1e-6, abs=1e-6 * sum(first))
    largest = max(first + second)
    expected = statistics.pstdev(second)
    assert grown.stddev_ms == pytest.approx(expected, rel=1e-3, abs=1e-3 * largest)


@given(TIMES, TIMES)
def test_together_is_as_if_counted_in_one_entry(first: list[float], second: list[float]):
    both, one = together(counts(first), counts(second)), counts(first + second)
    assert (both.calls, both.min_ms, both.max_ms) == (one.calls, one.min_ms, one.max_ms)
    assert both.exec_ms == pytest.approx(one.exec_ms)
    assert both.stddev_ms == pytest.approx(one.stddev_ms, rel=1e-6, abs=1e-6 * one.max_ms)


def test_an_unchanged_entry_is_not_in_the_delta():
    entries = {key(1): counts([1.0]), key(2): counts([1.0])}
    change = delta(snapshot(0, entries), snapshot(1, entries | {key(2): counts([1.0, 2.0])}))
    assert list(change.entries) == [key(2)]
    assert change.seconds == 60


def test_a_new_epoch_counts_from_zero():
    """A reset, a crash, another server: all that stands has been counted since then."""
    change = delta(
        snapshot(0, {key(1): counts([5.0] * 9)}), snapshot(2, {key(1): counts([1.0])}, epoch=1)
    )
    assert change.from_zero
    assert change.start == START + timedelta(minutes=1)
    assert change.entries[key(1)].calls == 1


def test_one_entry_that_was_reset():
    change = delta(
        snapshot(0, {key(1): counts([5.0] * 9)}), snapshot(1, {key(1): counts([5.0] * 4)})
    )
    assert (change.entries[key(1)].calls, change.restarted) == (4, 1)


def test_one_entry_that_was_reset_and_overtook_itself_is_seen_from_17_on():
    then = counts([5.0], since=START)
    now = counts([5.0] * 3, since=START + timedelta(seconds=5))
    change = delta(snapshot(0, {key(1): then}), snapshot(1, {key(1): now}))
    assert (change.entries[key(1)].calls, change.restarted) == (3, 1)


def test_evictions_are_said_as_numbers():
    change = delta(
        snapshot(0, {key(1): counts([1.0]), key(2): counts([1.0])}, evictions=3),
        snapshot(1, {key(2): counts([1.0])}, evictions=5),
    )
    assert (change.evicted, change.gone) == (500, 1)
    assert evicted(1, 100) == 10


def test_two_clusters_are_not_compared():
    with pytest.raises(UsageError):
        delta(snapshot(0, {}), snapshot(1, {}, cluster="2"))
    with pytest.raises(UsageError):
        delta(snapshot(1, {}), snapshot(0, {}))


def test_users_and_nested_calls_are_one_statement():
    entries = {
        key(1): counts([1.0]),
        key(1, user=11): counts([2.0]),
        key(1, toplevel=False): counts([3.0]),
    }
    assert by_statement(entries)[5, 1].calls == 3


STORY = st.lists(
    st.tuples(
        st.sampled_from(["run", "run", "run", "reset all", "reset one", "evict", "other server"]),
        st.integers(1, 3),
        TIMES,
    ),
    min_size=1,
    max_size=10,
)


@settings(deadline=None, max_examples=25)
@given(STORY)
def test_whatever_happens_the_history_sums_up_to_what_stood(tmp_path_factory, story):
    """Each snapshot sees everything that was run since the one before: nothing is lost, nothing
    counts twice, though counters are reset right after each snapshot."""
    servers: list[dict[Key, list[float]]] = [{}, {}]
    epochs, since = [-60, -59], {}
    at = minute = 0
    run = 0
    file = tmp_path_factory.mktemp("story") / "history.sqlite"
    with opened(file) as history:
        for what, number, times in story:
            minute += 2
            standing = servers[at]
            if what == "reset all":
                standing.clear()
                epochs[at] = minute - 1
            elif what in ("reset one", "evict"):
                standing.pop(key(number), None)
                since[at, key(number)] = START + timedelta(minutes=minute)
            elif what == "other server":
                at = 1 - at
                standing = servers[at]
            standing.setdefault(key(number), []).extend(times)
            run += len(times)
            entries = {k: counts(t, since.get((at, k), START)) for k, t in standing.items()}
            change = history.add(snapshot(minute, entries, epoch=epochs[at]))
            assert sum(c.calls for c in change.entries.values()) == len(times)
        spans = history.spans("1")
        totals = history.totals(spans)
    assert len(spans) == len(story)
    assert sum(c.calls for c in totals.values()) == run
    assert sum(c.rows for c in totals.values()) == 2 * run
