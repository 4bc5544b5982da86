"""A report as one self-contained HTML file: no script, nothing loaded from anywhere."""

from __future__ import annotations

import os
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
def environment() -> Environment:
    """Templates of this package; what is put in is escaped, what is missing is an error."""
    made = Environment(
        loader=PackageLoader("filban.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["evidence"] = evidence
    return made


def page(report: Report) -> str:
    """The whole document as text."""
    aside = {"not_visible", "ignored", "codes"}
    return (
        environment()
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


def require_writable(file: Path) -> None:
    """Before work that ends with writing the page. Raises UsageError, as `write` would."""
    if file.is_dir():
        raise _unwritable(file, "it is a folder")
    if not file.parent.is_dir():
        raise _unwritable(file, f"there is no folder {file.parent}")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise _unwritable(file, "no right to, or a read-only file system")


def write(report: Report, file: Path) -> None:
    """Write the page. Raises UsageError (no such folder, no right) or DiskFull."""
    write_page(page(report), file)


def write_page(text: str, file: Path) -> None:
    """Write any page. Raises UsageError (no such folder, no right) or DiskFull."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        if error.errno == 28:  # ENOSPC
            raise DiskFull(f"no room to write {file}", hint="free some space there") from error
        raise _unwritable(file, error.strerror or str(error)) from error


def _unwritable(file: Path, why: str) -> UsageError:
    return UsageError(f"cannot write {file}: {why}", hint="name a file in a folder you may write")
