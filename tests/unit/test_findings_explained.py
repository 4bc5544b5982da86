"""Every code that these rooms may find has its page, and no threshold shares a name by accident."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from filban import health, persian, tune

CHECKS = (*health.CHECKS, *tune.CHECKS, *persian.CHECKS)
DOCS = Path(__file__).parents[2] / "docs" / "findings"


@pytest.mark.parametrize("code", [code for check in CHECKS for code in check.codes])
def test_a_page_for_each_code(code: str):
    text = (DOCS / f"{code}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {code}\n")
    for part in ("What", "Why", "Evidence", "Fix", "Risk"):
        assert f"**{part}.**" in text, part


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_threshold_is_named_in_the_page_of_its_code(check):
    pages = "".join((DOCS / f"{code}.md").read_text(encoding="utf-8") for code in check.codes)
    for field in dataclasses.fields(check.thresholds):
        assert f"`{field.name}`" in pages, field.name
