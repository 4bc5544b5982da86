"""verify, timeline, drill and restore as a person calls them, on a repository that nobody's engine
has filled: pg_basebackup and an archive_command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from shelves import World, world

from conftest import elsewhere
from filban.cluster import Cluster


@pytest.fixture(scope="module")
def here(majors):
    async def make(here: World) -> World:
        await here.execute("CREATE TABLE public.t AS SELECT g AS n FROM generate_series(1, 100) g")
        await here.backup("B1", "--compress=gzip:1")
        await here.execute("INSERT INTO public.t VALUES (101)", "DROP TABLE public.t")
        await here.execute("CREATE TABLE public.now AS SELECT 1 AS n")
        await here.backup("B2", "--compress=server-lz4")
        await here.archived()
        return here

    with elsewhere() as run:
        manager = world(majors[15], timezone="UTC", log_timezone="UTC")
        started = run(manager.__aenter__())
        try:
            yield run(make(started))
        finally:
            run(manager.__aexit__(None, None, None))


def filban(*arguments: str | Path, status: int = 0) -> tuple[dict[str, Any], str]:
    """Run it; its JSON document and its standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "filban", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout) if "--json" in arguments else {"text": done.stdout}, done.stderr


def test_verify_says_good_and_ends_with_0(here: World):
    found, _ = filban("backup", "verify", here.dsn, "--repo", here.shelf.root, "--json")
    assert found["facts"]["good"] is True
    assert found["findings"] == []
    assert [b["backup"] for b in found["facts"]["backups"]] == ["B1", "B2"]
    assert found["facts"]["archive_behind_bytes"] is not None


def test_verify_names_a_fault_and_ends_with_1(here: World, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(here.shelf.root, copy)
    victim = sorted(p for p in (copy / "wal").iterdir() if len(p.name) == 24)[-2]
    victim.unlink()
    found, _ = filban("backup", "verify", "--repo", copy, "--json", status=1)
    assert victim.name in {f["subject"] for f in found["findings"]}
    text, _ = filban("backup", "verify", "--repo", copy, status=1)
    assert victim.name in text["text"]


def test_verify_knows_whose_backups_they_are(here: World, pg: Cluster):
    found, _ = filban("backup", "verify", pg.dsn(), "--repo", here.shelf.root, "--json", status=1)
    assert {f["code"] for f in found["findings"]} == {"backup.foreign"}


def test_a_drill_is_remembered(here: World):
    before, _ = filban("backup", "timeline", "--repo", here.shelf.root, "--json", status=1)
    assert [f["code"] for f in before["findings"]] == ["drill.stale"]
    found, _ = filban("backup", "drill", here.dsn, "--repo", here.shelf.root, "--full", "--json")
    assert found["facts"]["passed"] is True
    assert found["facts"]["rpo_seconds"] >= 0
    assert found["facts"]["tables_compared"] == 1
    after, _ = filban("backup", "timeline", "--repo", here.shelf.root, "--json")
    assert after["facts"]["last_passed_drill"]
    drawn, _ = filban("backup", "timeline", "--repo", here.shelf.root)
    assert "timeline 1" in drawn["text"]
    assert "█" in drawn["text"]
    (here.shelf.root / "drills.jsonl").unlink()


def test_a_look_before_a_restore(here: World):
    found, _ = filban("restore", "--repo", here.shelf.root, "--to-latest", "--dry-run", "--json")
    assert found["backup"] == "B2"
    _, told = filban(
        "restore", "--repo", here.shelf.root, "--to", "2001-01-01 00:00Z", "--dry-run", status=2
    )
    assert "cannot be reached" in told
    assert "what can be reached" in told
    _, told = filban("restore", "--repo", here.shelf.root, "--to", "2026-01-01 00:00", status=2)
    assert "no time zone" in told


def test_before_a_drop_into_a_new_cluster(here: World):
    into = here.shelf.root.parent / "before_drop"
    found, told = filban(
        "restore", "--repo", here.shelf.root, "--backup", "B1", "--before-drop", "public.t",
        "-D", into, "--json",
    )  # fmt: skip
    assert "public.t was dropped by transaction" in told
    assert found["commits_lost"] >= 1
    cluster = Cluster.open(into)
    assert not cluster.status().running
    assert "archive_mode = 'off'" in (into / "postgresql.auto.conf").read_text()


def test_one_table_into_the_live_database(here: World):
    found, _ = filban(
        "restore", "--repo", here.shelf.root, "--backup", "B1", "--before-drop", "public.t",
        "--table", "public.t", "--into", here.dsn, "--json",
    )  # fmt: skip
    assert found["rows"] == 101


def test_no_repository_is_a_sentence(tmp_path: Path):
    _, told = filban("backup", "verify", "--repo", tmp_path / "nowhere", status=2)
    assert "there is no repository" in told
    _, told = filban("backup", "verify", "--repo", tmp_path, status=2)
    assert "no directory with WAL segments" in told


def test_a_restore_tells_what_it_does_and_has_done(here: World):
    into = here.shelf.root.parent / "told"
    done, told = filban("restore", "--repo", here.shelf.root, "-D", into)
    assert "will be lost  nothing" in told
    assert "takes about" in told
    assert f"restored to {into}" in done["text"]
    assert "archiving is off" in done["text"]
    _, told = filban("restore", "--repo", here.shelf.root, "-D", into, status=2)
    assert "is not empty" in told
