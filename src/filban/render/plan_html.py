"""A plan as one self-contained page: nested boxes, as wide as their time, no script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from filban import __version__
from filban.finding import Finding
from filban.profile.plans import Plan, misjudged
from filban.render.html import environment, write_page
from filban.render.plan_words import (
    details,
    headline,
    milliseconds,
    nothing_found,
    rows_text,
)
from filban.units import number


def page(plan: Plan, findings: Sequence[Finding]) -> str:
    """The whole document as text."""
    return (
        environment()
        .get_template("plan.html")
        .render(
            plan=plan,
            findings=findings,
            headline=headline(plan),
            details=details,
            ms=milliseconds,
            number=number,
            rows_text=rows_text,
            misjudged=misjudged,
            nothing=nothing_found(plan),
            version=__version__,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def write(plan: Plan, findings: Sequence[Finding], file: Path) -> None:
    """Write the page. Raises UsageError (no such folder, no right) or DiskFull."""
    write_page(page(plan, findings), file)
