"""What `filban logs` counts, against what the server itself counted over the same interval."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from conftest import DEFAULT_MAJOR, REQUIRED_MAJORS, lacking, running, server_binaries
from filban import sql
from filban.cli.app import run as cli
from filban.cluster import Cluster
from filban.profile.logs import Analysis, LogReport, Only, feed, read_logs

STDERR, CSV, JSON = "server.log", "server.csv", "server.json"
PREFIX = "%m [%p] %q%u@%d,app=%a,%h "

SETTINGS = {
    "logging_collector": True,
    "log_destination": "stderr,csvlog,jsonlog",
    "log_directory": "log",
    "log_filename": STDERR,
    "log_file_mode": "0644",
    "log_rotation_age": 0,
    "log_rotation_size": 0,
    "log_line_prefix": PREFIX,
    "log_min_duration_statement": 0,
    "log_lock_waits": True,
    "log_temp_files": 0,
    "log_connections": True,
    "log_disconnections": True,
    "deadlock_timeout": "50ms",
    "compute_query_id": "on",
    "work_mem": "64kB",
    "autovacuum": False,
    "shared_preload_libraries": "pg_stat_statements,auto_explain",
    "pg_stat_statements.track": "top",
    # Every plan is logged as well: the trap of counting twice.
    "auto_explain.log_min_duration": 0,
    "auto_explain.log_nested_statements": True,
}


@pytest.fixture(scope="module", params=sorted({*REQUIRED_MAJORS}), ids=lambda m: f"pg{m}")
def server(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server that logs everything three times: stderr, csvlog, jsonlog."""
    binaries = server_binaries().get(request.param)
    if binaries is None or not binaries.has_library("auto_explain"):
        lacking(f"PostgreSQL {request.param} with auto_explain")
    with running(binaries=binaries, settings=SETTINGS) as cluster:
        asyncio.run(_prepare(cluster))
        yield cluster


async def _prepare(cluster: Cluster) -> None:
    connection = await asyncpg.connect(cluster.dsn())
    await connection.execute("CREATE EXTENSION pg_stat_statements")
    await connection.execute("CREATE TABLE item (id int PRIMARY KEY, name text, price numeric)")
    await connection.execute(
        "INSERT INTO item SELECT n, 'name ' || n, n FROM generate_series(1, 2000) n"
    )
    await connection.execute(
        "CREATE FUNCTION price_of(wanted int) RETURNS numeric LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM count(*) FROM item WHERE id <> wanted; "
        "RETURN (SELECT price FROM item WHERE id = wanted); END $$"
    )
    await connection.close()


@contextlib.asynccontextmanager
async def client(cluster: Cluster, app: str = "client"):  # type: ignore[no-untyped-def]
    connection = await asyncpg.connect(cluster.dsn(), server_settings={"application_name": app})
    try:
        yield connection
    finally:
        await connection.close()


async def workload(cluster: Cluster) -> None:
    """Simple and extended protocol, SQL-level prepared statements, functions, cursors, errors."""
    async with client(cluster, "workload") as c:
        for n in range(7):
            await c.execute(f"SELECT name FROM item WHERE id = {n}")
            await c.execute(f"INSERT INTO item VALUES ({n + 10_000}, 'it''s {n}', 1.5)")
        for n in range(11):
            await c.fetch("SELECT price FROM item WHERE id = $1 AND name <> $2", n, "x y")
        statement = await c.prepare("UPDATE item SET price = price + $1 WHERE id = $2")
        for n in range(5):
            await statement.fetch(1, n)
        await c.execute("PREPARE by_name(text) AS SELECT id FROM item WHERE name = $1")
        for n in range(3):
            await c.execute(f"EXECUTE by_name('name {n}')")
        for n in range(4):
            await c.fetchval("SELECT price_of($1)", n)
        async with c.transaction():
            cursor = await c.cursor("SELECT id FROM item ORDER BY id")
            for _ in range(3):
                await cursor.fetch(10)
        for n in range(6):
            with contextlib.suppress(asyncpg.PostgresError):
                await c.execute(f"SELECT 1 / (id - id) FROM item WHERE id = {n + 1}")
        with contextlib.suppress(asyncpg.PostgresError):
            await c.execute("INSERT INTO item VALUES (1, 'again', 0)")
        with contextlib.suppress(asyncpg.PostgresError):
            await c.execute("SET statement_timeout = 20; SELECT pg_sleep(5)")
        await c.execute("RESET statement_timeout")
        # Counted twice, this alone would be longer than the session.
        await c.execute("SELECT pg_sleep(0.8)")
        await c.execute("SELECT count(*) FROM (SELECT * FROM item ORDER BY name, price) x")


