"""Conditions that hide a column from its index, and how to write them instead. Pure."""

from __future__ import annotations

from typing import NamedTuple

from filban.index.advice.conditions import Condition
from filban.index.advice.facts import Column
from filban.index.advice.rows import RemedyKind

TIMES = frozenset({"date", "timestamp", "timestamptz"})
# Their result can be compared as a range of the column itself.
_AS_RANGE = frozenset({"date", "date_trunc", "date_part", "extract", "to_char", "to_timestamp"})
_AS_PREFIX = frozenset({"substr", "substring", "left"})
_NUMBERS = frozenset({"numeric", "double", "real", "float8", "float4"})
_ARITHMETIC = ("+", "-", "*", "/")


class Spelling(NamedTuple):
    """Another way to say a condition. instead: an index on the expression would only keep a
    mistake alive; otherwise it is a choice between the two."""

    kind: RemedyKind
    sql: str
    reason: str
    instead: bool


def better(c: Condition, column: Column | None) -> Spelling | None:
    """A way to say it that the column's own index answers; None if there is none."""
    if c.kind == "in_array":
        reason = "value = ANY (column) cannot use an index, column @> ARRAY[value] can"
        return Spelling("sargable", f"{c.key} @> ARRAY[…]", reason, True)
    if c.column is not None or column is None or len(c.columns) != 1:
        return None
    if c.kind not in ("eq", "range", "prefix"):
        return None
    if column.category == "N" and set(c.casts) & _NUMBERS and not c.functions:
        reason = f"the value is no {column.type}, so that the column is cast in every row"
        return Spelling("cast", f"{column.quoted} = value::{column.type}", reason, True)
    return _computed(c, column)


def _computed(c: Condition, column: Column) -> Spelling | None:
    functions = {call.name for call in c.functions}
    reason = f"{c.key.strip('()')} is computed for every row; the column alone can be looked up"
    instead, sql = False, ""
    if column.type in TIMES and (functions & _AS_RANGE or (set(c.casts) & TIMES and not functions)):
        sql = f"{column.quoted} >= from AND {column.quoted} < until"
    elif functions & _AS_PREFIX:
        sql = f"{column.quoted} LIKE 'prefix%'"
    elif "COALESCE" in functions:
        sql = f"{column.quoted} = value (OR {column.quoted} IS NULL, for the default)"
    elif column.category in "ND" and any(f" {sign} " in c.key for sign in _ARITHMETIC):
        instead, sql = True, f"{column.quoted} {c.operator} value, computed on the other side"
    return Spelling("sargable", sql, reason, instead) if sql else None
