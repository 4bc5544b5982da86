"""The history file: whole whenever its writer is killed, safe with two writers, bounded in time."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from test_statements_deltas import START, counts, key, snapshot

from filban.errors import UsageError
from filban.profile.statements.history import KEEP, Known, default_file, opened
from filban.profile.statements.rows import Name

WRITER = """
import itertools, sys
from pathlib import Path
from test_statements_deltas import counts, key, snapshot
from filban.profile.statements.history import opened
with opened(Path(sys.argv[1])) as history:
    for n in itertools.count(int(sys.argv[2])):
        entries = {key(i): counts([1.0] * (n + 1)) for i in range(200)}
        history.add(snapshot(n, entries))
        print(n, flush=True)
"""


def kill_a_writer(file: Path, after: float, begin: int) -> int:
    """Let one write until it is killed; returns the last snapshot that it said was kept."""
    here = Path(__file__).parent
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file), str(begin)],
        stdout=subprocess.PIPE, text=True, cwd=here, env={**os.environ, "PYTHONPATH": str(here)},
    )  # fmt: skip
    assert writer.stdout is not None
    first = writer.stdout.readline()
    time.sleep(after)
    writer.send_signal(signal.SIGKILL)
    said = [first, *writer.stdout.readlines()]
    writer.wait()
    return int([line for line in said if line.endswith("\n")][-1])


def killed_and_whole(tmp_path: Path, times: int) -> None:
    chosen = random.Random(7)
    file = tmp_path / "history.sqlite"
    begin = 0
    for _ in range(times):
        kept = kill_a_writer(file, chosen.random() / 10, begin)
        with opened(file) as history:
            assert history._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            spans = history.spans("1")
            totals = history.totals(spans)
        assert len(spans) in (kept + 1, kept + 2)  # what was said is there, and at most one more
        assert {c.calls for c in totals.values()} == {len(spans)}
        begin = len(spans)


def test_killed_it_is_whole(tmp_path):
    killed_and_whole(tmp_path, 2)


@pytest.mark.long
def test_killed_many_times_it_is_whole(tmp_path):
    killed_and_whole(tmp_path, 40)


def test_it_is_its_owners_only(tmp_path):
    file = tmp_path / "new" / "history.sqlite"
    with opened(file) as history:
        history.add(snapshot(0, {key(1): counts([1.0])}))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        wal = file.with_name(file.name + "-wal")
        assert stat.S_IMODE(wal.stat().st_mode) == 0o600


def test_two_that_write_count_once(tmp_path):
    file = tmp_path / "history.sqlite"
    with opened(file) as one, opened(file) as other:
        one.add(snapshot(0, {key(1): counts([1.0])}))
        other.add(snapshot(2, {key(1): counts([1.0] * 5)}))
        late = one.add(snapshot(1, {key(1): counts([1.0] * 3)}))
        assert not late.entries
        assert [c.calls for c in one.totals(one.spans("1")).values()] == [5]


def test_what_is_old_is_forgotten(tmp_path):
    days = int(KEEP / timedelta(days=1)) * 24 * 60
    with opened(tmp_path / "history.sqlite") as history:
        history.add(snapshot(0, {key(1): counts([1.0]), key(2): counts([1.0])}))
        history.learn("1", [Known(5, 1, "f", "SELECT 1", {"a": "b"})], [Name("role", 10, "app")])
        history.add(snapshot(days + 5, {key(2): counts([1.0] * 3)}, epoch=days))
        assert len(history.spans("1")) == 1
        assert history._db.execute("SELECT count(*) FROM run").fetchone() == (1,)
        assert history.statements("1") == {}
        assert history.names("1") == {("role", 10): "app"}


def test_totals_are_those_of_one_entry_over_all_that_time(tmp_path):
    times = [random.Random(3).lognormvariate(1, 1) for _ in range(60)]
    with opened(tmp_path / "history.sqlite") as history:
        for minute in range(1, 7):
            history.add(snapshot(minute, {key(1): counts(times[: 10 * minute])}))
        [total] = history.totals(history.spans("1")).values()
        points = history.series("1", (5, 1))
    whole = counts(times)
    assert total.calls == 60
    assert total.exec_ms == pytest.approx(whole.exec_ms)
    assert total.stddev_ms == pytest.approx(whole.stddev_ms)
    assert (total.min_ms, total.max_ms) == (whole.min_ms, whole.max_ms)
    assert [p.counts.calls for p in points] == [10] * 5  # not what was before the first snapshot
    assert points[0].start == START + timedelta(minutes=1)
    assert points[1].counts.mean_ms == pytest.approx(sum(times[20:30]) / 10)


def test_unknown_texts_are_asked_for_once(tmp_path):
    with opened(tmp_path / "history.sqlite") as history:
        assert history.unknown("1", [key(1), key(2)]) == {1, 2}
        history.learn("1", [Known(5, 1, "f", "", {})], [])
        assert history.unknown("1", [key(1), key(2)]) == {2}
        assert history.unknown("2", [key(1)]) == {1}


@pytest.mark.parametrize("content", [b"not a database" * 100, b"\0" * 5000])
def test_another_file_is_refused_and_left_alone(tmp_path, content):
    file = tmp_path / "history.sqlite"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="history"), opened(file):
        pass
    assert file.read_bytes() == content


def test_a_file_of_a_newer_filban_is_refused(tmp_path):
    file = tmp_path / "history.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="newer filban"), opened(file):
        pass


def test_no_right_to_write_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="history"), opened(tmp_path / "file" / "history.sqlite"):
        pass


def test_the_default_file_is_in_the_state_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_file() == tmp_path / "filban" / "queries.sqlite"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_file().parts[-4:] == (".local", "state", "filban", "queries.sqlite")
