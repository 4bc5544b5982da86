"""The whole loop on a real server: counted statements, advice, proof, plan, apply, revert."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from filban.flows.advise import AdviseOptions, advise
from filban.flows.advise.sources import with_values
from filban.flows.progress import Silent
from filban.flows.prove import Limits
from filban.index.apply import read
from filban.pg import parse

BY_SITE = "SELECT id, title FROM articles WHERE site = $1 ORDER BY published DESC LIMIT 20"
BY_ID = "SELECT * FROM articles WHERE id = $1"
PUBLISH = "INSERT INTO articles (site, title, published) VALUES ($1, 'new', now())"
READ = "UPDATE articles SET reads = reads + 1 WHERE id = $1"


@pytest.fixture
async def news(db):
    """Articles of 400 sites, and counted traffic on them."""
    await db.execute(
        "CREATE EXTENSION pg_stat_statements;"
        "CREATE TABLE articles (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " site int NOT NULL, title text NOT NULL, published timestamptz NOT NULL,"
        " reads int NOT NULL DEFAULT 0)"
        " WITH (fillfactor = 80);"
        "INSERT INTO articles (site, title, published) SELECT i % 400, 'title ' || i,"
        " '2026-01-01'::timestamptz + i * interval '1 minute' FROM generate_series(1, 40000) i"
    )
    await db.execute("VACUUM ANALYZE articles")
    async with db.connection() as connection:
        for n in range(30):
            await connection.fetch(BY_SITE, n)
            await connection.fetch(BY_ID, n + 1)
            await connection.execute(READ, n + 1)
        await connection.execute(PUBLISH, 7)
    return db


async def filban(*arguments: str) -> tuple[int, dict[str, Any], str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "filban", *arguments, "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(said), errors.decode()


async def indexes(db) -> set[str]:
    rows = await db.fetch(
        "SELECT indexrelid::regclass::text AS name FROM pg_index"
        " WHERE indrelid = 'articles'::regclass"
    )
    return {row["name"] for row in rows}


async def test_from_the_statements_to_an_index_and_back(news, tmp_path: Path):
    before = await indexes(news)
    path = tmp_path / "plan.json"
    status, report, said = await filban(
        "advise", news.dsn, "--prove", "--budget", "50MB", "--out", str(path)
    )
    assert status == 0, said
    advised = [f for f in report["findings"] if f["code"] == "index.advised"]
    assert advised, report
    assert all(f["subject"].startswith("public.articles (site") for f in advised)
    assert all(f["evidence"]["after_to_before"]["value"] < 0.8 for f in advised)
    proof = report["facts"]["proof"]
    assert proof["after_to_before_ratio"] < 0.8
    assert any("Seq Scan" in s["plan_before"] for s in proof["statements_compared"])
    assert {"UPDATE", "INSERT"} >= {w["statement"][:6] for w in proof["writes_compared"]}
    assert proof["writes_compared"]
    assert await indexes(news) == before  # nothing but EXPLAIN on the server
    plan = read(path)
    assert len(plan.steps) == len(advised)
    [watched] = [w for w in plan.watched if w.sql.startswith(BY_SITE[:40])]
    assert watched.forecast_ms < watched.before_ms
    status, report, said = await filban("apply", str(path), news.dsn, "--yes")
    assert status == 0, said
    assert await indexes(news) == before | {step.name for step in plan.steps}
    status, report, said = await filban("revert", str(path), news.dsn, "--yes")
    assert status == 0, said
    assert await indexes(news) == before


async def test_without_a_proof_it_is_no_advice(news, tmp_path: Path):
    advice = await advise(parse(news.dsn), AdviseOptions(), Silent())
    codes = {f.code for f in advice.report.findings}
    assert "index.candidate" in codes
    assert "index.advised" not in codes
    assert advice.plan.steps
    assert not advice.plan.watched
    assert not advice.plan.proof


async def test_why_not(news):
    """An idea that an existing index answers is refused; a good one is proven."""
    known = AdviseOptions(why_not="CREATE INDEX ON articles (id)")
    found = await advise(parse(news.dsn), known, Silent())
    assert [f.code for f in found.report.findings] == ["index.why_not"]
    assert not found.plan.steps
    quick = Limits(least_pairs=2, most_pairs=3, cold_statements=0)
    good = AdviseOptions(
        prove=True, why_not="CREATE INDEX ON articles (site, published)", limits=quick
    )
    found = await advise(parse(news.dsn), good, Silent())
    assert [f.code for f in found.report.findings] == ["index.advised"]


async def test_files_instead_of_counters(db, tmp_path: Path):
    await db.execute("CREATE TABLE t (id int PRIMARY KEY, a int)")
    await db.execute("INSERT INTO t SELECT i, i FROM generate_series(1, 20000) i")
    await db.execute("VACUUM ANALYZE t")
    file = tmp_path / "work.sql"
    file.write_text("SELECT * FROM t WHERE a = 7;\nSELECT nonsense FROM;")
    status, document, _ = await filban("advise", db.dsn, "--file", str(file))
    assert status == 2
    assert "work.sql" in document["error"]["message"]
    file.write_text("SELECT * FROM t WHERE a = 7;\nSELECT * FROM nowhere WHERE a = 1;")
    status, document, said = await filban("advise", db.dsn, "--file", str(file), "--no-counters")
    assert status == 0, said
    assert [f["subject"] for f in document["findings"]] == ["public.t (a)"]
    assert len(document["facts"]["workload"]["unread"]) == 1


async def test_no_statements_at_all(db):
    status, document, _ = await filban("advise", db.dsn)
    assert status == 2
    assert "pg_stat_statements" in document["error"]["message"]


@pytest.mark.parametrize(
    ("text", "parameters", "expected"),
    [
        ("SELECT $1, 'a$1'", "$1 = '7'", "SELECT '7', 'a$1'"),
        (
            "SELECT 'فارسی', $2 WHERE a = $1 AND b = $10",
            "$1 = 'it''s', $2 = NULL, $10 = 'x, $1 = y'",
            "SELECT 'فارسی', NULL WHERE a = 'it''s' AND b = 'x, $1 = y'",
        ),
        ("SELECT $1", "", None),
        ("SELECT FROM WHERE", "$1 = '1'", None),
        ("SELECT 1", "", "SELECT 1"),
    ],
)
def test_the_logs_values_are_put_in(text: str, parameters: str, expected: str | None):
    assert with_values(text, parameters) == expected
