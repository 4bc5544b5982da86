"""A report as one self-contained HTML file: no script, nothing loaded from anywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from filban import __version__
from filban.errors import DiskFull, UsageError
from filban.finding import Report
from filban.render.document import groups, sections, summary
from filban.render.quantity import evidence


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("filban.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["evidence"] = evidence
    return environment


def page(report: Report) -> str:
    """The whole document as text."""
    aside = {"not_visible", "ignored", "codes"}
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            groups=groups(report, everything=True),
            sections=sections({k: v for k, v in report.facts.items() if k not in aside}),
            hidden=report.facts.get("not_visible") or [],
            ignored=report.facts.get("ignored") or [],
            summary=summary(report),
            version=__version__,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def write(report: Report, file: Path) -> None:
    """Write the page. Raises UsageError (no such folder, no right) or DiskFull."""
    try:
        file.write_text(page(report), encoding="utf-8")
    except OSError as error:
        if error.errno == 28:  # ENOSPC
            raise DiskFull(f"no room to write {file}", hint="free some space there") from error
        raise UsageError(
            f"cannot write {file}: {error.strerror}", hint="name a file in a folder you may write"
        ) from error
