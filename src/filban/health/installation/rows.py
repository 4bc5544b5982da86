"""What the queries about the installation return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExtensionUpdate:
    """An installed extension whose files on the server are of a newer version."""

    name: str
    installed: str
    available: str
    update_sql: str


QUERIES: Mapping[str, type] = {"extension_updates": ExtensionUpdate}
