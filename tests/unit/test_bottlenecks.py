"""What is made of samples and counters, without a server."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.cli.times import seconds_of
from filban.errors import UsageError
from filban.finding import Severity
from filban.pg.locks import LockWait
from filban.profile.bottlenecks import CODES, NAMES, judge
from filban.profile.bottlenecks.interval import Interval, Limits, Statement, change, table_changes
from filban.profile.bottlenecks.load import class_of, margin
from filban.profile.bottlenecks.lookups import columns
from filban.profile.bottlenecks.machine import Machine
from filban.profile.bottlenecks.parts import parts
from filban.profile.bottlenecks.rows import (
    Checkpoints,
    Conflicts,
    Connections,
    Database,
    Io,
    Table,
    Wal,
)
from filban.profile.bottlenecks.tally import MOST_TEXTS, OTHERS, summarise
from filban.profile.waits import Sample, Seen

LIMITS = Limits(
    block_bytes=8192,
    deadlock_timeout_seconds=1.0,
    checkpoint_warning_seconds=30.0,
    checkpoint_trigger_bytes=500e6,
    max_wal_size_bytes=1 << 30,
    work_mem_bytes=4 << 20,
    shared_buffers_bytes=128 << 20,
    synchronous_standbys="",
    jit_above_cost=100_000.0,
)
MACHINE = Machine(
    cores=4.0, busy=1.0, iowait=0.0, stolen=0.0, executing=4.0, queueing=4.0, io_pressure=0.0
)


def zero(kind: type[Any], **values: float) -> Any:
    return kind(**{f.name: 0.0 for f in dataclasses.fields(kind)} | values)


def seen(pid: int = 1, wait: str = "", state: str = "active", **values: Any) -> Seen:
    """A session; `wait` is Type:Event."""
    kind, _, event = wait.partition(":")
    known: dict[str, Any] = dict.fromkeys(f.name for f in dataclasses.fields(Seen)) | {
        "backend_type": "client backend",
        "query_id": 7,
        "query": "SELECT 1",
        "state_seconds": 0.01,
        "hidden": False,
    }
    known |= {"pid": pid, "state": state, "wait_event_type": kind or None}
    return Seen(**known | {"wait_event": event or None} | values)


def queued(pid: int, *blocked_by: int, gids: tuple[str, ...] = ()) -> LockWait:
    """A session in a lock queue; without `blocked_by` it is only in the way."""
    known: dict[str, Any] = dict.fromkeys(f.name for f in dataclasses.fields(LockWait))
    known |= {"pid": pid, "blocked_by": blocked_by, "prepared_gids": gids, "end_sql": "end it"}
    return LockWait(**known)


def moment(*sessions: Seen, waits: Sequence[LockWait] = ()) -> Sample:
    return Sample(datetime.now(UTC), sessions, tuple(waits))


def interval(samples: Sequence[Sequence[Seen]], **values: Any) -> Interval:
    known: dict[str, Any] = {
        "seconds": 10.0,
        "load": summarise([moment(*sample) for sample in samples]),
        "database": zero(Database),
        "checkpoints": zero(Checkpoints),
        "wal": zero(Wal),
        "io": zero(Io),
        "conflicts": zero(Conflicts),
        "tables": (),
        "connections": Connections(used=5, idle=1, hidden=0, allowed=97),
        "senders": (),
        "statements": (),
        "machine": None,
        "connect_seconds": 0.01,
        "limits": LIMITS,
        "in_recovery": False,
    }
    return Interval(**known | values)


def always(*sessions: Seen, **values: Any) -> Interval:
    """The same sessions in 50 samples."""
    return interval([sessions] * 50, **values)


def bottleneck(found: Interval) -> str | None:
    return judge(found)[0].bottleneck


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        ("", "cpu"),
        ("IO:DataFileRead", "io"),
        ("IO:AioIoCompletion", "io"),
        ("IPC:BufferIO", "io"),
        ("IO:BufFileWrite", "temp_io"),
        ("IO:WALSync", "wal"),
        ("IO:WalSync", "wal"),
        ("LWLock:WALWrite", "wal"),
        ("LWLock:BufferContent", "lwlock"),
        ("BufferPin:BufferPin", "lwlock"),
        ("Timeout:SpinDelay", "lwlock"),
        ("Lock:transactionid", "lock_row"),
        ("Lock:tuple", "lock_row"),
        ("Lock:relation", "lock_relation"),
        ("Lock:advisory", "lock_advisory"),
        ("Lock:extend", "lock_extend"),
        ("Lock:object", "lock_other"),
        ("IPC:SyncRep", "sync_replication"),
        ("IPC:ExecuteGather", None),
        ("IPC:HashBuildHashInner", None),
        ("Timeout:PgSleep", None),
        ("Client:ClientWrite", "client"),
        ("Extension:Extension", "other"),
        ("SomethingNew:InVersion21", "other"),
    ],
)
def test_class_of_a_wait(wait: str, expected: str | None):
    assert class_of(seen(wait=wait)) == expected


def test_idle_in_transaction_is_a_round_trip_while_it_is_short():
    trip = seen(wait="Client:ClientRead", state="idle in transaction", state_seconds=0.2)
    forgotten = dataclasses.replace(trip, state_seconds=20.0)
    assert (class_of(trip), class_of(forgotten)) == ("round_trip", None)
    assert class_of(dataclasses.replace(trip, state="idle")) is None


def test_a_queue_counts_for_whoever_is_in_front():
    """3 and 4 wait for 2, which waits for 1, which has forgotten its transaction."""
    forgotten = seen(1, "Client:ClientRead", "idle in transaction", state_seconds=9.0, query="A")
    waiting = [seen(pid, "Lock:relation") for pid in (2, 3, 4)]
    waits = [queued(1), queued(2, 1), queued(3, 2), queued(4, 2)]
    load = summarise([moment(forgotten, *waiting, waits=waits)])
    assert load.behind_idle == {"lock_relation": 3.0}
    assert [(b.pid, b.waiting, b.query) for b in load.blockers] == [(1, 3.0, "A")]
    assert [(b.pid, b.waiting, b.end_sql) for b in load.queuers] == [(2, 2.0, "end it")]
    assert load.forgotten == 1.0


def test_the_forgotten_transaction_is_named_not_the_lock():
    forgotten = seen(1, "Client:ClientRead", "idle in transaction", state_seconds=9.0)
    queue = moment(forgotten, seen(2, "Lock:tuple"), waits=[queued(1), queued(2, 1)])
    found = always(load=summarise([queue] * 50))
    verdict, (first, *_), _ = judge(found)
    assert verdict.bottleneck == "idle_in_transaction"
    assert first.fix is not None
    assert first.fix.sql == "end it"


def test_a_circle_has_nobody_in_front():
    sessions = [seen(1, "Lock:tuple"), seen(2, "Lock:tuple")]
    load = summarise([moment(*sessions, waits=[queued(1, 2), queued(2, 1)])])
    assert load.blockers == ()
    assert load.of("lock_row") == 2.0


def test_a_prepared_transaction_is_nobody_to_end():
    load = summarise([moment(seen(1, "Lock:tuple"), waits=[queued(1, gids=("left",))])])
    assert (load.blockers, load.of("lock_row")) == ((), 1.0)


def test_hidden_sessions_are_not_counted():
    load = summarise([moment(seen(1, state="", hidden=True), seen(2, hidden=True))])
    assert load.total == 0.0


def test_a_statement_that_was_not_yet_analysed_is_known_by_its_text():
    load = summarise(
        [moment(seen(1), seen(2, query_id=None), seen(3, query_id=None, query="other"))]
    )
    assert [(s.query_id, s.total) for s in load.statements] == [(7, 2.0), (None, 1.0)]


def test_texts_without_an_id_do_not_pile_up():
    texts = [seen(i, query_id=None, query=f"SELECT {i}") for i in range(MOST_TEXTS + 10)]
    load = summarise([moment(*texts)])
    assert len(load.statements) == MOST_TEXTS + 1
    assert (load.statements[0].query, load.statements[0].total) == (OTHERS, 10.0)
    assert load.total == MOST_TEXTS + 10


def test_parallel_workers_stand_for_their_leader():
    load = summarise(
        [
            moment(
                seen(1, "IPC:ExecuteGather"),
                seen(2, backend_type="parallel worker", leader_pid=1),
                seen(3, backend_type="autovacuum worker"),
            )
        ]
    )
    assert (load.total, load.workers) == (1.0, 1.0)


def test_nothing_is_healthy_and_idle():
    verdict, findings, _ = judge(always())
    assert (verdict.state, verdict.bottleneck, findings) == ("idle", None, ())
    verdict, findings, _ = judge(interval([[seen()]] * 5 + [[]] * 45))
    assert (verdict.state, verdict.bottleneck, findings) == ("healthy", None, ())


def test_few_samples_and_hidden_sessions_give_no_verdict():
    assert judge(interval([[]] * 3))[0].state == "unknown"
    hidden = Connections(used=5, idle=1, hidden=4, allowed=97)
    assert judge(always(connections=hidden))[0].state == "unknown"


def test_cpu_with_room_is_no_warning():
    busy, room = MACHINE, dataclasses.replace(MACHINE, queueing=0.1)
    for machine, severity in ((busy, Severity.warning), (room, Severity.info)):
        verdict, findings, _ = judge(always(seen(), machine=machine))
        assert verdict.bottleneck == "cpu"
        assert findings[0].severity is severity
    _, (first, *_), _ = judge(always(seen()))
    assert first.evidence["cores"].value == "unknown"


def statement(**values: float) -> Statement:
    known = {"query_id": 7, "calls": 100, "rows": 100, "exec_ms": 10_000.0, "plan_ms": 0.0,
             "jit_ms": 0.0, "temp_blocks": 0.0, "blocks": 0.0}  # fmt: skip
    return Statement(**known | values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        (statement(), "cpu"),
        (statement(exec_ms=1_000.0), "planning"),
        (statement(exec_ms=1_000.0, calls=3), "cpu"),  # still in flight, rather
        (statement(exec_ms=1_000.0, calls=100_000), "cpu"),  # 0.09 ms: protocol and parsing
        (statement(exec_ms=4_000.0, plan_ms=6_000.0), "planning"),
        (statement(exec_ms=9_999.0, plan_ms=15_000.0), "planning"),  # by track_planning
        (statement(jit_ms=8_000.0), "jit"),
        (statement(temp_blocks=900.0, blocks=100.0), "temp"),
    ],
)
def test_time_on_cpu_by_what_the_counters_say(counted: Statement, expected: str):
    """One session on CPU for 10 s."""
    assert bottleneck(always(seen(), statements=(counted,))) == expected


def table(**values: float) -> Table:
    known = {"id": 1, "name": "public.t", "quoted": "public.t", "live_rows": 1000.0,
             "vacuum_at": 250.0, "pages": 500.0, "seq_scans": 10.0, "blocks": 5000.0}  # fmt: skip
    return zero(Table, **known | values)  # type: ignore[arg-type]


def test_scans_of_a_large_table():
    counted = statement(blocks=5000.0)
    read = zero(Database, rows_returned=10_000.0)
    scanned = table(rows_in_scans=9_000.0)
    found = always(
        seen(query="SELECT * FROM t WHERE a = $1 AND b + 1 = 2"),
        statements=(counted,), database=read, tables=(scanned,),
    )  # fmt: skip
    _, (first, *_), _ = judge(found)
    assert first.code == "bottleneck.seq_scan"
    assert first.fix is not None
    assert first.fix.sql == "CREATE INDEX CONCURRENTLY ON public.t (a);"
    small = dataclasses.replace(scanned, pages=3.0)
    assert bottleneck(dataclasses.replace(found, tables=(small,))) == "cpu"


def test_dead_rows_matter_where_they_are_read():
    dead = table(dead_rows=9_000.0)
    assert bottleneck(always(seen(), statements=None, tables=(dead,))) == "vacuum"
    by_key = dataclasses.replace(dead, index_scans=5000.0)
    assert bottleneck(always(seen(), statements=None, tables=(by_key,))) == "cpu"
    reads = dataclasses.replace(dead, blocks_read=5000.0)
    assert bottleneck(always(seen(1, "IO:DataFileRead"), tables=(reads,))) == "vacuum"
    due = dataclasses.replace(dead, vacuum_at=10_000.0)
    assert bottleneck(always(seen(), statements=None, tables=(due,))) == "cpu"


def test_deadlocks_take_the_waits_that_they_account_for():
    waiting = (seen(1, "Lock:transactionid"), seen(2, "Lock:transactionid"))
    assert bottleneck(always(*waiting)) == "lock_row"
    many = zero(Database, deadlocks=10.0)
    assert bottleneck(always(*waiting, database=many)) == "deadlock"


def test_wal_of_forced_checkpoints():
    waiting = seen(1, "LWLock:WALWrite")
    images = zero(Wal, bytes=2e9, page_images=200_000.0)
    forced = zero(Checkpoints, requested=4.0)
    assert bottleneck(always(waiting, wal=images, checkpoints=forced)) == "checkpoints"
    # asked for by somebody: WAL does not account for it
    assert bottleneck(always(waiting, wal=zero(Wal, bytes=1e6, page_images=100.0),
                             checkpoints=forced)) == "wal"  # fmt: skip
    rows = zero(Wal, bytes=2e9, page_images=10_000.0)
    assert bottleneck(always(waiting, wal=rows, checkpoints=forced)) == "wal"
    assert bottleneck(always(waiting, wal=images, checkpoints=forced, seconds=600.0)) == "wal"


def test_slots_that_idle_clients_hold():
    full = Connections(used=98, idle=96, hidden=0, allowed=97)  # one of those kept for superusers
    verdict, (first, *_), _ = judge(always(connections=full))
    assert verdict.sentence.startswith("All 97 connections are taken")
    assert first.title.startswith("All 97 connections are taken, 96 of them")
    assert dataclasses.replace(full, used=95).words == "95 of 97"
    assert (verdict.bottleneck, first.severity) == ("connections", Severity.critical)
    # where sessions are stuck, they are the cause, and the slots come second
    verdict, findings, _ = judge(always(seen(1, "Lock:relation"), connections=full))
    assert verdict.bottleneck == "lock_relation"
    assert [f.code for f in findings] == ["bottleneck.lock_relation", "bottleneck.connections"]
    assert bottleneck(always(connect_seconds=None)) == "connections"


def test_connections_by_what_opening_them_takes():
    opened = zero(Database, sessions=2000.0, transactions=4000.0)
    assert bottleneck(always(database=opened, connect_seconds=0.005)) == "connections"
    assert bottleneck(always(database=opened, connect_seconds=0.0005)) is None


def test_a_full_machine_hides_who_waits_for_it():
    """Sessions that queue for a processor look idle: what they ran counts as well."""
    rare = [[seen()]] * 10 + [[]] * 40
    assert bottleneck(interval(rare, machine=MACHINE)) == "cpu"
    crowded = dataclasses.replace(MACHINE, executing=0.1)
    assert bottleneck(interval(rare, machine=crowded)) == "cpu"
    light = dataclasses.replace(MACHINE, executing=0.1, queueing=0.5)
    assert bottleneck(interval(rare, machine=light)) is None
    counted = zero(Database, active_ms=9_000.0)
    assert bottleneck(interval(rare, database=counted)) == "cpu"
    waits = [[seen(1, "IO:WALSync")]] * 10 + [[]] * 40
    assert bottleneck(interval(waits, machine=MACHINE)) is None


def test_names_keep_their_capitals():
    assert judge(always(seen(1, "IO:WALSync")))[0].sentence.startswith("Writing WAL holds")


def test_a_close_second_is_said():
    samples = [[seen()] if i % 2 else [seen(1, "IO:WALSync")] for i in range(41)]
    verdict, _, _ = judge(interval(samples))
    assert {verdict.bottleneck, verdict.runner_up} == {"cpu", "wal"}


def test_a_counter_that_fell_was_reset():
    before, after = zero(Wal, bytes=100.0), zero(Wal, bytes=30.0)
    assert change(before, after).bytes == 30.0


def test_tables_that_nobody_used_are_left_out():
    before = [table(seq_scans=5.0), table(id=2, seq_scans=5.0)]
    after = [table(seq_scans=5.0, dead_rows=9.0), table(id=2, seq_scans=8.0), table(id=3)]
    found = table_changes(before, after)
    assert [(t.id, t.seq_scans) for t in found] == [(2, 3.0), (3, 10.0)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT id FROM t WHERE a = $1 AND $2 = b LIMIT 1", ("a", "b")),
        ('DELETE FROM public.t WHERE "Odd name" = 3', ('"Odd name"',)),
        ("UPDATE t SET n = 1 WHERE t.a = lower('X')", ("a",)),
        ("SELECT * FROM t WHERE a = 1 OR b = 2", ()),
        ("SELECT * FROM t WHERE a = b", ()),
        ("SELECT * FROM t WHERE lower(a) = 'x'", ()),
        ("SELECT * FROM t JOIN u USING (id) WHERE a = 1", ()),
        ("SELECT * FROM t WHERE a = (SELECT max(a) FROM t)", ()),
        ("SELECT * FROM u WHERE a = 1", ()),
        ("SELECT * FROM t WHERE a =", ()),
        ("", ()),
    ],
)
def test_columns_that_a_statement_looks_up_by(query: str, expected: tuple[str, ...]):
    assert columns(query, "public.t") == expected


def test_names_go_with_holds():
    """Each stands before "holds the workload back"."""
    for name in NAMES.values():
        first = name.split()[0]
        assert first.endswith("ing") or first in ("WAL", "contention", "conflict"), name


def test_every_part_has_a_name_and_a_rule():
    assert {code.partition(".")[2] for code in CODES} == set(NAMES)


WAITS = ["", "IO:DataFileRead", "IO:WALSync", "IO:BufFileRead", "Lock:tuple", "Lock:relation",
         "LWLock:WALInsert", "IPC:SyncRep", "Client:ClientRead", "Timeout:PgSleep"]  # fmt: skip


@given(
    st.lists(st.lists(st.sampled_from(WAITS), max_size=5), min_size=1, max_size=20),
    st.floats(0, 100),
    st.floats(0, 20_000),
    st.floats(0, 20_000),
)
def test_parts_are_a_division(
    samples: list[list[str]], deadlocks: float, exec_ms: float, jit_ms: float
):
    """Whatever the counters claim, each second belongs to one part, and shares add up."""
    found = interval(
        [[seen(pid, wait) for pid, wait in enumerate(sample)] for sample in samples],
        database=zero(Database, deadlocks=deadlocks, rows_returned=10.0),
        statements=(statement(exec_ms=exec_ms, jit_ms=min(jit_ms, exec_ms), temp_blocks=3.0),),
        tables=(table(rows_in_scans=20.0, dead_rows=5_000.0, blocks_read=9.0),),
    )
    divided = parts(found)
    assert all(part.sessions > 0 for part in divided)
    assert sum(part.sessions for part in divided) == pytest.approx(found.load.total)
    verdict, findings, held = judge(found)
    assert len(findings) <= 3
    assert not held or sum(h.share for h in held) == pytest.approx(1.0)
    assert (verdict.bottleneck is None) == (verdict.state != "bottleneck")


def test_margin_of_a_share():
    assert margin(0.5, 100) == pytest.approx(0.098)
    assert margin(0.5, 0) == 1.0


@pytest.mark.parametrize(
    ("text", "expected"), [("30s", 30), ("5min", 300), ("2", 2), ("1h", 3600), ("7d", 604_800)]
)
def test_durations(text: str, expected: float):
    assert seconds_of(text, "--for") == expected


@pytest.mark.parametrize("text", ["", "s", "-1s", "1y", "1 2s", "۳۰s"])
def test_what_is_no_duration(text: str):
    with pytest.raises(UsageError):
        seconds_of(text, "--for")
