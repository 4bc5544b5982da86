"""Btrees: equality first, then the wanted order, then a range; and the same with INCLUDE."""

from __future__ import annotations

from collections.abc import Iterator

from filban.index.advice.access import Access, Order
from filban.index.advice.candidates.thought import Context, Thought, spec
from filban.index.advice.conditions import Condition
from filban.index.advice.rows import CandidateKind, Key
from filban.index.advice.specs import EQUALITIES, name_of
from filban.index.advice.spelling import better

# More keys than this help no further: what remains after four equalities is a handful of rows.
MOST_KEYS = 4
# A btree's entry can be about a third of a page; an INCLUDE that makes entries much longer than
# a pointer and a few numbers turns the index into a second table.
MOST_INCLUDED = 4
WIDEST_INCLUDED_BYTES = 64
# From this many rows on, reading them without the table saves something.
FEWEST_COVERED_ROWS = 10
# Longer values make a btree large where a hash index keeps four bytes of each.
LONG_VALUE_BYTES = 48

_Shape = tuple[CandidateKind, tuple[Key, ...], str]


def think(access: Access, context: Context) -> Iterator[Thought]:
    """Btrees, covering btrees and hash indexes for an access."""
    for kind, keys, reason in shapes(access, context):
        yield Thought(spec(access.table, keys), _named(kind, keys), reason)
        yield from _covering(access, context, keys)
    for c in (c for group in access.any_of for c in group):
        if c.kind in ("eq", "null", "range", "prefix") and context.sortable(access, c.column):
            keys = (_range_key(c),)
            reason = f"one branch of OR: {c.key}"
            yield Thought(spec(access.table, keys), _named("equality", keys), reason)
    for c in access.conditions:
        if (reason := _mended(c, access, context)) and c.kind != "in_array":
            yield Thought(spec(access.table, [Key(c.key)]), "expression", reason, "unsupported")
    yield from _hash(access, context)


def _mended(c: Condition, access: Access, context: Context) -> str:
    """Why another spelling of the condition is the only answer, or ""."""
    found = better(c, context.column(access, next(iter(c.columns), "")))
    return found.reason if found is not None and found.instead else ""


def _named(kind: CandidateKind, keys: tuple[Key, ...]) -> CandidateKind:
    return "expression" if any(key.sql[0] == "(" for key in keys) else kind


def shapes(
    access: Access, context: Context, without: frozenset[Condition] = frozenset()
) -> Iterator[_Shape]:
    """(kind, keys, reason) of the btrees that fit; `without`: conditions that need no key."""
    conditions = [
        c for c in access.conditions if c not in without and not _mended(c, access, context)
    ]
    equal, joined = equalities(access, context, conditions)
    ranges = [
        c for c in conditions
        if c.kind in ("range", "prefix") and context.sortable(access, c.column) and not c.is_join
    ]  # fmt: skip
    order = _order(access, context)
    for base in _bases(equal, joined):
        said = ", ".join(key.sql for key in base)
        if base:
            yield "equality", base, f"looks up {said}"
        if order:
            how = f"for each {said} in order" if base else "in the wanted order"
            yield "sort", _cut(base + order), f"{how}: nothing has to be sorted"
        for condition in ranges:
            key = _range_key(condition)
            what = f"{said}, then a range of {key.sql}" if base else f"a range of {key.sql}"
            yield "pattern" if key.opclass else "range", _cut((*base, key)), what


def equalities(
    access: Access, context: Context, conditions: list[Condition]
) -> tuple[list[Condition], list[Condition]]:
    """Equalities with values, and with another table's columns: the most shared key first, then
    the one with the most different values."""
    found = [c for c in conditions if c.kind in EQUALITIES and context.sortable(access, c.column)]

    def rank(c: Condition) -> tuple[float, float, str]:
        shared = context.asked[access.table.oid, c.key]
        return -shared, -context.distinct(access, c.column), c.key

    unique = {c.key: c for c in sorted(found, key=rank)}
    values = [c for c in unique.values() if not c.is_join]
    taken = {c.key for c in values}
    return values, [c for c in unique.values() if c.is_join and c.key not in taken]


def _bases(equal: list[Condition], joined: list[Condition]) -> list[tuple[Key, ...]]:
    """The sets of equalities to start with."""
    keys, joins = [Key(c.key) for c in equal], [Key(c.key) for c in joined]
    found: list[tuple[Key, ...]] = [_cut(keys)]
    for join in joins:
        found += [(join,), _cut([join, *keys])]
    if len(joins) > 1:
        found.append(_cut(joins))
    found += [(key,) for key in keys] if len(keys) > 1 else []
    if len(keys) > 2:
        found += [(keys[0], keys[1])]
    return list(dict.fromkeys(found))


def _cut(keys: list[Key] | tuple[Key, ...]) -> tuple[Key, ...]:
    return tuple(dict.fromkeys(keys))[:MOST_KEYS]


def _order(access: Access, context: Context) -> tuple[Key, ...]:
    """The wanted order as keys; forwards when all are descending alike: it reads both ways."""
    order = [o for o in access.order if context.sortable(access, o.column)]
    if len(order) != len(access.order) or access.distance is not None:
        return ()
    backwards = all(o.descending and o.nulls_first for o in order)
    return tuple(_order_key(o, backwards) for o in order)


def _order_key(order: Order, backwards: bool) -> Key:
    if backwards:
        return Key(order.key)
    return Key(order.key, order.descending, order.nulls_first)


def _range_key(condition: Condition) -> Key:
    if condition.kind == "prefix" and not condition.by_bytes:
        return Key(condition.key, opclass="text_pattern_ops")
    return Key(condition.key)


def _covering(access: Access, context: Context, keys: tuple[Key, ...]) -> Iterator[Thought]:
    """The same with what the statement reads beside the keys, if that is little. Not beside an
    expression: it would need the column too, and the planner guesses how many rows it finds."""
    if any(key.sql[0] == "(" for key in keys):
        return
    if access.needed is None or access.writes or access.rows < FEWEST_COVERED_ROWS:
        return
    names = {name_of(key.sql) for key in keys}
    columns = [context.column(access, name) for name in sorted(access.needed - names)]
    known = [c for c in columns if c is not None and c.width_bytes is not None]
    if len(known) != len(columns) or not 0 < len(known) <= MOST_INCLUDED:
        return
    if sum(c.width_bytes or 0 for c in known) > WIDEST_INCLUDED_BYTES:
        return
    include = [c.quoted for c in known]
    visible = access.table.visible_share
    reason = f"answers from the index alone ({visible:.0%} of the pages are all-visible)"
    yield Thought(spec(access.table, keys, include=include), "covering", reason)


def _hash(access: Access, context: Context) -> Iterator[Thought]:
    """For equality with long values that are nearly all different."""
    for c in access.conditions:
        column = context.column(access, c.column)
        if c.kind != "eq" or column is None or c.any or c.is_join:
            continue
        if (column.width_bytes or 0) < LONG_VALUE_BYTES or column.category not in "SU":
            continue
        if context.distinct(access, c.column) > access.table.rows / 2:
            reason = f"values of {column.width_bytes} bytes, compared by equality only"
            yield Thought(spec(access.table, [Key(c.key)], "hash"), "hash", reason)