async def totals(cluster: Cluster) -> dict[str, tuple[int, float]]:
    """pg_stat_statements by our own fingerprint: (calls, ms)."""
    async with client(cluster, "observer") as c:
        rows = await c.fetch(
            "SELECT query, calls, total_exec_time AS ms FROM pg_stat_statements "
            "WHERE query NOT LIKE '%pg_stat_statements%'"
        )
    found: dict[str, tuple[int, float]] = {}
    for row in rows:
        text = row["query"]
        if text.upper().startswith("PREPARE "):  # as the server has it: with its PREPARE
            text = text.split(" AS ", 1)[1]
        key = sql.fingerprint(text)
        calls, ms = found.get(key, (0, 0.0))
        found[key] = (calls + row["calls"], ms + row["ms"])
    return found


async def read(*files: Path | str, only: Only | None = None) -> LogReport:
    return await read_logs([str(file) for file in files], Analysis(only or Only()))


async def written(cluster: Cluster, app: str) -> None:
    """Wait until the collector has written the end of `app`'s session in all three files."""
    directory = cluster.data_dir / "log"
    for name in (STDERR, CSV, JSON):
        for _ in range(200):
            text = (directory / name).read_text()
            line = text.rfind("disconnection: session time")
            if line > 0 and app in text[text.rfind("\n", 0, line) : text.find("\n", line) + 1]:
                break
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def run(server: Cluster) -> tuple[Cluster, dict[str, tuple[int, float]], float]:
    """The workload, once; what pg_stat_statements counted of it, and its milliseconds here."""

    async def whole() -> tuple[dict[str, tuple[int, float]], float]:
        async with client(server, "observer") as c:
            await c.execute("SELECT pg_stat_statements_reset()")
        began = time.perf_counter()
        await workload(server)
        elapsed = time.perf_counter() - began
        counted = await totals(server)
        await written(server, "observer")
        return counted, 1000 * elapsed

    return server, *asyncio.run(whole())


def of_workload(report: LogReport) -> dict[str, tuple[int, float]]:
    return {
        s.fingerprint: (s.calls, s.total_ms)
        for s in report.statements
        if "workload" in s.applications
    }


@pytest.mark.parametrize("name", [STDERR, CSV, JSON])
async def test_calls_are_those_of_pg_stat_statements(run, name):
    cluster, counted, _ = run
    logged = of_workload(await read(cluster.data_dir / "log" / name))
    # A string of several statements is one line of the log and several of pg_stat_statements;
    # resets at the end of a pooled connection are not part of the workload.
    compared = {key: calls for key, (calls, _) in counted.items() if key in logged}
    assert len(compared) >= 10
    assert {key: logged[key][0] for key in compared} == compared


@pytest.mark.parametrize("name", [STDERR, CSV, JSON])
async def test_every_statement_of_pg_stat_statements_is_in_the_log(run, name):
    cluster, counted, _ = run
    logged = of_workload(await read(cluster.data_dir / "log" / name))
    async with client(cluster, "observer") as c:
        parts = await c.fetch(
            "SELECT query FROM pg_stat_statements WHERE query ILIKE 'SET statement%'"
        )
    several = {sql.fingerprint(row["query"]) for row in parts}
    assert set(counted) - set(logged) - several == set()


async def test_total_time_holds_the_server_s_and_is_held_by_the_client_s(run):
    """The log's time of a statement has parsing, planning and sending in it besides executing; all
    of a session's statements together, counted once, cannot take longer than the session."""
    cluster, counted, elapsed_ms = run
    for name in (STDERR, CSV, JSON):
        logged = of_workload(await read(cluster.data_dir / "log" / name))
        assert sum(ms for _, ms in logged.values()) < elapsed_ms
        for key, (calls, ms) in counted.items():
            if key in logged:
                rounding = 0.001 * calls
                assert logged[key][1] >= ms - rounding


async def test_the_same_events_in_three_formats_are_the_same(run):
    cluster, *_ = run
    reports = [await read(cluster.data_dir / "log" / name) for name in (STDERR, CSV, JSON)]
    first = reports[0]
    assert first.calls > 40
    for other in reports[1:]:
        assert [(s.fingerprint, s.calls, s.total_ms, s.hours) for s in other.statements] == [
            (s.fingerprint, s.calls, s.total_ms, s.hours) for s in first.statements
        ]
        assert [(f.level, f.sqlstate, f.message, f.count) for f in other.errors] == [
            (f.level, f.sqlstate, f.message, f.count) for f in first.errors
        ]
        assert other.temp_files == first.temp_files
        assert other.locks == first.locks
        assert other.plans == first.plans
        assert (other.sessions.received, other.sessions.by_user) == (
            first.sessions.received,
            first.sessions.by_user,
        )


async def test_a_statement_with_a_plan_counts_once(run):
    cluster, *_ = run
    report = await read(cluster.data_dir / "log" / CSV)
    key = sql.fingerprint("SELECT price FROM item WHERE id = $1 AND name <> $2")
    statement = next(s for s in report.statements if s.fingerprint == key)
    plan = next(p for p in report.plans if p.fingerprint == key)
    assert (statement.calls, plan.plans) == (11, 11)
    assert "Index Scan" in plan.plan or "Seq Scan" in plan.plan


