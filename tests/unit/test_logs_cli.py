"""`filban logs` as a person calls it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from test_logs_formats import AT
from test_logs_fuzz import STDERR

from filban.cli.app import run

EVIL = (
    f"{AT} [8] <b>@news LOG:  duration: 9.000 ms  "
    "statement: SELECT '<script>alert(1)</script>\x1b[2J'\n"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "server.log"
    file.write_text(STDERR + EVIL + "half a li")
    return file


def test_json_is_one_document_with_stable_keys(log, capsys):
    assert run(["logs", str(log), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report) == [
        "files", "first", "last", "events", "unread", "levels", "per", "calls", "total_ms",
        "unattributed_calls", "unattributed_ms", "hours", "statements", "routes", "plans", "errors",
        "cancelled", "locks", "temp_files", "temp_file_count", "temp_file_bytes", "checkpoints",
        "autovacuum", "sessions", "server_events", "notes",
    ]  # fmt: skip
    assert set(report["statements"][0]) >= {
        "fingerprint", "query", "calls", "total_ms", "query_id", "mean_ms", "max_ms", "p95_ms",
        "hours", "examples",
    }  # fmt: skip
    assert report["files"][0]["prefix"] == "%m [%p] %q%u@%d "
    assert report["unread"] == 1
    assert report["files"][0]["samples"] == ["half a li"]
    assert report["first"] == "2026-11-23T09:41:00.123000"


def test_terminal_shows_every_section_and_no_control_characters(log, capsys):
    assert run(["logs", str(log)]) == 0
    out = capsys.readouterr().out
    for words in (
        "Statements by total time", "Errors and warnings", "Lock waits: 1", "Deadlocks: 1",
        "Temporary files: 1", "Slowest plans", "Checkpoints: 1", "Autovacuum", "The server",
        "1 unreadable", "half a li",
    ):  # fmt: skip
        assert words in out, words
    assert "\x1b" not in out


def test_the_page_loads_nothing_and_escapes_everything(log, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert run(["logs", str(log), "--html", str(page), "--json"]) == 0
    json.loads(capsys.readouterr().out)
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"(?:src|href)\s*=|url\(|https?:", text)
    assert "<svg" in text
    assert "<rect" in text
    for words in ("Deadlocks: 1", "Lock waits: 1", "Autovacuum", "Temporary files"):
        assert words in text


def test_filters_and_state(log, tmp_path, capsys):
    def calls(*options: str) -> int:
        assert run(["logs", str(log), "--json", *options]) == 0
        return int(json.loads(capsys.readouterr().out)["calls"])

    assert calls() == 3
    assert calls("--db", "nothing") == 0
    assert calls("--user", "<b>") == 1
    assert calls("--since", "2026-11-23 09:42") == 0
    assert calls("--until", "2026-11-24") == 3
    state = str(tmp_path / "state.json")
    assert calls("--state", state) == 3
    assert calls("--state", state) == 0


def test_nothing_to_read_is_usage(tmp_path, capsys):
    assert run(["logs", str(tmp_path / "nothing")]) == 2
    assert "there is no file" in capsys.readouterr().err
    file = tmp_path / "x.txt"
    file.write_text("hello\n")
    assert run(["logs", str(file), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "UsageError"
    assert run(["logs", str(file), "--prefix", "%z"]) == 2


def test_a_narrow_terminal_keeps_the_numbers(log, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["logs", str(log)]) == 0
    lines = capsys.readouterr().out.splitlines()
    heading = next(line for line in lines if "fingerprint" in line)
    assert heading.split()[:4] == ["total", "calls", "mean", "p95"]
    statement = lines[lines.index(heading) + 1]
    assert re.match(r" +[\d.]+ (?:µs|ms|s) +\d+ ", statement), statement
    failure = lines[lines.index(next(line for line in lines if "sqlstate" in line)) + 1]
    assert re.match(r" +\d+ +(?:ERROR|FATAL|PANIC|WARNING) ", failure), failure


def report_of(text: str, tmp_path: Path, capsys, *options: str):
    file = tmp_path / "more.log"
    file.write_text(text)
    assert run(["logs", str(file), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("between", ["", "plan"])
def test_temporary_files_of_the_extended_protocol_have_an_owner(between, tmp_path, capsys):
    """They go at the Sync: after the execution's line, and without a STATEMENT."""
    line = f"{AT[:17]}{{}}00 UTC [{{}}] app@news LOG:  {{}}\n"
    plan = "duration: 1.0 ms  plan:\n\tQuery Text: SELECT 1\n\tResult  (cost=0.00..0.01 rows=1)"
    temp = 'temporary file: path "base/pgsql_tmp/pgsql_tmp6.0", size 8192'
    text = line.format("00.1", 6, "duration: 1.1 ms  execute <unnamed>: SELECT 1")
    text += line.format("00.1", 6, plan) if between else ""
    text += line.format("00.1", 7, "duration: 2.0 ms  execute <unnamed>: SELECT now()")
    text += line.format("00.1", 6, temp) + line.format("59.9", 7, temp)
    files = {t["query"]: t["files"] for t in report_of(text, tmp_path, capsys)["temp_files"]}
    assert files == {"SELECT $1": 1, "(not in the log)": 1}


@pytest.mark.parametrize("since", [AT[:-4], AT[:-4].replace(" ", "T"), AT[:16]])
def test_since_takes_a_time_as_the_log_writes_it(since, log, tmp_path, capsys):
    assert report_of(log.read_text(), tmp_path, capsys, "--since", since)["events"] > 0
    after = since[:-3] + "999" if "." in since else "2026-11-23 09:42"
    assert report_of(log.read_text(), tmp_path, capsys, "--since", after)["calls"] == 0
