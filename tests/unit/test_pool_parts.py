"""The pool's parts that need no server: who is next, what is counted, where it was acquired."""

from __future__ import annotations

import asyncio
import sys

import asyncpg
import pytest

from filban import create_pool
from filban.pool import straight, where
from filban.pool.handoff import Expired, Handoff
from filban.pool.options import reset_mode
from filban.pool.stats import BUCKETS, Histogram


class Place:
    """Stands for a holder."""

    def __init__(self, *, connected: bool = True) -> None:
        self.connected = connected

    def is_connected(self) -> bool:
        return self.connected


def in_line(handoff: Handoff, deadline: float = float("inf")) -> asyncio.Future:
    future = asyncio.get_running_loop().create_future()
    handoff.waiters.append((future, deadline, None))
    return future


async def test_the_longest_waiter_is_next_and_who_has_gone_is_passed_over():
    handoff = Handoff()
    first, gone, last = (in_line(handoff) for _ in range(3))
    gone.cancel()
    one, two = Place(), Place()
    handoff.put_nowait(one)
    handoff.put_nowait(two)
    assert (first.result(), last.result()) == (one, two)
    assert handoff.qsize() == handoff.waiting() == 0


async def test_without_waiters_the_one_used_last_is_taken_first_and_connected_ones_before_empty():
    handoff = Handoff()
    old, new, empty = Place(), Place(), Place(connected=False)
    for place in (old, new, empty):
        handoff.put_nowait(place)
    assert [handoff.take_nowait() for _ in range(4)] == [new, old, empty, None]


async def test_a_connection_that_died_while_idle_is_an_empty_place():
    handoff = Handoff()
    dead = Place()
    handoff.put_nowait(dead)
    dead.connected = False
    assert handoff.take_nowait() is dead
    handoff.put_nowait(dead)
    assert handoff.get_disconnected_nowait() is dead
    with pytest.raises(asyncio.QueueEmpty):
        handoff.get_disconnected_nowait()


async def test_waits_end_at_their_time_and_the_next_time_is_told():
    handoff = Handoff()
    early, late = in_line(handoff, 10.0), in_line(handoff, 20.0)
    assert handoff.expire(10.0) == 20.0
    assert isinstance(early.exception(), Expired)
    assert not late.done()
    late.cancel()


def test_a_histogram_has_each_observation_in_the_bucket_that_it_does_not_exceed():
    histogram = Histogram()
    for seconds in (0.0, BUCKETS[0], BUCKETS[0] * 1.01, 61.0):
        histogram.observe(seconds)
    snapshot = histogram.snapshot(zeros=2)
    assert snapshot.counts[:2] == (4, 1)
    assert snapshot.counts[-1] == 1
    assert snapshot.count == 6
    assert snapshot.quantile(0.5) == BUCKETS[0]
    assert snapshot.quantile(1.0) == float("inf")


def test_a_place_is_told_by_file_and_line():
    here = sys._getframe()
    places = where.capture(here, 2); line = here.f_lineno  # fmt: skip  # noqa: E702
    [inner, _] = where.described(places)
    assert inner == f"{__file__}:{line} in {here.f_code.co_qualname}"


@pytest.mark.parametrize("wrong", ["sometimes", 1, True])
def test_a_reset_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="auto"):
        reset_mode(wrong, asyncpg.Connection)


def test_a_connection_class_with_its_own_reset_is_asked_every_time():
    class Own(asyncpg.Connection):
        def get_reset_query(self) -> str:
            return "SELECT 1"

    assert reset_mode(None, Own) == ("always", None)
    assert reset_mode("never", Own) == ("never", None)
    assert reset_mode(None, asyncpg.Connection) == ("auto", None)


def test_methods_that_somebody_has_wrapped_are_not_passed_by(monkeypatch):
    assert straight.is_plain(asyncpg.Connection)

    class Own(asyncpg.Connection):
        async def fetchrow(self, query, *args):
            return await super().fetchrow(query, *args)

    assert not straight.is_plain(Own)
    fetchrow = asyncpg.Connection.fetchrow
    monkeypatch.setattr(asyncpg.Connection, "fetchrow", lambda *args: fetchrow(*args))
    assert not straight.is_plain(asyncpg.Connection)


@pytest.mark.parametrize(
    "wrong",
    [{"max_size": 0}, {"min_size": -1}, {"min_size": 5, "max_size": 4}, {"init_size": 11}],
)
async def test_bounds_that_make_no_sense_are_refused_as_by_asyncpg(wrong):
    with pytest.raises(ValueError, match="size"):
        create_pool("postgresql://localhost/x", **wrong)
