"""From what a person calls a repository to the repository."""

from __future__ import annotations

from pathlib import Path

from filban.backup.plain import PlainShelf
from filban.backup.shelf import Shelf


def open_shelf(repo: str) -> Shelf:
    """Raises UsageError if there is no repository of that name."""
    return PlainShelf(Path(repo).expanduser())
