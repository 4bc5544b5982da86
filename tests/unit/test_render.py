"""A report on the terminal, as JSON and as HTML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from filban.errors import UsageError
from filban.finding import Finding, Fix, Ignore, Quantity, Report, Severity, in_order
from filban.render import document, html, terminal
from filban.render.json import dumps
from filban.render.quantity import quantity

GOLDEN = Path(__file__).parent.parent / "golden"


def finding(
    code: str = "index.duplicate", severity: Severity = Severity.warning, subject: str = "public.a"
) -> Finding:
    return Finding(
        code=code,
        severity=severity,
        subject=subject,
        title="twice the same index",
        why="Each write pays for both.\nReads use one.",
        evidence={"size": Quantity(1536 * 1024, "bytes"), "scans": Quantity(0, "count")},
        fix=Fix(
            sql='DROP INDEX CONCURRENTLY public."a very long name that must stay on one line '
            'however narrow the terminal of the reader may be, because it is to be pasted";',
            lock="SHARE UPDATE EXCLUSIVE on public.t",
            caution="look at the standbys first",
        ),
    )


REPORT = Report(
    title='primary "news", PostgreSQL 15.18',
    findings=in_order(
        [finding(), finding("archive.failing", Severity.critical, "archiver"),
         finding("checksums.off", Severity.info, "cluster")]
    ),
    facts={
        "version": "15.18",
        "standby": {"lag_bytes": 4096, "lag_seconds": 0.0123, "in_sync": True},
        "slowest": [
            {"query": "SELECT <b> 1", "mean_ms": 12.5, "calls": 3},
            {"query": "x", "calls": 1},
        ],
        "not_visible": [{"what": "other sessions' queries", "remedy": "grant pg_monitor"}],
        "ignored": [],
        "checks": 3,
        "seconds": 0.25,
    },
)  # fmt: skip


def on_terminal(report: Report, **kwargs: bool) -> str:
    console = Console(width=80, record=True, file=open("/dev/null", "w"), force_terminal=False)  # noqa: SIM115
    terminal.print_report(console, report, **kwargs)
    return console.export_text()


def test_golden_terminal():
    assert on_terminal(REPORT, facts=True) == (GOLDEN / "report.txt").read_text()


def test_golden_json():
    assert dumps(REPORT) + "\n" == (GOLDEN / "report.json").read_text()
    document = json.loads(dumps(REPORT))
    assert {"findings", "facts"} <= set(document)
    assert set(document["findings"][0]) >= {
        "code", "severity", "subject", "title", "why", "evidence", "fix", "docs",
    }  # fmt: skip


def test_the_worst_comes_first():
    assert [f.severity for f in REPORT.findings] == sorted(Severity, reverse=True)


def test_sql_to_paste_stays_on_one_line():
    lines = [line for line in on_terminal(REPORT).splitlines() if "DROP INDEX" in line]
    assert all(line.endswith('to be pasted";') for line in lines)
    assert len(lines) == 3


def test_many_of_a_kind_do_not_bury_the_rest():
    many = Report("t", in_order(finding(subject=f"public.i{n:03}") for n in range(100)))
    text = on_terminal(many)
    assert text.count("DROP INDEX") == document.MANY
    assert "and 95 more index.duplicate" in text
    assert on_terminal(many, everything=True).count("DROP INDEX") == 100


def test_a_hostile_name_drives_neither_the_terminal_nor_the_page():
    evil = Report("t", (finding(subject="\x1b[2J[red]x[/red]<script>alert(1)</script>\u202e"),))
    text = on_terminal(evil)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]x[/red]" in text
    page = html.page(evil)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_loads_nothing():
    page = html.page(REPORT)
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page
    assert "SELECT &lt;b&gt; 1" in page


def test_a_page_that_cannot_be_written(tmp_path):
    with pytest.raises(UsageError, match="cannot write"):
        html.write(REPORT, tmp_path / "no" / "such" / "folder.html")
    for file in (tmp_path / "no" / "such" / "folder.html", tmp_path):
        with pytest.raises(UsageError, match="cannot write"):
            html.require_writable(file)
    html.require_writable(tmp_path / "new.html")
    assert not (tmp_path / "new.html").exists()


def test_what_is_hidden_is_not_called_fine():
    assert document.summary(Report("x", ())) == "Nothing to report."
    hidden = {"not_visible": [{"what": "sessions", "remedy": ""}]}
    assert "what this role may see" in document.summary(Report("x", (), hidden))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "bytes", "0 B"), (1023, "bytes", "1023 B"), (1024, "bytes", "1.0 kB"),
        (5 * 1024**3, "bytes", "5.0 GB"), (-2048, "bytes", "-2.0 kB"),
        (0.0000021, "seconds", "2 µs"), (0.0042, "seconds", "4.2 ms"), (12, "ms", "12 ms"),
        (59.94, "seconds", "59.9 s"), (185, "seconds", "3 min 5 s"), (7200, "seconds", "2 h"),
        (187200, "seconds", "2 d 4 h"), (97.256, "percent", "97.3 %"), (0.5, "ratio", "50 %"),
        (2100000000, "xids", "2,100,000,000 xids"), (True, "", "yes"), ("x", "", "x"),
    ],
)  # fmt: skip
def test_quantities(value, unit, text):
    assert quantity(Quantity(value, unit)) == text


def test_ignore_by_code_and_by_subject():
    one = finding(subject="public.odd:name")
    assert Ignore.parse("index.duplicate").matches(one)
    assert Ignore.parse("index.duplicate:public.odd:name").matches(one)
    assert not Ignore.parse("index.duplicate:public.other").matches(one)
    assert not Ignore.parse("index.unused").matches(one)


def test_a_fingerprint_is_code_and_subject_only():
    assert finding().fingerprint == finding(severity=Severity.critical).fingerprint
    assert finding().fingerprint != finding(subject="public.b").fingerprint
