"""Reading one server over an interval: counters at both ends, sessions sampled in between."""

from __future__ import annotations

import asyncio
import time

from filban.errors import ConnectError, NotSupported, RightsMissing, StatementFailed
from filban.pg import Query, Session, connection
from filban.pg.check import Hidden
from filban.pg.server import Server
from filban.profile import waits
from filban.profile.bottlenecks.interval import (
    Interval,
    Limits,
    Reading,
    change,
    statement_changes,
    table_changes,
)
from filban.profile.bottlenecks.load import CLIENTS, Load
from filban.profile.bottlenecks.machine import Watch, is_here
from filban.profile.bottlenecks.rows import (
    Checkpoints,
    Conflicts,
    Connections,
    Database,
    Io,
    Sender,
    Table,
    Wal,
    Whoami,
)
from filban.profile.bottlenecks.tally import Tally
from filban.profile.statements import collect as statements
from filban.profile.statements.rows import Snapshot

_PACKAGE = __package__ or ""
# 100 samples hold the error of a share below 10 points (95 %); a sample of 100 sessions costs the
# server about 1 ms, so that even at 20 a second this is 2 % of a core.
SAMPLES = 100
SHORTEST_PERIOD_SECONDS, LONGEST_PERIOD_SECONDS = 0.05, 1.0
_GOLDEN = 0.6180339887  # spreads the moments, so that no rhythm of the workload falls in step


async def observe(opened: Session, seconds: float) -> tuple[Interval, list[Hidden]]:
    """Watch for so many seconds. Also what this role or server did not let us see.

    Raises RightsMissing, StatementFailed, ConnectionLost.
    """
    watch = await _watch(opened)
    before = await read(opened)
    started = time.monotonic()
    load = await sample(opened, seconds, watch)
    elapsed = time.monotonic() - started
    machine = watch.end(elapsed) if watch else None
    after = await read(opened)
    connect_seconds, hidden = await _connecting(opened)
    server = opened.server
    interval = Interval(
        seconds=elapsed,
        load=load,
        database=change(before.database, after.database),
        checkpoints=change(before.checkpoints, after.checkpoints),
        wal=change(before.wal, after.wal),
        io=change(before.io, after.io),
        conflicts=change(before.conflicts, after.conflicts),
        tables=table_changes(before.tables, after.tables),
        connections=max(before.connections, after.connections, key=lambda c: c.used),
        senders=after.senders,
        statements=statement_changes(before.statements, after.statements),
        machine=machine,
        connect_seconds=connect_seconds,
        limits=limits(server),
        in_recovery=server.in_recovery,
        managed_by=server.managed_by,
    )
    return interval, [*hidden, *_hidden(interval, server)]


async def read(opened: Session) -> Reading:
    """All counters now."""
    return Reading(
        database=await opened.row(Query(_PACKAGE, "database"), Database),
        checkpoints=await opened.row(Query(_PACKAGE, "checkpoints"), Checkpoints),
        wal=await opened.row(Query(_PACKAGE, "wal"), Wal),
        io=await opened.row(Query(_PACKAGE, "io"), Io),
        conflicts=await opened.row(Query(_PACKAGE, "conflicts"), Conflicts),
        tables=tuple(await opened.rows(Query(_PACKAGE, "tables"), Table)),
        connections=await opened.row(Query(_PACKAGE, "connections"), Connections),
        senders=tuple(await opened.rows(Query(_PACKAGE, "senders"), Sender)),
        statements=await _statements(opened),
    )


async def _statements(opened: Session) -> Snapshot | None:
    """None where the extension is missing, not preloaded, or not ours to read."""
    try:
        return await statements.take(opened)
    except (NotSupported, RightsMissing, StatementFailed):
        return None


async def sample(opened: Session, seconds: float, watch: Watch | None) -> Load:
    """Sessions at many moments, about a period apart."""
    period = min(max(seconds / SAMPLES, SHORTEST_PERIOD_SECONDS), LONGEST_PERIOD_SECONDS)
    tally, taken = Tally(), 0
    until = time.monotonic() + seconds
    if watch is not None:
        watch.begin()
    while time.monotonic() < until:
        now = await waits.sample(opened)
        if watch is not None:
            watch.sample({s.pid for s in now.sessions if s.backend_type in CLIENTS})
        tally.add(now)
        taken += 1
        jitter = 0.5 + taken * _GOLDEN % 1
        await asyncio.sleep(max(0.0, min(period * jitter, until - time.monotonic())))
    return tally.result()


async def _watch(opened: Session) -> Watch | None:
    me = await opened.row(Query(_PACKAGE, "whoami"), Whoami)
    return Watch(me.pid) if me.loopback and is_here(me.pid, me.started) else None


async def _connecting(opened: Session) -> tuple[float | None, list[Hidden]]:
    """How long a new connection takes now; None when there is no slot for it."""
    started = time.monotonic()
    try:
        async with connection(opened.target):
            return time.monotonic() - started, []
    except ConnectError as error:
        if error.reason == "too_many":
            return None, []
        # what was watched is worth more than this one number
        return 0.0, [Hidden(f"how long a connection takes: {error.message}", error.hint)]


def limits(server: Server) -> Limits:
    """Settings that anybody may read; all exist from 14 on."""

    def of(name: str) -> str:
        setting = server.setting(name)
        return "0" if setting is None else setting.value

    def size(name: str) -> int:
        setting = server.setting(name)
        return 0 if setting is None else setting.bytes()

    def seconds(name: str) -> float:
        setting = server.setting(name)
        return 0.0 if setting is None else setting.seconds()

    max_wal = size("max_wal_size")
    return Limits(
        block_bytes=int(of("block_size")) or 8192,
        deadlock_timeout_seconds=seconds("deadlock_timeout"),
        checkpoint_warning_seconds=seconds("checkpoint_warning"),
        # CalculateCheckpointSegments in xlog.c
        checkpoint_trigger_bytes=max_wal / (1.0 + float(of("checkpoint_completion_target"))),
        max_wal_size_bytes=max_wal,
        work_mem_bytes=size("work_mem"),
        shared_buffers_bytes=size("shared_buffers"),
        synchronous_standbys="" if of("synchronous_standby_names") == "0"
        else of("synchronous_standby_names"),
        jit_above_cost=float(of("jit_above_cost")),
    )  # fmt: skip


def _hidden(interval: Interval, server: Server) -> list[Hidden]:
    hidden = []
    if interval.connections.hidden:
        hidden.append(Hidden("what other roles' sessions do: whether they run, wait or block"))
    if interval.statements is None:
        hidden.append(_without_statements(server))
    if interval.machine is None:
        hidden.append(
            Hidden(
                "the server's processors and disks: it runs on another machine",
                "run filban there; here its sessions on CPU stand against an unknown number of "
                "cores",
            )
        )
    return hidden


def _without_statements(server: Server) -> Hidden:
    """What is missing, and the way to it."""
    what = "planning, JIT, temporary files and rows by statement (no pg_stat_statements)"
    if server.installed("pg_stat_statements") is None:
        return Hidden(
            what,
            "add pg_stat_statements to shared_preload_libraries, restart, "
            "CREATE EXTENSION pg_stat_statements;",
        )
    return Hidden(what, "add it to shared_preload_libraries and restart, or grant pg_monitor")
