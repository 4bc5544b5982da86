"""Hold the docs to the code: a page for each finding code, an index of them, no dead link."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from filban.backup.verify.faults import CODES as FAULT_CODES
from filban.flows.advise.findings import CODES as ADVICE_CODES
from filban.flows.applying import CODES as APPLY_CODES
from filban.flows.check import CHECKS
from filban.flows.demo import CODES as DEMO_CODES
from filban.flows.drill.rows import CODES as DRILL_CODES
from filban.profile.bottlenecks import CODES as BOTTLENECK_CODES
from filban.profile.plans import CODES as PLAN_CODES
from filban.profile.statements.rules import CODES as STATEMENT_CODES
from filban.tune.pool_size import CODES as POOL_CODES

# What other commands than `check` say.
CODES = {
    *ADVICE_CODES, *APPLY_CODES, *BOTTLENECK_CODES, *DEMO_CODES, *DRILL_CODES, *FAULT_CODES,
    *PLAN_CODES, *POOL_CODES, *STATEMENT_CODES, "drill.stale",
}  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def missing_pages() -> list[str]:
    checked = {code for check in CHECKS for code in check.codes}
    codes = CODES | checked
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
