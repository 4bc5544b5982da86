"""Lag, balance, roles and errors: the pure parts of the router."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.pg.dsn import Address
from filban.pool import straight
from filban.pool.routing.balance import FIRST_SHARE, Load, cost, pick, share_after
from filban.pool.routing.commit import RoutedConnection
from filban.pool.routing.failures import is_lost, is_suspicious, may_read_elsewhere, refused_write
from filban.pool.routing.lag import MOST_SAMPLES, Lag, PrimaryTrack
from filban.pool.routing.roles import Generations, primary_of
from filban.pool.routing.rows import Position
from filban.pool.routing.topology import Patroni, members

# Lag


def test_an_idle_primary_has_no_lag_however_long_ago_the_last_write_was():
    track = PrimaryTrack()
    track.add(0.0, 100)
    for second in range(1, 1000):
        track.add(float(second), 100)
    assert track.lag(100, now=1000.0) == Lag(0, 0.0)


def test_lag_counts_from_the_moment_that_the_primary_left_the_replayed_position():
    track = PrimaryTrack()
    for at, lsn in [(0.0, 100), (5.0, 100), (6.0, 150), (7.0, 200)]:
        track.add(at, lsn)
    assert track.lag(100, now=10.0) == Lag(100, 5.0)
    assert track.lag(149, now=10.0) == Lag(51, 5.0)
    assert track.lag(150, now=10.0) == Lag(50, 4.0)
    assert track.complete_at(50) is None
    assert track.lag(50, now=10.0).seconds == 10.0  # at least: what we remember


def test_nothing_is_known_without_a_primary():
    assert PrimaryTrack().lag(5, 1.0) == Lag(None, None)


def test_an_overtaken_answer_changes_nothing():
    track = PrimaryTrack()
    track.add(2.0, 200)
    track.add(1.0, 100)
    assert track.lsn == 200
    assert track.complete_at(150) is None


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(0, 3000))
def test_whoever_is_complete_at_a_moment_has_all_that_was_written_before(
    steps: list[int], replayed: int
):
    """The model is the list itself: what the primary's position was at each moment."""
    track, lsn, seen = PrimaryTrack(), 0, []
    for at, step in enumerate(steps):
        lsn += step
        seen.append((float(at), lsn))
        track.add(float(at), lsn)
    fine = [at for at, position in seen if position <= replayed]
    assert track.complete_at(replayed) == (max(fine) if fine else None)


def test_a_long_history_stays_small_and_sound():
    track = PrimaryTrack()
    for at in range(3 * MOST_SAMPLES):
        track.add(float(at), at)
    for replayed in (MOST_SAMPLES, 2 * MOST_SAMPLES, 3 * MOST_SAMPLES - 5):
        moment = track.complete_at(replayed)
        assert moment is not None
        assert moment <= replayed
    assert len(track._lsns) <= MOST_SAMPLES


# Balance


def test_the_least_busy_server_is_taken():
    assert pick([Load(5, 1.0, 0.0), Load(2, 1.0, 0.0), Load(9, 1.0, 0.0)]) == 1


def test_a_lagging_or_slow_server_needs_to_be_less_busy():
    assert pick([Load(3, 1.0, 0.0), Load(1, 1.0, 5.0)]) == 0
    assert pick([Load(3, 1.0, 0.0), Load(1, 4.0, 0.0)]) == 0


def test_a_server_that_warms_up_gets_a_share_that_grows_to_all():
    assert share_after(0.0, 10.0) == FIRST_SHARE
    assert share_after(5.0, 10.0) == pytest.approx((1 + FIRST_SHARE) / 2)
    assert share_after(10.0, 10.0) == share_after(0.0, 0.0) == 1.0
    loads = [Load(0, 1.0, 0.0), Load(0, 1.0, 0.0, share=FIRST_SHARE)]
    taken = Counter(pick(loads) for _ in range(5000))
    assert 0.05 < taken[1] / 5000 < 0.15


