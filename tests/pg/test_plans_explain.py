"""`filban explain` on a server, as a person calls it: what it prints, changes and refuses."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from planned import world_of

from conftest import Database
from filban.cli.app import run
from filban.cluster import Cluster
from filban.errors import RightsMissing
from filban.profile.plans import explain, judge

ORDERS = "SELECT * FROM orders WHERE amount = 5"


@pytest.fixture(scope="module")
def world(every_major: Cluster) -> Iterator[Database]:
    with world_of(every_major) as database:
        yield database


def ask(world: Database, sql: str) -> Any:
    return asyncio.run(world.fetchval(sql))


def test_an_estimate_with_the_server_at_hand(world: Database, capsys: Any) -> None:
    assert run(["explain", world.dsn, ORDERS]) == 0
    told = capsys.readouterr().out
    assert "nothing was executed" in told
    assert "CREATE INDEX CONCURRENTLY ON public.orders (amount);" in told
    assert run(["explain", world.dsn, ORDERS, "--fail-on", "info"]) == 1
    assert run(["explain", world.dsn, "--sql", ORDERS, "--fail-on", "critical"]) == 0
    capsys.readouterr()
    assert run(["explain", world.dsn, f"{ORDERS} LIMIT 1", "--json"]) == 0  # may stop early
    assert json.loads(capsys.readouterr().out)["findings"] == []


def test_what_is_executed_leaves_nothing_behind(world: Database, capsys: Any) -> None:
    for sql in (
        "DELETE FROM orders WHERE id < 5000",
        "WITH d AS (DELETE FROM orders RETURNING *) INSERT INTO parts SELECT id, '2024-01-02', 1 "
        "FROM d WHERE id < 10",
        "CREATE TABLE copied AS SELECT * FROM customers",
    ):
        assert run(["explain", world.dsn, sql, "--analyze", "--json"]) == 0
        streams = capsys.readouterr()
        assert json.loads(streams.out)["facts"]["analyzed"]
        assert "rolled back" in streams.err
    assert ask(world, "SELECT count(*) FROM orders") == 100_000
    assert ask(world, "SELECT count(*) FROM parts") == 3_000
    assert ask(world, "SELECT to_regclass('copied')") is None


def test_parameters_get_the_generic_plan(world: Database, capsys: Any) -> None:
    sql = "SELECT * FROM orders WHERE customer_id = $1 AND status = $2;"
    assert run(["explain", world.dsn, sql, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "$1" in json.dumps(document["nodes"])
    assert document["facts"]["query"] == sql
    assert run(["explain", world.dsn, sql]) == 0
    assert "generic plan" in capsys.readouterr().out
    assert run(["explain", world.dsn, sql, "--analyze"]) == 2
    assert "without values" in capsys.readouterr().err


def test_a_statement_that_takes_too_long(world: Database, capsys: Any) -> None:
    slow = ["explain", world.dsn, "SELECT pg_sleep(600)", "--analyze", "--timeout", "0.2"]
    assert run(slow) == 2
    assert "cancelled after 0.2 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["SELECT nothing_of_the_kind"], "does not exist"),
        (["SELECT 1; SELECT 2"], "2 statements"),
        ([""], "empty"),
        (["VACUUM"], "without a plan"),
        (["EXPLAIN SELECT 1"], "leave EXPLAIN out"),
        (["SELEC"], "syntax error"),
        (["SELECT pg_terminate_backend(1)", "--analyze"], "rollback does not undo"),
        (["SELECT 1", "--sql", "SELECT 1"], "twice"),
        ([], "cannot read"),
        (["--analyze"], "needs a statement"),
    ],
)
def test_what_is_refused(world: Database, capsys: Any, arguments: list[str], words: str) -> None:
    assert run(["explain", world.dsn, *arguments]) == 2
    streams = capsys.readouterr()
    assert words in streams.err
    assert streams.out == ""


def test_ctrl_c_ends_the_statement_on_the_server(world: Database) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "filban", "explain", world.dsn, "SELECT pg_sleep(600)", "--analyze"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    sleeping = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'filban' "
        "AND query LIKE 'EXPLAIN%'"
    )
    asyncio.run(_until(world, sleeping, 1))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 3
    asyncio.run(_until(world, sleeping, 0))


async def _until(world: Database, sql: str, wanted: int) -> None:
    async with asyncio.timeout(30):
        while await world.fetchval(sql) != wanted:
            await asyncio.sleep(0.02)


def test_the_page(world: Database, capsys: Any, tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    sql = "SELECT '<script>' FROM orders WHERE amount = 5"
    assert run(["explain", world.dsn, sql, "--html", str(page)]) == 0
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "plan.seq_scan_filter" in text


async def test_the_right_to_the_table_is_asked_for(world: Database) -> None:
    with pytest.raises(RightsMissing, match="permission denied") as raised:
        await explain(ORDERS, world.dsn_as("plain"))
    assert "same rights" in raised.value.hint


async def test_the_age_of_statistics(db: Database) -> None:
    """Never analysed; analysed; too much changed since: each named."""
    await db.execute("CREATE TABLE t (a int, b int) WITH (autovacuum_enabled = off)")
    await db.execute("INSERT INTO t SELECT i % 50, i % 50 FROM generate_series(1, 50000) i")
    assert "never analysed" in await _why(db, "SELECT * FROM t WHERE a - a = 0")
    # … and blamed for what the steps above it get wrong
    assert "public.t was never analysed" in await _why(
        db, "SELECT a % 2, b % 2 FROM t GROUP BY 1, 2"
    )
    await db.execute("ANALYZE t")
    await db.execute("UPDATE t SET b = 19 WHERE a < 40")
    assert "changed since its last ANALYZE" in await _why(db, "SELECT * FROM t WHERE b = 19")


async def test_statistics_that_are_there_already(db: Database) -> None:
    await db.execute("CREATE TABLE t (a int, b int) WITH (autovacuum_enabled = off)")
    await db.execute("INSERT INTO t SELECT i % 20, i % 20 FROM generate_series(1, 100000) i")
    await db.execute("ANALYZE t")
    sql = "SELECT * FROM t WHERE a = 4 AND b = 4"
    assert "taken for independent" in await _why(db, sql)
    await db.execute('CREATE STATISTICS "Both" ON a, b FROM t')  # not filled by an ANALYZE
    assert 'public."Both" is there' in await _why(db, sql)
    await db.execute("ANALYZE t")
    assert await _why(db, sql) == ""


async def test_a_cast_to_text_hides_a_number_and_not_a_text(db: Database) -> None:
    """EXPLAIN prints both alike; the index on a number is never advised for its text."""
    await db.execute("CREATE TABLE t (a int, b varchar) WITH (autovacuum_enabled = off)")
    await db.execute("INSERT INTO t SELECT i, i FROM generate_series(1, 50000) i; ANALYZE t")
    sql = "SELECT * FROM t WHERE {}::text = '5'"
    (number,) = judge(*await explain(sql.format("a"), db.dsn, analyze=True))
    assert number.code == "plan.hidden_column"
    assert "a cast to text around a" in number.title
    (text,) = judge(*await explain(sql.format("b"), db.dsn, analyze=True))
    assert text.code == "plan.seq_scan_filter"
    assert text.fix is not None
    assert text.fix.sql == "CREATE INDEX CONCURRENTLY ON public.t (b);"


async def _why(db: Database, sql: str) -> str:
    """The misestimate's cause. What a session did reaches the counters when it has ended."""
    async with asyncio.timeout(30):
        while True:
            found = judge(*await explain(sql, db.dsn, analyze=True))
            why = next((f.why for f in found if f.code == "plan.misestimate"), "")
            settled = await db.fetchval(
                "SELECT n_live_tup > 0 FROM pg_stat_all_tables WHERE relname = 't'"
            )
            if settled and "do not describe" not in why:
                return why
            await asyncio.sleep(0.05)
