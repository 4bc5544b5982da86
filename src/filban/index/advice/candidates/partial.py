"""Partial indexes: on conditions that the statements always have in the same words."""

from __future__ import annotations

from collections.abc import Iterator

from filban.index.advice.access import Access
from filban.index.advice.candidates.btree import shapes
from filban.index.advice.candidates.thought import Context, Thought, spec
from filban.index.advice.conditions import Condition
from filban.index.advice.rows import Key
from filban.index.advice.specs import conjunction

# A constant of a column with more values than this is somebody's id, not a state.
MOST_STATES = 20


def think(access: Access, context: Context) -> Iterator[Thought]:
    """Partial btrees for an access: one a constant condition, and one with all of them."""
    fixed = [c for c in access.conditions if is_fixed(c, access, context)]
    groups = [frozenset({c}) for c in fixed] + ([frozenset(fixed)] if len(fixed) > 1 else [])
    for group in groups:
        where = conjunction(c.text for c in group)
        for _, keys, reason in shapes(access, context, group):
            if not all(key.sql in {c.key for c in group} for key in keys):
                yield Thought(
                    spec(access.table, keys, where=where), "partial", f"{reason}, where {where}"
                )
        for key in _whatever(access, context, group):
            yield Thought(
                spec(access.table, [key], where=where), "partial", f"finds those where {where}"
            )


def is_fixed(c: Condition, access: Access, context: Context) -> bool:
    """Whether the condition is part of the program, not of the user's question: IS NULL, a flag,
    a state that stands as a constant in the text."""
    if c.is_join or "$" in c.text or not c.text:
        return False
    if c.kind in ("null", "true", "false"):
        return True
    column = context.column(access, c.column)
    if c.kind not in ("eq", "other") or column is None or c.constant is None or c.any:
        return False
    states = column.distinct_values(access.table.rows)
    in_text = c.constant in context.constants.get(access.statement, frozenset())
    return c.operator in ("=", "<>") and in_text and 1 < (states or 0) <= MOST_STATES


def _whatever(access: Access, context: Context, group: frozenset[Condition]) -> Iterator[Key]:
    """A key for an index whose predicate is all that is asked: the primary key's column, which is
    short and never changes, so that updates of others may stay heap-only."""
    if any(shapes(access, context, group)):
        return
    for index in context.catalog.indexes.get(access.table.oid, ()):
        if index.is_primary and index.key_count == 1:
            column = context.catalog.numbered(access.table.oid, index.columns[0])
            if column is not None:
                yield Key(column.quoted)
                return
    columns = sorted({c.column for c in group if c.column})
    first = context.column(access, columns[0]) if columns else None
    if first is not None:
        yield Key(first.quoted)
