"""`filban queries` as one self-contained HTML file: no script, nothing loaded."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from filban import __version__
from filban.flows.queries import Queries
from filban.render.html import environment, write_page
from filban.render.queries import blocks, change, counted, milliseconds
from filban.sql import comments
from filban.units import size


def page(result: Queries, *, top: int = 20) -> str:
    """The whole document as text: the first `top` statements, each to be opened."""
    return (
        environment()
        .get_template("queries.html")
        .render(
            result=result,
            statements=result.statements[:top],
            blocks=blocks,
            change=change,
            counted=counted,
            ms=milliseconds,
            route=comments.route,
            size=size,
            version=__version__,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def write(result: Queries, file: Path, *, top: int = 20) -> None:
    """Write the page. Raises UsageError (no such folder, no right) or DiskFull."""
    write_page(page(result, top=top), file)