@given(
    st.lists(
        st.builds(Load, st.integers(0, 99), st.floats(0, 9), st.floats(0, 99), st.floats(0.1, 1)),
        min_size=1,
        max_size=6,
    )
)
def test_a_busy_choice_is_never_dearer_than_another(loads: list[Load]):
    chosen = pick(loads)
    fastest = min(load.latency for load in loads)
    if any(load.outstanding for load in loads):
        assert cost(loads[chosen], fastest) == min(cost(load, fastest) for load in loads)


# Roles

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
PRIMARY = Position(False, 7, 1, 100, 100, 8192, 1 << 24, False, STARTED, 50)
STANDBY = replace(PRIMARY, in_recovery=True, insert_lsn=None)


def test_the_primary_is_who_writes_on_the_newest_timeline():
    generations = Generations(7, 2)
    old, new = PRIMARY, replace(PRIMARY, timeline=2)
    assert primary_of([("a", old), ("b", new), ("c", STANDBY)], generations, "a") == "b"
    assert primary_of([("a", old)], generations, "a") is None
    assert primary_of([("c", STANDBY)], Generations(), None) is None


def test_of_two_that_claim_the_same_timeline_the_one_in_use_stays():
    assert primary_of([("a", PRIMARY), ("b", PRIMARY)], Generations(7, 1), "b") == "b"


def test_a_newer_timeline_is_believed_whoever_tells_and_older_servers_are_not():
    generations = Generations()
    assert generations.hear(7, 1)
    assert not generations.hear(7, 1)
    assert generations.hear(7, 3)
    assert not generations.hear(8, 9)  # another system has timelines of its own
    assert not generations.hear(7, None)
    assert not generations.admits(PRIMARY)
    assert generations.admits(replace(PRIMARY, timeline=3))
    assert not generations.admits(replace(PRIMARY, timeline=3, system_identifier=8))
    assert generations.admits(replace(STANDBY, timeline=None))  # this role may not know


# Errors


def error(state: str) -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"C": state, "M": "m", "S": "ERROR"})


@pytest.mark.parametrize("state", ["25006", "57P01", "57P02", "57P03", "08006", "08003", "08P01"])
def test_what_a_changed_role_explains_is_suspicious(state: str):
    assert is_suspicious(error(state))
    assert may_read_elsewhere(error(state), on_standby=False)


@pytest.mark.parametrize("state", ["23505", "57014", "42P01", "40001", "22012"])
def test_what_the_statement_did_itself_is_not(state: str):
    assert not is_suspicious(error(state))
    assert not is_lost(error(state))


def test_lost_is_what_leaves_the_outcome_open():
    assert is_lost(error("57P01"))
    assert is_lost(ConnectionResetError())
    assert is_lost(asyncpg.InterfaceError("connection is closed"))
    assert not is_lost(error("25006"))
    assert not is_lost(TimeoutError())
    assert not is_lost(asyncpg.InterfaceError("the server expects 1 argument"))


def test_a_conflict_with_replay_is_retried_elsewhere_and_a_serialization_failure_is_not():
    assert may_read_elsewhere(error("40001"), on_standby=True)
    assert not may_read_elsewhere(error("40001"), on_standby=False)
    assert refused_write(error("25006"))


# Patroni's answer


def test_members_are_those_that_have_started_and_take_part():
    answer = {
        "members": [
            {"name": "a", "role": "leader", "state": "running", "host": "10.0.0.1", "port": 5432},
            {"name": "b", "role": "replica", "host": "10.0.0.2", "port": 5433, "timeline": 1},
            {"name": "c", "role": "replica", "host": "10.0.0.3", "port": 5432,
             "tags": {"noloadbalance": True}},
            {"name": "d", "role": "replica", "state": "creating replica", "host": "10.0.0.4"},
        ]
    }  # fmt: skip
    assert members(answer) == (Address("10.0.0.1", 5432), Address("10.0.0.2", 5433))
    with pytest.raises(ValueError, match="not an answer"):
        members({"error": "no"})


def test_a_url_that_is_none_is_refused():
    from filban.errors import UsageError

    with pytest.raises(UsageError):
        Patroni(["file:///etc/passwd"])


def test_a_routed_connection_takes_the_pools_fast_path():
    assert straight.is_plain(RoutedConnection)
