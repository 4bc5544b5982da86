"""BRIN: where the rows lie in the table in the order of the column, a few pages do for an index."""

from __future__ import annotations

from collections.abc import Iterator

from filban.index.advice.access import Access
from filban.index.advice.candidates.thought import Context, Thought, spec
from filban.index.advice.rows import Key

# Below this the ranges overlap so much that each query reads most of them.
LOWEST_CORRELATION = 0.95
# Ten ranges of the default 128 pages: with fewer of them none can be left out.
FEWEST_PAGES = 1280


def think(access: Access, context: Context) -> Iterator[Thought]:
    """BRIN indexes for the ranges of an access."""
    if access.table.pages < FEWEST_PAGES:
        return
    for c in access.conditions:
        column = context.column(access, c.column)
        if c.kind != "range" or c.is_join or column is None:
            continue
        if abs(column.correlation or 0.0) >= LOWEST_CORRELATION:
            reason = (
                f"rows lie in the order of {column.name} (correlation {column.correlation:.2f})"
            )
            yield Thought(spec(access.table, [Key(c.key)], "brin"), "brin", reason)
