"""The rules about replication, without a server: thresholds to the unit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filban.backup.archive import rules as archive
from filban.backup.archive.rows import Archiver, Waiting
from filban.finding import Severity
from filban.replication import lag, slots
from filban.replication.rows import Sender, Slot, Standby, Synchronous

SENDER = Sender(1, True, "a", None, "streaming", "async", 0, 0, 0)
STANDBY = Standby(True, False, 1, "streaming", None, 0.0, False, 0.0, 0.0)
SLOT = Slot("s", "physical", None, None, False, "reserved", 0.0, None, None, None, None, False, "")
ARCHIVER = Archiver("on", True, 1, 0, None, None, None, 1.0, 1.0)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("", 0),
        ("  ", 0),
        ("*", 1),
        ("a, b", 1),
        ('"2 (odd)"', 1),
        ("2 (a, b, c)", 2),
        ("FIRST 3 (a, b, c)", 3),
        ("any 2 (*)", 2),
        ("ANY 2(*)", 2),
    ],
)
def test_how_many_standbys_commits_wait_for(names, wanted):
    assert lag.standbys_wanted(names) == wanted


@pytest.mark.parametrize(
    ("commit", "states", "found"),
    [
        ("on", ["sync", "potential"], 1),
        ("on", ["sync", "sync"], 0),
        ("on", ["quorum", "quorum", "async"], 0),
        ("remote_apply", ["async"], 1),
        ("local", [], 0),
        ("off", [], 0),
    ],
)
def test_commits_wait_until_there_are_enough(commit, states, found):
    senders = [replace(SENDER, sync_state=state) for state in states]
    setting = Synchronous("2 (a, b)", commit, 0)
    assert len(list(lag.sync_missing(setting, senders))) == found


@pytest.mark.parametrize(
    ("behind", "severity"),
    [(None, None), (99, None), (100, Severity.warning), (999, Severity.warning),
     (1000, Severity.critical)],
)  # fmt: skip
def test_the_edges_of_lag(behind, severity):
    limits = lag.LagThresholds(
        replication_lag_warning_bytes=100, replication_lag_critical_bytes=1000
    )
    found = [
        *lag.behind([replace(SENDER, behind_bytes=behind)], limits),
        *lag.silent(replace(STANDBY, behind_bytes=behind), limits),
    ]
    assert [f.severity for f in found] == ([] if severity is None else [severity] * 2)


@pytest.mark.parametrize(
    ("not_sent", "not_flushed", "words"),
    [(100, 100, "not sent yet"), (0, 100, "on its way"), (0, 0, "not replayed")],
)
def test_where_the_lag_is(not_sent, not_flushed, words):
    sender = replace(
        SENDER, not_sent_bytes=not_sent, not_flushed_bytes=not_flushed, behind_bytes=100
    )
    [found] = lag.behind([sender], lag.LagThresholds(replication_lag_warning_bytes=1))
    assert words in found.why


@pytest.mark.parametrize(("seconds", "found"), [(None, 0), (89.9, 0), (90.0, 1)])
def test_the_edges_of_silence(seconds, found):
    standby = replace(STANDBY, silent_seconds=seconds)
    assert len(list(lag.silent(standby, lag.LagThresholds()))) == found


@pytest.mark.parametrize(
    ("receiver", "upstream", "found"),
    [(None, True, 1), (None, False, 0), (None, None, 0), (1, True, 0)],
)
def test_a_receiver_is_missed_only_where_there_should_be_one(receiver, upstream, found):
    standby = replace(STANDBY, receiver=receiver, has_upstream=upstream)
    assert len(list(lag.receiver_down(standby))) == found


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({"is_active": True}, None),
        ({"is_synced": True}, None),
        ({"wal_status": "lost"}, None),
        ({"retained_bytes": None, "wal_status": None}, Severity.info),
        ({"retained_bytes": 0.0}, Severity.warning),
        ({"retained_bytes": 99.0}, Severity.warning),
        ({"retained_bytes": 100.0}, Severity.critical),
    ],
)
def test_inactive_slots(changes, severity):
    limits = slots.SlotThresholds(slot_critical_bytes=100)
    found = list(slots.inactive([replace(SLOT, **changes)], limits))
    assert [f.severity for f in found] == ([] if severity is None else [severity])


@pytest.mark.parametrize(
    ("changes", "keep", "severity"),
    [
        ({"wal_status": "lost"}, None, Severity.critical),
        ({"wal_status": "unreserved"}, 100, Severity.critical),
        ({"safe_bytes": 24}, 100, Severity.warning),
        ({"safe_bytes": 25}, 100, None),
        ({"safe_bytes": 24, "is_active": True}, 100, Severity.warning),
        ({"safe_bytes": None, "wal_status": "extended"}, None, None),
    ],
)
def test_slots_that_are_lost_or_soon_will_be(changes, keep, severity):
    found = list(slots.lost([replace(SLOT, **changes)], keep, slots.SlotThresholds()))
    assert [f.severity for f in found] == ([] if severity is None else [severity])


@pytest.mark.parametrize(
    ("mode", "recovery", "active"),
    [("on", False, True), ("on", True, False), ("always", True, True), ("off", False, False)],
)
def test_who_archives(mode, recovery, active):
    assert archive.active(replace(ARCHIVER, mode=mode), in_recovery=recovery) is active


@pytest.mark.parametrize(
    ("archived", "counted", "severity"),
    [
        (899.0, 10_000.0, Severity.warning),
        (900.0, 10_000.0, Severity.critical),
        (None, 899.0, Severity.warning),
        (None, 900.0, Severity.critical),
    ],
)
def test_how_long_archiving_has_failed(archived, counted, severity):
    archiver = replace(
        ARCHIVER, is_failing=True, archived_seconds_ago=archived, counted_seconds=counted
    )
    [found] = archive.failing(archiver, None, archive.ArchiveThresholds())
    assert found.severity == severity
    [young] = archive.failing(archiver, Waiting(1, 1, 899.0), archive.ArchiveThresholds())
    assert young.severity == Severity.warning


@pytest.mark.parametrize(
    ("waiting", "found"),
    [
        (Waiting(0, 0, None), 0),
        (Waiting(15, 15, 299.0), 0),
        (Waiting(16, 16, 1.0), 1),
        (Waiting(1, 1, 300.0), 1),
    ],
)
def test_a_queue_before_the_archive(waiting, found):
    assert len(list(archive.lag(waiting, archive.ArchiveThresholds()))) == found
