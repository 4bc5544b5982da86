"""The live screen without a server: keys, order, filter, questions, rates, what fits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from filban.cli.keys import names
from filban.pg.locks import LockWait
from filban.pg.server import Server
from filban.profile.top import (
    SORTS,
    Counters,
    Io,
    Look,
    Quit,
    Running,
    Signal,
    View,
    arranged,
    press,
    rates,
    selected,
)
from filban.render.top import Shown, screen

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def running(pid: int, **facts: object) -> Running:
    known = dict.fromkeys(Running.__slots__) | {
        "pid": pid, "backend_start": NOW, "backend_type": "client backend", "state": "active",
        "query": f"SELECT {pid}", "query_seconds": float(pid), "hidden": False,
    }  # fmt: skip
    return Running(**(known | facts))  # type: ignore[arg-type]


def counters(**facts: float) -> Counters:
    known = dict.fromkeys(Counters.__slots__, 0.0) | {"connections": 1, "connections_allowed": 100}
    return Counters(**(known | facts))  # type: ignore[arg-type]


def look(*sessions: Running, waits: tuple[LockWait, ...] = (), **facts: float) -> Look:
    return Look(NOW, sessions, waits, counters(**facts), Io(None, None), ())


def pressed(keys: list[str], rows: list[Running], view: View | None = None):
    view, request = view or View(), None
    for key in keys:
        view, request = press(view, key, arranged(rows, view))
    return view, request


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("q", ["q"]),
        ("\x1b[A\x1b[Bx", ["up", "down", "x"]),
        ("\x1bOA\r\x7f", ["up", "enter", "backspace"]),
        ("\x1b", ["escape"]),
        ("\x1b[1;5Aq", ["q"]),  # Ctrl-Up: a key that means nothing here
        ("فa", ["ف", "a"]),
        ("\x1b[", []),
    ],
)
def test_keys_by_their_names(sent: str, keys: list[str]):
    assert names(sent) == keys


def test_the_longest_first_then_the_servers_own_then_what_cannot_be_seen():
    rows = [
        running(1), running(3), running(2, hidden=True, query=None), running(9, state=None),
        running(8, state="idle in transaction", state_seconds=2.5),
    ]  # fmt: skip
    assert [s.pid for s in arranged(rows, View())] == [3, 8, 1, 9, 2]


@pytest.mark.parametrize("sort", list(SORTS))
def test_any_order_takes_sessions_of_which_nothing_is_known(sort: str):
    rows = [running(2, query_seconds=None, state=None), running(1, role="a", wait_event_type="IO")]
    assert {s.pid for s in arranged(rows, View(sort=sort))} == {1, 2}


def test_sort_goes_round():
    view, _ = pressed(["s"] * len(SORTS), [])
    assert view.sort == View().sort
    assert pressed(["s"], [])[0].sort != view.sort


def test_the_filter_takes_any_column_and_escape_clears_it():
    rows = [running(1, application="Checkout"), running(2, query="SELECT q FROM basket")]
    view, _ = pressed([*"/checkX", "backspace", "enter"], rows)
    assert [s.pid for s in arranged(rows, view)] == [1]
    assert view.mode == "list"
    assert [s.pid for s in arranged(rows, replace(view, needle="BASKET"))] == [2]
    assert pressed(["escape"], rows, view)[0].needle == ""


def test_q_in_a_filter_is_a_letter():
    view, request = pressed([*"/q"], [])
    assert (view.needle, request) == ("q", None)
    assert pressed(["q"], [])[1] == Quit()


@pytest.mark.parametrize(("key", "verb"), [("c", "cancel"), ("k", "terminate")])
def test_a_signal_is_sent_only_after_a_yes(key: str, verb: str):
    rows = [running(1), running(2)]
    view, request = pressed(["down", key], rows)
    assert (view.mode, view.selected, request) == ("confirm", 1, None)
    for no in ("n", "enter", " ", "escape", "q", "Y"):
        assert press(view, no, rows)[1] is None
    assert press(view, "y", rows)[1] == Signal(verb, rows[0])


def test_a_yes_never_hits_another_session_than_was_asked_about():
    view, _ = pressed(["down", "k"], [running(1), running(2)])
    after, request = press(view, "y", [running(2), running(3)])
    assert request is None
    assert "has gone" in after.message


def test_moving_stays_within_the_list():
    rows = [running(n) for n in range(1, 30)]
    assert pressed(["end", "down", "page down"], rows)[0].selected == 1
    assert pressed(["end", "home", "up"], rows)[0].selected == 29
    assert pressed(["down"], [])[0].selected is None


def test_a_selected_session_that_has_gone_gives_way_to_the_first():
    rows = [running(1), running(2)]
    assert selected(View(selected=99), rows) == rows[0]
    assert selected(View(selected=99, mode="query"), rows) is None


def test_pause_and_interval():
    assert pressed([" "], [])[0].paused
    assert not pressed([" ", "p"], [])[0].paused
    assert pressed(["+"], [])[0].interval == 4
    assert pressed(["-"] * 9, [])[0].interval == 0.5


def test_rates_are_per_second_and_unknown_after_a_reset():
    before = look(at=10.0, commits=100, blocks_read=10, blocks_hit=10, wal_bytes=1000)
    after = look(at=12.0, commits=300, blocks_read=11, blocks_hit=19, wal_bytes=5000)
    found = rates(before, after)
    assert (found.commits, found.read_bytes, found.wal_bytes) == (100, 4096, 2000)
    assert found.hit_ratio == pytest.approx(0.9)
    assert rates(None, after).commits is None
    assert rates(before, look(at=12.0, commits=5)).commits is None
    assert rates(before, look(at=10.0)).commits is None


def server() -> Server:
    known = dict.fromkeys(Server.__slots__) | {
        "version_text": "15.1", "started_at": NOW, "in_recovery": False, "database": "d",
        "role": "r", "extensions": {}, "settings": {},
    }  # fmt: skip
    return Server(**known)  # type: ignore[arg-type]


def waiter(pid: int, *blocked_by: int) -> LockWait:
    return LockWait(
        pid, blocked_by, (), 5.0 if blocked_by else None, "ShareLock", "row of t",
        "client backend", "d", "r", "a", "active", 5.0, "UPDATE t", "",
    )  # fmt: skip


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50), (20, 6), (5, 2), (1, 1)])
@pytest.mark.parametrize("mode", ["list", "query", "filter", "confirm"])
def test_a_screen_fits_its_terminal(width: int, height: int, mode: str):
    rows = [running(n, query="SELECT\n\t'\x1b[31mفارسی' " + "x" * 500) for n in range(1, 60)]
    waits = tuple(waiter(n, *([n - 1] if n > 1 else [])) for n in range(1, 40))
    view = View(mode=mode, selected=7, needle="")  # type: ignore[arg-type]
    lines = screen(
        Shown(server(), look(*rows, waits=waits), rates(None, look()), view), width, height
    )
    assert len(lines) == height
    assert all(line.cell_len <= width for line in lines)
    assert not any("\x1b" in line.plain or "\n" in line.plain for line in lines)


def test_the_selected_session_is_on_the_screen_however_long_the_list():
    rows = [running(n) for n in range(1, 200)]
    view, _ = pressed(["end"], rows)
    lines = screen(Shown(server(), look(*rows), rates(None, look()), view), 80, 24)
    [line] = [line for line in lines if any(span.style == "reverse" for span in line.spans)]
    assert line.plain.startswith("1 ")
