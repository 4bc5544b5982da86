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
