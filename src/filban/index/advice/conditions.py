"""What a condition asks of an index: which key, and which kind of comparison. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from filban.index.advice import expressions as _e
from filban.index.advice.facts import Column

Kind = Literal[
    "eq", "range", "null", "not_null", "true", "false", "prefix", "infix", "like", "ilike",
    "regex", "similar", "json", "array", "words", "span", "space", "in_array", "other",
]  # fmt: skip
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "@>": "<@", "<@": "@>"}
_TESTS: Mapping[str, Kind] = {
    "": "true", "NOT": "false", "IS TRUE": "true", "IS FALSE": "false",
    "IS NULL": "null", "IS NOT NULL": "not_null",
}  # fmt: skip
_RANGE = frozenset({"<", "<=", ">", ">="})
_PATTERNS: Mapping[str, Kind] = {"~~": "like", "~~*": "ilike", "~": "regex", "~*": "regex"}
_SIMILAR = frozenset({"%", "<%", "%>", "<<%", "%>>"})
_JSON = frozenset({"@>", "?", "?|", "?&", "@?", "@@"})
_ARRAY = frozenset({"@>", "<@", "&&"})
_SPAN = frozenset({"@>", "<@", "&&", "<<", ">>", "&<", "&>", "-|-"})
_SPACE = frozenset({"@>", "<@", "&&", "<<", ">>", "<->", "~=", "&&&", "|>>", "<<|"})
_SPACE_TYPES = frozenset({"point", "box", "polygon", "circle", "geometry", "geography", "inet"})
_ANCHORED = re.compile(r"\^[\w ]")


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on one table.

    key: what it compares, as an index would have it: a quoted column or "(expression)". column:
    its name if it is a plain one; by_bytes: see columns.sql. columns: all that the key has in it.
    text: the condition without alias (for a partial index, and to ask the planner how many rows it
    leaves; "" if it needs another table). constant: the value compared with, if it is a literal.
    functions, casts: in the key.
    """

    kind: Kind
    key: str
    column: str | None
    columns: frozenset[str]
    operator: str
    text: str
    constant: str | None = None
    is_join: bool = False
    any: bool = False
    functions: tuple[_e.Call, ...] = ()
    casts: tuple[str, ...] = ()
    by_bytes: bool = False


def conditions(
    text: str, alias: str, columns: Mapping[str, Column]
) -> Iterator[tuple[Condition, ...]]:
    """What a text of EXPLAIN demands of the table `alias`: one condition, or the branches of an OR
    if each of them is about this table."""
    for part in _e.conjuncts(_e.tokens(_without_subplans(text))):
        branches = _e.split(part, "OR")
        found = [c for branch in branches for c in _one(branch, alias, columns)]
        if len(found) == len(branches):
            yield tuple(found)


def _one(parts: _e.Tokens, alias: str, columns: Mapping[str, Column]) -> Iterator[Condition]:
    if len(list(_e.conjuncts(parts))) > 1:
        # of a branch `a AND b` an index may serve the first; the rest is filtered
        parts = next(_e.conjuncts(parts))
    compared = _e.comparison(parts)
    left, operator, right = compared.left, compared.operator, compared.right
    if not _about(left, alias) and _about(right, alias):
        if compared.any:
            yield _in_array(parts, right, alias, columns)
            return
        if operator not in _MIRROR:
            return
        left, operator, right = right, _MIRROR[operator], left
    if not _about(left, alias) or _foreign(left, alias) or _about(right, alias):
        return
    if members := _e.row_of(left):
        # (a, b) < (1, 2), as keyset pages ask: a range of the first
        left, right = tuple(members[0]), (_e.Token("parameter", "$0"),)
    yield _condition(parts, _e.Comparison(left, operator, right, compared.any), alias, columns)


def _condition(
    parts: _e.Tokens, compared: _e.Comparison, alias: str, columns: Mapping[str, Column]
) -> Condition:
    inner = _e.plain_column(compared.left)
    column = columns.get(inner.column) if inner else None
    if column is not None and column.type == "bpchar" and _e.casts(compared.left):
        column = None  # char(n) loses its spaces when it becomes text: not the same order
    is_join = _foreign(compared.right, alias)
    value = _e.constant(compared.right)
    of_type = column or _result(compared.left, columns)
    return Condition(
        kind=_kind(compared.operator, value, of_type),
        key=column.quoted if column else key_of(compared.left, alias),
        column=column.name if column else None,
        columns=frozenset(use.column for use in _e.uses(compared.left)),
        operator=compared.operator,
        text="" if is_join else _e.join(_e.without_alias(parts, alias)),
        constant=value,
        is_join=is_join,
        any=compared.any,
        functions=() if column else _e.called(compared.left),
        casts=() if column else _e.casts(compared.left),
        by_bytes=of_type is not None and of_type.by_bytes,
    )


