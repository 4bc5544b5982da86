"""Which WAL is there: names, history files, windows, holes; pure."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.backup.timeline import history, segment
from filban.backup.timeline.coverage import Archive, abandoned, holes, reach, windows
from filban.backup.timeline.history import Branch, History
from filban.backup.timeline.segment import Place
from filban.pg.lsn import format_lsn, parse_lsn

SIZE = 1 << 24
sizes = st.integers(20, 30).map(lambda bits: 1 << bits)


@dataclass(frozen=True)
class Backup:
    label: str
    timeline: int
    start_lsn: int
    end_lsn: int


def archive(*places: tuple[int, int], histories: dict[int, History] | None = None) -> Archive:
    return Archive(SIZE, frozenset(Place(*p) for p in places), histories or {}, {})


@given(st.integers(1, 1000), st.integers(0, 1 << 34), sizes)
def test_a_name_and_its_place(timeline: int, number: int, size: int):
    number %= (1 << 64) // size // 1024
    place = Place(timeline, number)
    assert segment.place(place.name(size), size) == place


@pytest.mark.parametrize("name", ["", "0" * 23, "G" * 24, "0" * 16 + "00000100"])
def test_what_is_no_name(name: str):
    with pytest.raises(ValueError, match=r"segment|cannot be"):
        segment.place(name, SIZE)


@given(st.integers(0, (1 << 64) - 1))
def test_an_lsn_and_its_text(lsn: int):
    assert parse_lsn(format_lsn(lsn)) == lsn


@pytest.mark.parametrize("text", ["", "1", "/", "1/", "0/G", "123456789/0", "0/123456789"])
def test_what_is_no_lsn(text: str):
    with pytest.raises(ValueError, match=r"is not an LSN|invalid literal"):
        parse_lsn(text)


def test_a_history_file_as_the_server_writes_it():
    text = "1\t0/3000110\tno recovery target specified\n2\t0/5000000\tbefore 2026-11-23\n\n# x\n"
    found = history.parse(3, text)
    assert [b.timeline for b in found.ancestors] == [1, 2]
    assert found.start == 0x5000000
    assert found.timeline_at(0x3000000) == 1
    assert found.timeline_at(0x3000110) == 2
    assert found.timeline_at(0x5000000) == 3
    assert found.includes(1, 0x3000110)
    assert not found.includes(1, 0x3000111)


@pytest.mark.parametrize("text", ["", "# nothing", "x 0/1 y", "1 zzz y", "3 0/1 y", "1 0/2\n1 0/1"])
def test_a_damaged_history_file(text: str):
    with pytest.raises(ValueError, match=r"empty|understood|ancestor"):
        history.parse(3, text)


@given(st.sets(st.integers(1, 40), min_size=1))
def test_holes_are_what_is_missing_in_between(numbers: set[int]):
    found = {p.number for p in holes(archive(*((1, n) for n in numbers)))}
    assert found == set(range(min(numbers), max(numbers))) - numbers


@given(st.sets(st.integers(1, 20), min_size=1), st.integers(1, 20))
def test_reach_ends_before_the_first_hole(numbers: set[int], start: int):
    end, missing = reach(archive(*((1, n) for n in numbers)), History(1), start * SIZE)
    number = end // SIZE
    assert all(n in numbers for n in range(start, number))
    assert number not in numbers
    assert missing == (number if any(n > number for n in numbers) else None)


def test_a_promotion_in_the_middle_of_a_segment():
    """The old timeline's copy of that segment was never archived; the new one's holds all of it."""
    second = History(2, (Branch(1, 5 * SIZE + 100, ""),))
    here = archive((1, 3), (1, 4), (2, 5), (2, 6), histories={2: second})
    backup = Backup("B", 1, 3 * SIZE + 40, 3 * SIZE + 200)
    first, new = windows(here, [backup])
    assert (first.timeline, first.end) == (1, 5 * SIZE)
    assert (new.timeline, new.end, new.gap) == (2, 7 * SIZE, None)
    assert holes(here) == []
    assert abandoned(here) == []


def test_a_split_brain():
    second = History(2, (Branch(1, 5 * SIZE + 100, ""),))
    here = archive((1, 4), (1, 5), (1, 6), (2, 5), histories={2: second})
    (found,) = abandoned(here)
    assert (found.timeline, found.child, found.end) == (1, 2, 7 * SIZE)


def test_a_backup_behind_the_branch_is_not_on_the_new_timeline():
    second = History(2, (Branch(1, 5 * SIZE, ""),))
    here = archive(*((1, n) for n in range(3, 9)), (2, 5), histories={2: second})
    late = Backup("LATE", 1, 6 * SIZE + 40, 6 * SIZE + 200)
    assert [w.timeline for w in windows(here, [late])] == [1]


def test_wal_before_the_oldest_backup_may_be_gone():
    here = archive((1, 1), (1, 5), (1, 6))
    assert [p.number for p in holes(here, since=5 * SIZE)] == []
    assert [p.number for p in holes(here)] == [2, 3, 4]
