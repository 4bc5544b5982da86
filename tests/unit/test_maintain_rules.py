"""Maintenance without a server: hours, and columns that depend on each other."""

from __future__ import annotations

from datetime import datetime

import pytest

from filban.errors import UsageError
from filban.index.maintain import Window
from filban.index.maintain.collect import dependent


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 1, 2, hour, minute).astimezone()


def test_a_window_over_midnight():
    window = Window.parse("22:00-05:30")
    assert window.opens_in(at(23)) == 0
    assert window.opens_in(at(22)) == 0
    assert window.opens_in(at(4)) == 0
    assert window.opens_in(at(5, 30)) == 16.5 * 3600
    assert window.closes_in(at(23)) == 6.5 * 3600


def test_a_window_in_the_day():
    window = Window.parse("1:00-05:30")
    assert window.opens_in(at(0)) == 3600
    assert window.opens_in(at(1)) == 0
    assert window.opens_in(at(6)) == 19 * 3600
    assert window.closes_in(at(5)) == 1800


@pytest.mark.parametrize("text", ["", "1-2", "25:00-03:00", "01:00-01:00", "01:60-02:00"])
def test_what_is_no_window(text: str):
    with pytest.raises(UsageError):
        Window.parse(text)


def test_columns_that_depend_on_each_other():
    assert dependent(30_000, 200, [200, 100])
    assert not dependent(30_000, 15_500, [200, 100])
    assert not dependent(30_000, 30_000, [30_000, 30_000])
    assert not dependent(0, 0, [0, 0])