def key_of(parts: _e.Tokens, alias: str) -> str:
    """The key of an index on this expression."""
    return f"({_e.join(_e.without_alias(_e.bare(parts), alias))})"


def _in_array(
    parts: _e.Tokens, right: _e.Tokens, alias: str, columns: Mapping[str, Column]
) -> Condition:
    use = _e.plain_column(right)
    column = columns.get(use.column) if use else None
    return Condition(
        kind="in_array",
        key=column.quoted if column else key_of(right, alias),
        column=column.name if column else None,
        columns=frozenset(u.column for u in _e.uses(right)),
        operator="= ANY",
        text=_e.join(_e.without_alias(parts, alias)),
    )


def _kind(operator: str, value: str | None, column: Column | None) -> Kind:
    if operator in _TESTS:
        return _TESTS[operator]
    if operator == "=":
        return "eq"
    if operator in _RANGE:
        return "range"
    if operator in _PATTERNS:
        return _pattern(_PATTERNS[operator], value)
    if operator in _SIMILAR and column is not None and column.category == "S":
        return "similar"
    return "other" if column is None else _typed(operator, column)


def _pattern(kind: Kind, value: str | None) -> Kind:
    if value is None:
        return kind
    if kind == "like":
        return "infix" if value[:1] in ("%", "_", "") else "prefix"
    return "prefix" if kind == "regex" and _ANCHORED.match(value) else kind


def _typed(operator: str, column: Column) -> Kind:
    """By the type of the column, as the same operators mean different things."""
    kinds: tuple[tuple[bool, frozenset[str], Kind], ...] = (
        (column.type == "jsonb", _JSON, "json"),
        (column.type == "tsvector", frozenset({"@@", "@@@"}), "words"),
        (column.category == "A", _ARRAY, "array"),
        (column.category == "R", _SPAN, "span"),
        (column.category == "G" or column.type in _SPACE_TYPES, _SPACE, "space"),
    )
    return next((kind for fits, known, kind in kinds if fits and operator in known), "other")


# What these make of a column: enough to know which class of operators an expression belongs to.
_RESULTS = {"to_tsvector": ("tsvector", "U"), "lower": ("text", "S"), "upper": ("text", "S"),
    "string_to_array": ("_text", "A"), "daterange": ("daterange", "R"),
    "tstzrange": ("tstzrange", "R"), "int4range": ("int4range", "R")}  # fmt: skip


def _result(parts: _e.Tokens, columns: Mapping[str, Column]) -> Column | None:
    """A column as if the expression were one, where its type is certain."""
    use = next(_e.uses(parts), None)
    column = columns.get(use.column) if use else None
    if column is None:
        return None
    operators = [t.text for _, t in _e.outermost(_e.bare(parts)) if t.kind == "operator"]
    type_name, category = "", ""
    if operators[-1:] == ["->>"] or operators[-1:] == ["||"]:
        type_name, category = "text", "S"
    elif operators[-1:] == ["->"]:
        type_name, category = column.type, "U"
    elif called := _e.called(parts):
        type_name, category = _RESULTS.get(called[0].name, ("", ""))
    if not type_name:
        return None
    return Column(
        column.table_oid, 0, column.name, "", type_name, category, False, column.by_bytes,
        None, None, None, None, 0.0,
    )  # fmt: skip


def _about(parts: _e.Tokens, alias: str) -> bool:
    return any(use.alias == alias for use in _e.uses(parts))


def _foreign(parts: _e.Tokens, alias: str) -> bool:
    return any(use.alias != alias for use in _e.uses(parts))


_SUBPLAN = re.compile(
    r"\((?:(?:hashed |rescan )*(?:Sub|Init)Plan (?:\w+_)?\d+)\)(?:\.col\d+)?"
    r"|\b(?:hashed )?SubPlan \d+"
)


def _without_subplans(text: str) -> str:
    """What EXPLAIN says of a sub-select is not an expression; it stands for one value, as a
    parameter does."""
    return _SUBPLAN.sub("($0)", text)
