"""Expressions that may not stand in an index, and those that are not worth one. Pure.

PostgreSQL refuses an index on what may change without the row changing: what depends on TimeZone,
DateStyle, the user or the clock.
"""

from __future__ import annotations

from collections.abc import Mapping

from filban.index.advice.expressions import Call, Tokens, called, casts, tokens
from filban.index.advice.facts import Column
from filban.index.advice.rows import IndexSpec

# How many values a field of a time has, those of `extract` that come round.
FIELDS_OF_TIME = {"hour": 24, "minute": 60, "dow": 7, "isodow": 7, "day": 31, "month": 12,
    "quarter": 4, "week": 53}  # fmt: skip
_NOW = frozenset({"CURRENT_DATE", "CURRENT_TIMESTAMP", "CURRENT_TIME", "LOCALTIMESTAMP",
    "LOCALTIME", "CURRENT_USER", "SESSION_USER", "CURRENT_ROLE", "USER"})  # fmt: skip
_STABLE_CASTS = frozenset({"date", "timestamp", "timestamptz", "time", "timetz", "regclass"})


def mutable(
    spec: IndexSpec,
    columns: Mapping[str, Column],
    functions: Mapping[tuple[Call, str | None], bool],
) -> str:
    """Why one of its expressions cannot be indexed, or "". functions: see Catalog.functions."""
    for key in spec.keys:
        parts = tokens(key.sql)
        kind = next((columns[t.name].type for t in parts if t.name in columns), None)
        bad = _changing(parts, kind) if len(parts) > 1 else []
        bad += [c.name for c in called(parts) if functions.get((c, kind)) is False]
        if bad:
            return f"{bad[0]} of a {kind} depends on settings such as TimeZone"
    return ""


def _changing(parts: Tokens, kind: str | None) -> list[str]:
    words = {token.text for token in parts}
    operators = [token.text for token in parts if token.kind == "operator"]
    return [
        *sorted(_NOW & words),
        *(["extract"] if "EXTRACT" in words and kind == "timestamptz" else []),
        *(f"::{cast}" for cast in casts(parts) if _is_stable_cast(kind, cast)),
        *(text for text in operators if _is_stable_operator(kind, text)),
    ]


def few_values(spec: IndexSpec) -> int | None:
    """How many values its first key has, if it is a field of a time that comes round: ANALYZE knows
    nothing of it, and the planner guesses as if it were somebody's id."""
    words = {token.text.lower().strip("'") for token in tokens(spec.keys[0].sql)}
    found = words & FIELDS_OF_TIME.keys() if words & {"extract", "date_part"} else set()
    return min((FIELDS_OF_TIME[name] for name in found), default=None)


def _is_stable_cast(kind: str | None, cast: str) -> bool:
    """Casts whose result depends on TimeZone or DateStyle."""
    if kind == "timestamptz":
        return cast in ("date", "timestamp", "time", "text", "varchar")
    if kind in ("date", "timestamp"):
        return cast in ("timestamptz", "text", "varchar")
    return kind in ("text", "varchar", "jsonb") and cast in _STABLE_CASTS


def _is_stable_operator(kind: str | None, operator: str) -> bool:
    """Operators whose result depends on settings: a day's length is TimeZone's, a value's text is
    DateStyle's."""
    if operator == "||":
        return kind in ("date", "timestamp", "timestamptz", "float8", "int4", "int8", "numeric")
    return kind == "timestamptz" and operator in ("+", "-")
