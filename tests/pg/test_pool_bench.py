"""`filban pool bench` and `filban pool advise` on a real server: what they run and leave behind."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, start_http_server

from conftest import Database
from filban import pg
from filban.cli.app import run
from filban.errors import NotSupported, StatementFailed, UsageError
from filban.flows.pool import AdviseOptions, BenchOptions, advise, bench, planned
from filban.pool import create_pool, prometheus
from filban.render import pool_html
from filban.tune.pool_size import Planned, PoolThresholds
from pooler import bouncer

QUICK = {"sizes": (1, 2), "concurrency": (4,), "seconds": 0.1, "rounds": 1}
# Each lease takes so long that what this machine adds to it is small beside it.
FEW = PoolThresholds(pool_minimum_leases=10)


@pytest.fixture
async def news(db: Database) -> Database:
    await db.execute(
        "CREATE TABLE article (site int, id int, title text, PRIMARY KEY (site, id));"
        "INSERT INTO article SELECT i % 3, i, 'title ' || i FROM generate_series(1, 500) i;"
        "ANALYZE article"
    )
    return db


def target(db: Database) -> pg.Target:
    return pg.parse(db.dsn)


async def ours(db: Database) -> int:
    return await db.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'filban' AND datname = current_database()"
    )


async def test_look_ups_of_the_largest_table_give_a_size(news: Database):
    said: list[str] = []
    result = await bench(target(news), BenchOptions(**QUICK), say=said.append)
    assert result.workload == "look-ups by primary key in public.article"
    assert [(s.size, s.concurrency) for s in result.closed] == [(1, 4), (2, 4)]
    assert all(s.statements > 0 and s.errors == 0 for s in result.closed), result.closed
    assert result.choice is not None
    assert result.choice.size in (1, 2)
    assert [s.size for s in result.open] == [result.choice.size] * 3
    assert "read-only" in said[0]
    assert f"{result.slots.free} are free" in said[1]
    assert await ours(news) == 0
    document = json.loads(json.dumps(result.as_json()))
    assert document["recommended_size"] == result.choice.size
    page = pool_html.page(result)
    assert page.count("<circle") == 2 * len(QUICK["sizes"])


async def test_statements_of_a_service_with_values(news: Database):
    options = BenchOptions(
        statements=("SELECT title FROM article WHERE id = $1",),
        values_sql="SELECT id FROM public.article",
        rates=(50.0,),
        **QUICK,
    )
    result = await bench(target(news), options)
    (opened,) = result.open
    assert opened.rate == 50.0
    assert opened.errors == 0


@pytest.mark.parametrize(
    "statement", ["DELETE FROM article", "SELECT nextval('s')", "SELECT my_function()", "SELEC 1"]
)
async def test_what_may_write_is_not_run_without_yes(news: Database, statement: str):
    with pytest.raises(UsageError, match="may write"):
        await bench(target(news), BenchOptions(statements=(statement,), **QUICK))
    assert await news.fetchval("SELECT count(*) FROM article") == 500


async def test_the_server_itself_refuses_what_slips_through(news: Database, monkeypatch):
    """An operator of the user's that writes cannot be seen in the text."""
    from filban.flows.pool import plan

    monkeypatch.setattr(plan.sql, "read_only", lambda _: True)
    with pytest.raises(StatementFailed, match="read-only transaction"):
        await bench(target(news), BenchOptions(statements=("DELETE FROM article",), **QUICK))
    assert await news.fetchval("SELECT count(*) FROM article") == 500
    assert await ours(news) == 0


async def test_with_yes_it_writes(news: Database):
    await news.execute("CREATE TABLE hit (at timestamptz DEFAULT now())")
    options = BenchOptions(statements=("INSERT INTO hit DEFAULT VALUES",), writes=True, **QUICK)
    result = await bench(target(news), options)
    assert await news.fetchval("SELECT count(*) FROM hit") >= sum(
        s.statements for s in result.closed
    )


async def test_it_takes_no_more_than_the_roles_limit(news: Database):
    await news.execute("DROP ROLE IF EXISTS small; CREATE ROLE small LOGIN CONNECTION LIMIT 7")
    await news.execute("GRANT SELECT ON article TO small")
    try:
        said: list[str] = []
        options = BenchOptions(concurrency=(4,), seconds=0.1, rounds=1, rates=())
        result = await bench(pg.parse(news.dsn_as("small")), options, say=said.append)
        assert [s.size for s in result.closed] == [1, 2]  # 7 - 1 of the look itself - 3 spare
        assert "of 7 (role) 6 are free" in said[1]
        assert any("left out" in line for line in said)
        with pytest.raises(UsageError, match="would not leave"):
            await bench(pg.parse(news.dsn_as("small")), BenchOptions(sizes=(6,)))
    finally:
        await news.execute("DROP OWNED BY small; DROP ROLE small")


async def test_it_is_bounded(news: Database):
    with pytest.raises(UsageError, match="steps"):
        await bench(target(news), BenchOptions(seconds=100.0))
    with pytest.raises(UsageError, match="measures this process"):
        await bench(target(news), BenchOptions(concurrency=(100_000,)))


async def test_a_statement_that_the_server_refuses_ends_it(news: Database):
    with pytest.raises(StatementFailed, match="nothing_there"):
        await bench(target(news), BenchOptions(statements=("SELECT nothing_there",), **QUICK))
    assert await ours(news) == 0


async def test_a_pooler_in_front_is_not_measured(news: Database):
    async with bouncer(news.cluster.port) as port:
        behind = pg.parse(f"postgresql://postgres@127.0.0.1:{port}/{news.name}")
        with pytest.raises(NotSupported, match="pooler"):
            await bench(behind, BenchOptions(**QUICK))


