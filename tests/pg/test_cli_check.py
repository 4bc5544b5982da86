"""`filban check` as a person or a cron job runs it: exit codes, streams, one clear sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from filban import pg


def filban(*arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None):
    return subprocess.run(
        [sys.executable, "-m", "filban", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"COLUMNS": "100"} | (env or {}),
        cwd=cwd,
    )


# The clusters of the tests run without fsync, which check rightly calls critical.
UNSAFE = ("--ignore", "setting.fsync_off")


async def with_duplicate(db) -> None:
    await db.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a int); CREATE INDEX one ON t (a);"
        "CREATE INDEX two ON t (a); INSERT INTO t SELECT g, g FROM generate_series(1, 1000) g;"
        "ANALYZE t"
    )


async def test_a_finding_in_words_and_in_json(db):
    await with_duplicate(db)
    words = filban("check", db.dsn, *UNSAFE)
    assert words.returncode == 0  # a warning, and --fail-on is critical
    assert "index.duplicate" in words.stdout
    assert "DROP INDEX CONCURRENTLY" in words.stdout
    run = filban("check", db.dsn, "--json")
    document = json.loads(run.stdout)
    assert run.stderr == ""
    duplicate = next(f for f in document["findings"] if f["code"] == "index.duplicate")
    assert duplicate["fix"]["sql"].startswith("DROP INDEX CONCURRENTLY")
    assert document["facts"]["version"]
    assert filban("check", db.dsn, "--fail-on", "warning").returncode == 1
    assert filban("check", db.dsn, "--fail-on", "never").returncode == 0


async def test_ignoring_by_code_and_subject(db):
    await with_duplicate(db)
    found = json.loads(filban("check", db.dsn, "--json").stdout)["findings"]
    subject = next(f["subject"] for f in found if f["code"] == "index.duplicate")
    for rule in ("index.duplicate", f"index.duplicate:{subject}"):
        document = json.loads(filban("check", db.dsn, "--json", "--ignore", rule).stdout)
        assert "index.duplicate" not in {f["code"] for f in document["findings"]}
        assert document["facts"]["ignored"] == [f"index.duplicate:{subject}"]
    other = filban("check", db.dsn, "--json", "--ignore", "index.duplicate:public.other")
    assert "index.duplicate" in other.stdout
    misspelt = filban("check", db.dsn, "--ignore", "index.duplicat")
    assert misspelt.returncode == 2
    assert 'no finding "index.duplicat"' in misspelt.stderr


async def test_html_and_the_dsn_from_a_file_and_the_environment(db, tmp_path):
    (tmp_path / "filban.toml").write_text(
        f'[servers]\nnews = "{db.dsn}"\n[check]\nfail_on = "never"\n', encoding="utf-8"
    )
    run = filban("check", "news", "--html", "page.html", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "wrote page.html" in run.stderr
    target = pg.parse(db.dsn)
    by_env = filban("check", "--json", env=target.libpq_env(), cwd=tmp_path)
    assert json.loads(by_env.stdout)["facts"]["database"] == db.name
    by_option = filban("check", "--dsn", db.dsn, "--json")
    assert json.loads(by_option.stdout)["facts"]["database"] == db.name


async def test_thresholds_come_from_the_file(db, tmp_path):
    (tmp_path / "filban.toml").write_text("[check.thresholds]\nno_such_thing = 1\n")
    run = filban("check", db.dsn, cwd=tmp_path)
    assert run.returncode == 2
    assert 'no threshold "no_such_thing"' in run.stderr


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        ("postgresql://u@127.0.0.1:1/d", "nobody listens there"),
        ("host=127.0.0.1 prot=1", '"prot" is not a connection option'),
        ("mysql://h/d", "is not PostgreSQL"),
        ("service=no_such_service", "is not defined"),
    ],
)
def test_what_cannot_be_reached_is_one_sentence_and_exit_code_2(dsn, says):
    run = filban("check", dsn)
    assert run.returncode == 2
    assert says in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    as_json = filban("check", dsn, "--json")
    assert as_json.returncode == 2
    error = json.loads(as_json.stdout)["error"]
    assert error["exit_code"] == 2
    assert error["hint"]


async def test_output_that_goes_nowhere(db):
    """A reader that leaves keeps the verdict; a full disk is a sentence and exit code 2."""
    await with_duplicate(db)
    command = [sys.executable, "-m", "filban", "check", db.dsn, *UNSAFE, "--fail-on=warning"]
    for extra in ([], ["--json"]):
        reads, writes = os.pipe()
        os.close(reads)
        gone = subprocess.run([*command, *extra], stdout=writes, stderr=subprocess.PIPE, timeout=60)
        os.close(writes)
        assert (gone.returncode, gone.stderr) == (1, b"")
        with open("/dev/full", "w") as full:
            run = subprocess.run(
                [*command, *extra], stdout=full, stderr=subprocess.PIPE, timeout=60
            )
        assert run.returncode == 2
        assert b"No space left" in run.stderr
        assert b"Traceback" not in run.stderr


async def test_a_terminal_that_knows_ascii_only(odd_db):
    await with_duplicate(odd_db)
    run = filban("check", odd_db.dsn, env={"PYTHONIOENCODING": "ascii"})
    assert "Traceback" not in run.stderr
    assert "\\u0641" in run.stdout  # the first letter of its name


def test_a_misspelt_code_in_the_file_is_named_before_connecting(tmp_path):
    (tmp_path / "filban.toml").write_text('[check]\nignore = ["index.duplicat"]\n')
    run = filban("check", "postgresql://127.0.0.1:1/x", cwd=tmp_path)
    assert run.returncode == 2
    assert "index.duplicat" in run.stderr
    assert 'did you mean "index.duplicate"?' in run.stderr


def test_ctrl_c_while_it_is_still_loading():
    """An import is interrupted: a sentence and exit code 3, no traceback."""
    script = (
        "import sys, filban.cli\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "filban.cli.main()"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (3, "filban: interrupted\n")


async def test_a_page_that_cannot_be_written_is_said_first(db, tmp_path):
    run = filban(
        "check", "postgresql://127.0.0.1:1/x", "--html", str(tmp_path / "no" / "page.html")
    )
    assert run.returncode == 2
    assert "cannot write" in run.stderr


def test_usage_errors_are_exit_code_2_and_help_has_an_example():
    assert filban("check", "--no-such-option").returncode == 2
    assert filban("nonsense").returncode == 2
    assert filban("check", "x", "--fail-on", "sometimes").returncode == 2
    run = filban("check", "--help")
    assert run.returncode == 0
    assert "filban check postgresql://" in run.stdout
    assert filban("--version").stdout.startswith("filban ")


async def test_a_plain_role_is_told_what_it_cannot_see(db, plain_dsn):
    async with db.connection():  # somebody else's session
        run = filban("check", plain_dsn, *UNSAFE)
    assert run.returncode == 0
    assert "Not visible to this role" in run.stdout
    assert "pg_monitor" in run.stdout


async def test_an_odd_database_name_and_a_standby(odd_db, primary_standby):
    document = json.loads(filban("check", odd_db.dsn, "--json").stdout)
    assert document["facts"]["database"] == odd_db.name
    standby = json.loads(filban("check", primary_standby.standby.dsn("postgres"), "--json").stdout)
    assert standby["facts"]["role"] == "standby"


async def test_every_major(every_db):
    run = filban("check", every_db.dsn, "--json", "--fail-on", "never")
    assert run.returncode == 0, run.stderr
    hidden = json.loads(run.stdout)["facts"]["not_visible"]
    assert hidden == []
