"""Targets as people write them, logs as servers do, WAL records as pg_waldump prints them."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime

import pytest

from filban.backup.restore import outcome
from filban.backup.restore.plan import Rates, measured
from filban.backup.restore.records import parse_line
from filban.backup.restore.targets import LATEST, from_options
from filban.backup.verify.manifest import ManifestDamaged, parse
from filban.errors import NotGood, UsageError

MORNING = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23 10:00:00+03:30",
        "2026-11-23T10:00+0330",
        "2026-11-23 10:00 Asia/Tehran",
        "2026-11-23 06:30Z",
        "2026-11-23 6:30:00.000000 UTC",
        "2026-11-23 07:30+1",
    ],
)
def test_one_moment_in_many_zones(text: str):
    target = from_options(to=text)
    assert target.value == MORNING
    assert target.settings()["recovery_target_time"] == "2026-11-23 06:30:00.000000+00"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-11-23 10:00:00", "no time zone"),
        ("2026-10-25 02:30 Europe/Berlin", "clocks"),  # twice
        ("2026-03-29 02:30 Europe/Berlin", "clocks"),  # never
        ("2026-11-23 10:00 Asia/Nowhere", "not a time zone"),
        ("2026-13-01 10:00Z", "not a time"),
        ("yesterday", "not a time"),
    ],
)
def test_a_time_that_is_not_one_moment(text: str, says: str):
    with pytest.raises(UsageError, match=says):
        from_options(to=text)


@pytest.mark.parametrize(
    "wrong",
    [{"lsn": "12"}, {"xid": "2"}, {"xid": "-5"}, {"name": "x" * 64}, {"lsn": "0/1", "xid": "5"}],
)
def test_what_is_no_target(wrong: dict[str, str]):
    with pytest.raises(UsageError):
        from_options(**wrong)


STOPPED = 'LOG:  recovery stopping at restore point "a b", time 2026-11-23 06:30:00+00\n'
DONE = "LOG:  redo done at 0/5000060 system usage: CPU\nLOG:  archive recovery complete\n"


def test_a_log_that_proves_its_target():
    found = outcome.read(STOPPED + "LOG:  selected new timeline ID: 2\n" + DONE)
    assert (found.timeline, found.redo_done, found.done) == (2, 0x5000060, True)
    outcome.assert_reached(from_options(name="a b"), found)


@pytest.mark.parametrize(
    ("log", "target"),
    [
        (DONE, from_options(name="a b")),
        (STOPPED + DONE, from_options(name="another")),
        (STOPPED + DONE, from_options(lsn="0/5")),
        ("FATAL:  recovery ended before configured recovery target was reached\n", LATEST),
        ("LOG:  incorrect resource manager data checksum in record at 0/5\n" + DONE, LATEST),
        ("", LATEST),
    ],
)
def test_a_log_that_does_not(log: str, target):
    with pytest.raises(NotGood):
        outcome.assert_reached(target, outcome.read(log))


def test_latest_has_to_come_to_the_end_of_the_archive():
    found = outcome.read(DONE)
    outcome.assert_reached(LATEST, found, through=0x5000000)
    with pytest.raises(NotGood, match="before the end"):
        outcome.assert_reached(LATEST, found, through=0x6000000)


def test_a_commit_that_drops_files():
    record = parse_line(
        "rmgr: Transaction len (rec/tot):    245/   245, tx:        726, lsn: 0/05AB4178, prev "
        "0/05AB4148, desc: COMMIT 2026-11-23 15:32:09.173954 UTC; rels: base/5/16384 base/5/16387; "
        "inval msgs: catcache 80 relcache 16384"
    )
    assert record is not None
    assert record.files == ("base/5/16384", "base/5/16387")
    assert (record.xid, record.lsn) == (726, 0x5AB4178)
    assert record.time == datetime(2026, 11, 23, 15, 32, 9, 173954, tzinfo=UTC)


def manifest(body: str) -> io.BytesIO:
    digest = hashlib.sha256(body.encode()).hexdigest()
    return io.BytesIO(f'{body}"Manifest-Checksum": "{digest}"}}\n'.encode())


HEAD = '{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n'
FILE = '{ "Path": "base/1/2", "Size": 3, "Checksum-Algorithm": "SHA256", "Checksum": "ab" }'
ODD = '{ "Encoded-Path": "ff2f", "Size": 0 }'
TAIL = '\n],\n"WAL-Ranges": [\n{ "Timeline": 1, "Start-LSN": "0/28", "End-LSN": "0/100" }\n],\n'


def test_a_manifest_with_a_name_that_is_not_utf8():
    found = parse(manifest(f"{HEAD}{FILE},\n{ODD}{TAIL}"))
    assert (found.files, found.bytes) == (2, 3)
    assert found.find(b"\xff/") is not None
    found.mark(b"base/1/2")
    assert [f.path for f in found.unseen()] == [b"\xff/"]
    found.close()


@pytest.mark.parametrize(
    "body",
    [
        f"{HEAD.replace('1', '3')}{FILE}{TAIL}",
        f"{HEAD}{FILE},\n{FILE}{TAIL}",
        f"{HEAD}{FILE.replace('3', chr(34) + 'x' + chr(34))}{TAIL}",
        f"{HEAD}{FILE}{TAIL.replace('0/28', '28')}",
        "no json at all\n",
    ],
)
def test_a_manifest_that_cannot_be_believed(body: str):
    with pytest.raises(ManifestDamaged):
        parse(manifest(body))


def test_a_manifest_that_goes_on_behind_its_end():
    stream = io.BytesIO(manifest(f"{HEAD}{FILE}{TAIL}").getvalue() + b"more")
    with pytest.raises(ManifestDamaged, match="follows"):
        parse(stream)


def test_a_forecast_is_by_the_newest_drill_that_has_measured():
    drills = [
        {"unpack_bytes_per_second": 1e9, "replay_bytes_per_second": 5e7},
        {"unpack_bytes_per_second": 2e9, "replay_bytes_per_second": None},
        {"at": "before rates were noted"},
    ]
    assert measured(drills) == Rates(2e9, 5e7)
    assert measured([]) == Rates()