async def test_execute_is_the_statement_that_was_prepared(run):
    cluster, counted, _ = run
    report = await read(cluster.data_dir / "log" / STDERR)
    key = sql.fingerprint("SELECT id FROM item WHERE name = $1")
    assert next(s for s in report.statements if s.fingerprint == key).calls == counted[key][0] == 3
    prepare = sql.fingerprint("PREPARE by_name(text) AS SELECT id FROM item WHERE name = $1")
    assert next(s for s in report.statements if s.fingerprint == prepare).calls == 1


async def test_plans_inside_functions_are_no_calls(run):
    cluster, *_ = run
    report = await read(cluster.data_dir / "log" / STDERR)
    key = sql.fingerprint("SELECT price_of($1)")
    assert next(s for s in report.statements if s.fingerprint == key).calls == 4
    inner = [p for p in report.plans if p.nested]
    assert {p.plans for p in inner} == {4}
    assert not {p.fingerprint for p in inner} & {s.fingerprint for s in report.statements}


async def test_parse_and_bind_are_told_apart(run):
    cluster, *_ = run
    report = await read(cluster.data_dir / "log" / CSV)
    key = sql.fingerprint("UPDATE item SET price = price + $1 WHERE id = $2")
    statement = next(s for s in report.statements if s.fingerprint == key)
    assert statement.calls == statement.timed_calls == 5
    assert statement.prepare_ms > 0
    assert statement.query_id
    assert statement.examples[0].parameters is not None
    assert statement.examples[0].parameters.startswith("$1 = '1', $2 = ")


async def test_fetching_goes_on_with_one_call(run):
    cluster, counted, _ = run
    report = await read(cluster.data_dir / "log" / STDERR)
    key = sql.fingerprint("SELECT id FROM item ORDER BY id")
    assert next(s for s in report.statements if s.fingerprint == key).calls == counted[key][0] == 1


async def test_errors_have_their_sqlstate_in_every_format(run):
    cluster, *_ = run
    for name in (STDERR, CSV, JSON):
        report = await read(cluster.data_dir / "log" / name)
        counts = {(e.level, e.sqlstate): e.count for e in report.errors}
        assert counts["ERROR", "22012"] == 6
        assert counts["ERROR", "23505"] == 1
        assert counts["ERROR", "57014"] == 1
        assert {e.derived for e in report.errors} == {name == STDERR}
        assert [(c.why, c.count) for c in report.cancelled] == [("statement_timeout", 1)]


async def test_temporary_files_belong_to_their_statement(run):
    cluster, *_ = run
    report = await read(cluster.data_dir / "log" / CSV)
    key = sql.fingerprint("SELECT count(*) FROM (SELECT * FROM item ORDER BY name, price) x")
    files = next(t for t in report.temp_files if t.fingerprint == key)
    assert files.bytes >= files.max_bytes > 8192
    assert report.temp_file_count == sum(t.files for t in report.temp_files)


@pytest.mark.parametrize("name", [STDERR, CSV, JSON])
@pytest.mark.parametrize("piece", [997, 20_011])
async def test_where_the_pieces_end_does_not_matter(run, name, piece, monkeypatch):
    cluster, *_ = run
    file = cluster.data_dir / "log" / name
    whole = await read(file)
    monkeypatch.setattr(feed, "SAMPLE_BYTES", 4096)
    monkeypatch.setattr(feed, "FIRST", piece)
    monkeypatch.setattr(feed, "PIECES", {})
    monkeypatch.setattr(feed, "PIECE", piece)
    pieces = await read(file)
    assert pieces == whole


async def test_only_a_database_or_a_time(run):
    cluster, *_ = run
    file = cluster.data_dir / "log" / STDERR
    assert (await read(file, only=Only(databases=("nothing",)))).events == 0
    whole = await read(file)
    assert whole.first is not None
    assert whole.last is not None
    middle = whole.first + (whole.last - whole.first) / 2
    halves = [await read(file, only=Only(until=middle)), await read(file, only=Only(since=middle))]
    assert sum(half.events for half in halves) == whole.events
    assert all(half.events for half in halves)


async def test_three_formats_in_one_directory_count_once(run):
    cluster, *_ = run
    report = await read(cluster.data_dir / "log")
    alone = await read(cluster.data_dir / "log" / CSV)
    assert report.calls == alone.calls
    assert sorted(file.format for file in report.files) == ["", "", "csvlog"]


def test_the_server_tells_its_prefix(server, tmp_path, capsys):
    """Where the file alone does not show it: one line, of a user and a program with odd names."""
    file = tmp_path / "one.log"
    file.write_text(
        "2026-11-23 09:41:00.123 UTC [7] a b@news,app=x, y,1.2.3.4 "
        "LOG:  duration: 1.000 ms  statement: SELECT 1\n"
    )
    assert cli(["logs", str(file), "--dsn", server.dsn(), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["files"][0]["prefix"] == PREFIX
    example = report["statements"][0]["examples"][0]
    assert (example["user"], example["application"]) == ("a b", "x, y")


def test_default_major_is_one_of_the_required() -> None:
    assert DEFAULT_MAJOR in REQUIRED_MAJORS
