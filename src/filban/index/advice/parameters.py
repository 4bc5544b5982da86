"""Values for the parameters of a statement, out of what ANALYZE keeps of the columns. Pure.

Plans differ with the values: one that half of the table has is read through, one that three rows
have is looked up. So a statement gets several examples: `VARIANTS` of them where its columns are
skewed or compared by order, one where all values are alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from filban.index.advice.facts import Column, Values
from filban.index.advice.texts import Place

VARIANTS = 3
# A page of a list, where neither the text nor the count of rows says how long it is.
USUAL_LIMIT = 10
# Where a range begins, by variant, as a share of the values below it: applications ask for what is
# new, so the first of them are the last tenth, the middle, and the last hundredth.
_QUANTILES = (0.9, 0.5, 0.99)
# A range with both ends spans so much of the values.
_SPAN = 0.05
_DEFAULTS: Mapping[str, str] = {
    "bool": "true", "date": "2024-01-01", "timestamp": "2024-01-01", "timestamptz": "2024-01-01",
    "time": "12:00", "interval": "1 day", "uuid": "00000000-0000-0000-0000-000000000001",
    "jsonb": "{}", "json": "{}", "inet": "127.0.0.1", "tsquery": "a", "bytea": "a",
}  # fmt: skip
_PATTERN_LETTERS = 4
_UPPER_BOUND = frozenset({"<", "<="})
_LOWER_BOUND = frozenset({">", ">="})


def literal(value: str) -> str:
    """A value as SQL text, whatever standard_conforming_strings says."""
    quoted = value.replace("'", "''")
    return f"E'{quoted}'".replace("\\", "\\\\") if "\\" in value else f"'{quoted}'"


def is_skewed(place: Place, column: Column | None, values: Values | None) -> bool:
    """Whether the plan may depend on the value."""
    if column is None or values is None:
        return place.role == "pattern"
    by_order = place.operator in _UPPER_BOUND | _LOWER_BOUND or place.role == "pattern"
    return by_order or bool(values.common) or bool(values.elements)


def value_for(place: Place, values: Values | None, variant: int, kind: str, bounded: bool) -> str:
    """A literal for the parameter. kind: the type that the server gives it, "" if unknown;
    bounded: its column has a bound on the other side too."""
    chosen = None if values is None else _of_column(place, values, variant, bounded)
    if chosen is not None:
        return literal(chosen)
    if place.is_bare:
        return literal(_default(place.cast))
    kind = place.cast or kind
    text = literal(_default(kind))
    return f"{text}::{kind}" if kind and not place.cast else text


def _default(kind: str) -> str:
    return "{}" if kind.endswith("[]") or kind.startswith("_") else _DEFAULTS.get(kind, "1")


def _of_column(place: Place, values: Values, variant: int, bounded: bool) -> str | None:
    if place.key:
        return _of_document(values, place.key, variant)
    if place.role == "words":
        return _pick(values.elements, variant)
    if place.role == "pattern" and "~" in place.operator:
        return _pattern(place, values, variant)
    if values.elements:
        return _of_elements(place, values, variant)
    if place.operator in ("@>", "?", "@?", "@@"):
        return _contained(values, variant)
    if place.role == "array":
        several = dict.fromkeys(v for i in range(3) if (v := _equal(values, variant, i)))
        return _array(tuple(several)) if several else None
    if place.operator == "BETWEEN":
        return _bound(values, variant, place.position * _SPAN)
    if place.operator in _UPPER_BOUND | _LOWER_BOUND:
        upper = place.operator in _UPPER_BOUND
        if upper and not bounded:
            return _bound(values, variant, 0.0, mirrored=True)
        return _bound(values, variant, _SPAN if upper else 0.0)
    return _equal(values, variant, place.position)


def _pick(texts: tuple[str, ...], variant: int) -> str | None:
    """The first, one in the middle, the last."""
    if not texts:
        return None
    step = (len(texts) - 1) / max(VARIANTS - 1, 1)
    return texts[round(step * (variant % VARIANTS))]


def _equal(values: Values, variant: int, position: int = 0) -> str | None:
    """The most common value, one that is nobody's favourite, the least common of the common; and
    at further positions of a list the next ones."""
    common, bounds = values.common, values.bounds
    if variant == 0 and common:
        return common[position % len(common)]
    if variant == 1 and bounds:
        return bounds[(len(bounds) // 2 + position) % len(bounds)]
    if common:
        return common[-1 - position % len(common)]
    return bounds[(variant * 7 + position) % len(bounds)] if bounds else None


def _bound(values: Values, variant: int, further: float, *, mirrored: bool = False) -> str | None:
    bounds = values.bounds or tuple(sorted(values.common))
    if not bounds:
        return None
    share = min(_QUANTILES[variant % VARIANTS] + further, 1.0)
    share = 1 - share if mirrored else share
    return bounds[min(round(share * (len(bounds) - 1)), len(bounds) - 1)]


def _pattern(place: Place, values: Values, variant: int) -> str | None:
    """The beginning of a value, and what is in the midst of one: the text does not say which."""
    value = _pick(values.bounds, variant) or _pick(values.common, variant)
    if not value:
        return None
    if place.operator == "~~" and variant != 1:
        return _escaped(value[:_PATTERN_LETTERS]) + "%"
    if place.operator.startswith("~~"):
        return f"%{_escaped(value[1 : 1 + _PATTERN_LETTERS])}%"
    return "".join(letter for letter in value[:_PATTERN_LETTERS] if letter.isalnum()) or None


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\%_" else letter for letter in text)


def _of_elements(place: Place, values: Values, variant: int) -> str | None:
    element = _pick(values.elements, variant)
    if element is None or place.operator == "=":
        return element
    return _array((element,))


def _array(elements: tuple[str, ...]) -> str:
    quoted = (e.replace("\\", "\\\\").replace('"', '\\"') for e in elements)
    return "{" + ",".join(f'"{e}"' for e in quoted) + "}"


def _documents(values: Values, variant: int) -> dict[str, object]:
    text = _pick(values.bounds or values.common, variant)
    try:
        document = json.loads(text) if text else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _of_document(values: Values, key: str, variant: int) -> str | None:
    value = _documents(values, variant).get(key)
    return None if value is None else value if isinstance(value, str) else json.dumps(value)


def _contained(values: Values, variant: int) -> str | None:
    for key, value in _documents(values, variant).items():
        if not isinstance(value, dict | list):
            return json.dumps({key: value})
    return None
