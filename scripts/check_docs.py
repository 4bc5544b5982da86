"""Hold the docs to the code: a page for each finding code, an index of them, no dead link."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from filban.flows.check import CHECKS
from filban.flows.demo import CODES
from filban.profile.bottlenecks import CODES as BOTTLENECK_CODES
from filban.profile.plans import CODES as PLAN_CODES
from filban.profile.statements.rules import CODES as STATEMENT_CODES
from filban.tune import pool_size

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def missing_pages() -> list[str]:
    checked = {code for check in CHECKS for code in check.codes}
    codes = {*CODES, *PLAN_CODES, *BOTTLENECK_CODES, *STATEMENT_CODES, *pool_size.CODES, *checked}
    pages = {p.stem for p in (ROOT / "docs/findings").glob("*.md")} - {"index"}
    return [f"docs/findings/{c}.md is missing" for c in sorted(codes - pages)] + [
        f"docs/findings/{c}.md explains a code that no check has" for c in sorted(pages - codes)
    ]


def dead_links() -> list[str]:
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("benchmarks/**/*.md")]
    return [
        f"{file.relative_to(ROOT)}: dead link {link}"
        for file in files
        for link in LINK.findall(file.read_text(encoding="utf-8"))
        if not (file.parent / link).exists()
    ]


def main() -> int:
    problems = missing_pages() + dead_links()
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(problems)} problems in the docs")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
