"""Whatever bytes come, the parsers neither crash nor hang nor invent events."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_logs_formats import AT, CSV, JSON, cloud_entry, syslog

from filban.profile.logs import Analysis
from filban.profile.logs.feed import Feed
from filban.profile.logs.keys import identify, keys
from filban.profile.logs.lines import plan_parts

STDERR = (
    f"{AT} [1] app@news LOG:  duration: 1.500 ms  execute S_1/C_2: SELECT $1\n\t, 2\n"
    f"{AT} [1] app@news DETAIL:  parameters: $1 = '7'\n"
    f"{AT} [2] LOG:  process 2 still waiting for ShareLock on transaction 5 after 1000.1 ms\n"
    f"{AT} [2] DETAIL:  Process holding the lock: 1. Wait queue: 2, 3.\n"
    f"{AT} [1] app@news LOG:  duration: 12.000 ms  plan:\n\tQuery Text: SELECT 1\n"
    "\tResult  (cost=0.00..0.01 rows=1 width=4)\n"
    f"{AT} [3] app@news ERROR:  deadlock detected\n"
    f"{AT} [3] app@news DETAIL:  Process 3 waits for ShareLock on transaction 6; blocked by "
    "process 4.\n"
    f"{AT} [4] LOG:  checkpoint complete: wrote 5 buffers (0.0%); 0 WAL file(s) added, 0 removed, "
    "0 recycled; write=0.1 s, sync=0.1 s, total=0.2 s; sync files=1\n"
    f'{AT} [5] LOG:  automatic vacuum of table "news.public.t": index scans: 1\n'
    "\ttuples: 5 removed, 6 remain, 7 are dead but not yet removable\n\tsystem usage: CPU: user: "
    "0.00 s, system: 0.00 s, elapsed: 0.01 s\n"
    f'{AT} [6] app@news LOG:  temporary file: path "base/pgsql_tmp/pgsql_tmp6.0", size 8192\n'
    f"{AT} [6] app@news LOG:  disconnection: session time: 0:00:01.5 user=app database=news "
    "host=::1\n"
    f"{AT} [7] LOG:  server process (PID 6) was terminated by signal 9: Killed\n"
)
SYSLOG = (
    "\n".join(syslog(7, 1, ["user=a,db=b LOG:  duration: 1.0 ms  statement: SELECT", "#0111"]))
    + "\n"
)
_RECORD = {
    "log_time": AT, "process_id": "1", "error_severity": "LOG", "message": "duration: 1.0 ms",
}  # fmt: skip
CNPG = json.dumps({"logger": "postgres", "logging_pod": "a", "record": _RECORD}) + "\n"
CLOUD = json.dumps([cloud_entry(1), cloud_entry(2)], indent=2)
REAL = [text.encode() for text in (STDERR, CSV * 3, JSON * 3, SYSLOG, CNPG, CLOUD)]


def look(data: bytes, piece: int) -> None:
    """All of it, in pieces, to the report."""
    analysis, feed = Analysis(), Feed()
    events = unread = 0
    batches = [
        b for start in range(0, len(data), piece) for b in feed.take(data[start : start + piece])
    ]
    batches += feed.finish()
    for batch in batches:
        events += analysis.take(batch)
        unread += batch.unread.count
    analysis.finish()
    report = analysis.report([])
    assert report.events == events
    # Half a line of a statement is an event and unreadable; escapes and cuts make more lines.
    lines = data.count(b"\n") + data.count(b"\\n") + data.count(b"#01") + len(data) // piece + 2
    assert events + unread <= 2 * lines
    assert report.calls <= events


class small:  # noqa: N801
    """Pieces small enough that a short text has several of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from filban.profile.logs import feed

        monkeypatch.setattr(feed, "SAMPLE_BYTES", 300)
        monkeypatch.setattr(feed, "PIECES", {})


COMMON = settings(
    deadline=None, max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
LONG = settings(COMMON, max_examples=3000)

mutations = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.sampled_from(["cut", "insert", "swap", "repeat", "byte"]),
        st.binary(max_size=12)
        | st.sampled_from([b'"', b"\n", b"\t", b"\0", b",", b"{", b"\\", b"\xff"]),
    ),
    max_size=8,
)


def mutated(text: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    for place, how, data in changes:
        at = place % (len(text) + 1)
        if how == "cut":
            text = text[:at] + text[at + place % 40 :]
        elif how == "insert":
            text = text[:at] + data + text[at:]
        elif how == "swap":
            text = text[at:] + text[:at]
        elif how == "repeat":
            text = text[:at] + text[at : at + 200] * 3 + text[at:]
        else:
            text = text[:at] + data[:1] + text[at + 1 :]
    return text


@pytest.mark.parametrize(
    "begins", [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x9c"], ids=["gzip", "zstd", "zlib"]
)
@pytest.mark.parametrize("text", [CSV, JSON], ids=["csv", "json"])
def test_a_piece_that_begins_like_compressed_data(text, begins, monkeypatch):
    """polars would unpack it."""
    small(monkeypatch)
    look(3 * text.encode() + begins, len(text.encode()))


@COMMON
@given(data=st.binary(max_size=400), piece=st.integers(1, 200))
def test_any_bytes(data, piece):
    look(data, piece)


@COMMON
@given(
    text=st.sampled_from(REAL),
    changes=mutations,
    piece=st.integers(40, 5000),
    tail=st.binary(max_size=40),
)
def test_mutated_lines(text, changes, piece, tail, monkeypatch):
    small(monkeypatch)
    look(mutated(text, changes) + tail, piece)


@pytest.mark.long
@LONG
@given(
    text=st.sampled_from(REAL),
    changes=mutations,
    piece=st.integers(40, 5000),
    tail=st.binary(max_size=40),
)
def test_mutated_lines_long(text, changes, piece, tail, monkeypatch):
    small(monkeypatch)
    look(mutated(text, changes) + tail, piece)


@COMMON
@given(st.text(max_size=200) | st.text(alphabet="SELECT '\"$1;-/*\\(),?0E", max_size=60))
def test_any_statement_has_an_identity(text):
    import polars as pl

    assert identify(text).fingerprint
    assert keys(pl.Series([text, text])).n_unique() == 1
    plan_parts(text)
    plan_parts(f"Query Text: {text}\nResult  (cost=0.00..1.00)")


def test_no_regular_expression_blows_up():
    """Long runs of what patterns look for and then do not find."""
    for unit in (
        "(",
        "'",
        '"',
        "/*",
        "--",
        "$$",
        "process 1 ",
        f"{AT} ",
        "a=b,",
        "[1] ",
        "\t",
        "::",
    ):
        line = f"{AT} [1] a@d LOG:  duration: 1.0 ms  statement: {unit * 20_000}\n"
        look(line.encode() * 3, 10_000_000)
        look((unit * 50_000).encode(), 10_000_000)


def test_an_event_without_an_end_is_not_waited_for(monkeypatch):
    from filban.profile.logs import feed

    monkeypatch.setattr(feed, "LONGEST", 100_000)
    monkeypatch.setattr(feed, "PIECES", {})
    reader = feed.Feed()
    head = f"{AT} [1] a@d LOG:  duration: 1.0 ms  statement: SELECT\n".encode()
    batches = list(reader.take(head * 20_000))
    for _ in range(50):
        batches += reader.take(b"\tendless\n" * 1000)
    assert len(reader._rest) <= 110_000
    assert sum(batch.events.height for batch in batches) >= 19_999