async def test_parameters_without_values_are_said(news: Database):
    statements = ("SELECT title FROM article WHERE id = $1",)
    with pytest.raises(UsageError, match="expects 1 argument"):
        await bench(target(news), BenchOptions(statements=statements, **QUICK))


async def test_no_table_is_said(db: Database):
    with pytest.raises(UsageError, match="no table"):
        await bench(target(db), BenchOptions(**QUICK))


async def test_ctrl_c_closes_every_connection(news: Database):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "filban", "pool", "bench", news.dsn,
        "--seconds", "60", "--rounds", "1", "--sizes", "4",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while await ours(news) < 4:
        assert process.returncode is None
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 3, err
    while await ours(news):
        await asyncio.sleep(0.05)


# advise


async def test_leases_that_run_no_statement(news: Database, tmp_path: Path):
    registry = CollectorRegistry()
    async with create_pool(news.dsn, min_size=2, max_size=2, name="web") as pool:
        prometheus.register(pool, registry=registry)
        http, _ = start_http_server(0, "127.0.0.1", registry)
        running = True

        async def request() -> None:
            while running:
                async with pool.acquire() as con:
                    await con.fetchval("SELECT 1")
                    await asyncio.sleep(0.05)  # an HTTP call, say

        tasks = [asyncio.create_task(request()) for _ in range(60)]
        try:
            report = await advise(
                target(news),
                AdviseOptions(
                    metrics=(f"http://127.0.0.1:{http.server_port}/metrics",),
                    services=(Planned("web", 2),),
                    seconds=1.0,
                ),
                thresholds=FEW,
            )
        finally:
            running = False
            await asyncio.gather(*tasks)
            http.shutdown()
            http.server_close()
    assert [f.code for f in report.findings] == ["pool.held_too_long"]
    (told,) = report.facts["pools"]
    assert 1 < told["mean_in_use"] < 3  # of 2


async def test_statements_that_fill_the_pool(news: Database):
    registry = CollectorRegistry()
    async with create_pool(news.dsn, min_size=2, max_size=2, name="web") as pool:
        prometheus.register(pool, registry=registry)
        http, _ = start_http_server(0, "127.0.0.1", registry)
        running = True

        async def request() -> None:
            while running:
                await pool.fetchval("SELECT pg_sleep(0.05)")

        tasks = [asyncio.create_task(request()) for _ in range(60)]
        url = f"http://127.0.0.1:{http.server_port}/metrics"
        try:
            small = await advise(target(news), AdviseOptions((url,), seconds=1.0), thresholds=FEW)
            full = await advise(
                target(news), AdviseOptions((url,), seconds=1.0, cores=1), thresholds=FEW
            )
        finally:
            running = False
            await asyncio.gather(*tasks)
            http.shutdown()
            http.server_close()
    assert [f.code for f in small.findings] == ["pool.too_small"]
    # 2 statements a core: two always run, but for the looks that fall between two of them
    assert full.findings[0].code in {"pool.server_saturated", "pool.too_small"}


async def test_a_file_of_stats_and_a_measured_capacity(news: Database, tmp_path: Path):
    measured = await bench(target(news), BenchOptions(**QUICK, rates=()))
    bench_file, stats_file = tmp_path / "bench.json", tmp_path / "stats.json"
    bench_file.write_text(json.dumps(measured.as_json()), encoding="utf-8")
    async with create_pool(news.dsn, min_size=1, max_size=1, name="web") as pool:
        await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.02)") for _ in range(20)))
        stats_file.write_text(json.dumps(dataclasses.asdict(pool.stats())), encoding="utf-8")
    options = AdviseOptions(metrics=(str(stats_file),), seconds=0.1, bench=bench_file)
    report = await advise(target(news), options, thresholds=FEW)
    assert report.facts["capacity"] == measured.choice.size
    assert report.facts["capacity_measured"] is True
    (told,) = report.facts["pools"]
    assert (told["name"], told["leases"], told["mean_in_use"]) == ("web", 20, None)
    assert [f.code for f in report.findings] == ["pool.too_small"]
    with pytest.raises(UsageError, match="recommended_size"):
        await advise(target(news), dataclasses.replace(options, bench=stats_file))


async def test_more_than_the_server_takes(news: Database):
    report = await advise(target(news), AdviseOptions(services=(planned("web=30x4"),)))
    (found,) = report.findings
    assert found.code == "pool.over_max_connections"
    assert found.evidence["max_connections"].value == 100


async def test_what_this_role_may_not_see_is_said(news: Database):
    async with news.connection():
        options = AdviseOptions(services=(planned("web=2"),))
        report = await advise(pg.parse(news.dsn_as("plain")), options)
    assert report.facts["not_visible"][0]["remedy"] == "grant pg_monitor"


def test_the_command_line(pg, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    dsn = pg.dsn("postgres")
    query = tmp_path / "q.sql"
    query.write_text("SELECT 1; SELECT 2;", encoding="utf-8")
    page = tmp_path / "pool.html"
    arguments = ["--sql", str(query), "--sizes", "1,2", "--concurrency", "4", "--seconds", "0.1"]
    code = run(["pool", "bench", dsn, *arguments, "--rounds", "1", "--json", "--html", str(page)])
    document = json.loads(capsys.readouterr().out)
    assert code in (0, 1)  # whether the latency is good depends on the machine
    assert document["recommended_size"] in (1, 2)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run(["pool", "advise", dsn, "--service", "web=5x2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    assert run(["pool", "advise", dsn]) == 2
    assert run(["pool", "bench", dsn, "--sizes", "a"]) == 2
