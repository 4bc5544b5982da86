"""A size as evidence: what was not counted yet is not zero. Pure."""

from __future__ import annotations

from filban.finding import Quantity
from filban.units import size


def counted(size_bytes: int) -> Quantity:
    """Pages are counted by VACUUM, ANALYZE and a build that succeeds; until then they are 0."""
    return Quantity(size_bytes, "bytes") if size_bytes else Quantity("not counted yet")


def clause(size_bytes: int, words: str) -> str:
    """`: 8.0 kB for nothing`, and nothing where the size is not known."""
    return f": {size(size_bytes)} {words}" if size_bytes else ""
