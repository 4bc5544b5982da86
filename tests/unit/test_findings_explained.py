"""Every code has its page, every threshold its place there and a name of its own."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from filban.backup.verify.faults import CODES as FAULTS
from filban.flows.check import CHECKS, threshold_names

DOCS = Path(__file__).parents[2] / "docs" / "findings"
CODES = sorted(
    {code for check in CHECKS for code in check.codes} | {*FAULTS, "drill.failed", "drill.stale"}
)


@pytest.mark.parametrize("code", CODES)
def test_a_page_for_each_code(code: str):
    text = (DOCS / f"{code}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {code}\n")
    for part in ("Severity", "What", "Why", "Evidence", "Fix", "Risk"):
        assert f"**{part}.**" in text, part


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_threshold_is_named_in_the_page_of_its_code(check):
    pages = "".join((DOCS / f"{code}.md").read_text(encoding="utf-8") for code in check.codes)
    for field in dataclasses.fields(check.thresholds):
        assert f"`{field.name}`" in pages, field.name


def test_a_threshold_belongs_to_one_class():
    """filban.toml sets thresholds by name: a name in two classes would set both. Two checks may
    share a class, as those of a primary and of a standby do."""
    classes = {check.thresholds for check in CHECKS}
    names = [field.name for one in classes for field in dataclasses.fields(one)]
    assert sorted(names) == sorted(threshold_names())


def test_the_docs_are_whole():
    """A page for each code of any command, no page without one, no dead link."""
    script = DOCS.parents[1] / "scripts" / "check_docs.py"
    checked = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_check_has_a_name_of_its_own():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
