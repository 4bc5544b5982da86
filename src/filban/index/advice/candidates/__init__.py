"""Indexes that come to mind for what a plan asks of a table: what they are worth is asked later."""

from __future__ import annotations

from collections.abc import Iterator

from filban.index.advice.access import Access
from filban.index.advice.candidates import brin, btree, inverted, partial
from filban.index.advice.candidates.thought import Context, Thought

__all__ = ["Context", "Thought", "think"]


def think(access: Access, context: Context) -> Iterator[Thought]:
    """Every index that may help this access, each once."""
    seen = set()
    for room in (btree, partial, inverted, brin):
        for thought in room.think(access, context):
            if thought.spec not in seen:
                seen.add(thought.spec)
                yield thought
