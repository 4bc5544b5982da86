"""Numbers as a person reads them. JSON keeps the exact values; this is for eyes only."""

from __future__ import annotations

from collections.abc import Mapping

from filban.finding import Quantity
from filban.units import duration, number, size


def quantity(q: Quantity) -> str:
    """`q` with its unit: "1.2 GB", "3 h 20 min", "97.2 %", "1,204 rows"."""
    value = q.value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    match q.unit:
        case "bytes":
            return size(value)
        case "seconds":
            return duration(value)
        case "ms":
            return duration(value / 1000)
        case "percent":
            return f"{number(value)} %"
        case "ratio":
            return f"{number(value * 100)} %"
        case "per_second":
            return f"{number(value)}/s"
        case "rows" | "xids" | "pages":
            return f"{number(value)} {q.unit}"
        case _:
            return number(value)


def evidence(values: Mapping[str, Quantity]) -> list[tuple[str, str]]:
    """(name in words, value) pairs."""
    return [(name.replace("_", " "), quantity(q)) for name, q in values.items()]


# The end of a fact's key -> the unit of its value: facts are plain JSON, units are in the names.
_KEY_UNITS = {
    "_bytes": "bytes", "_seconds": "seconds", "_ms": "ms", "_percent": "percent",
    "_ratio": "ratio", "_rows": "rows", "_per_second": "per_second",
}  # fmt: skip


def fact(key: str, value: object) -> tuple[str, str]:
    """(label, text) of one scalar fact, its unit read off the end of its key."""
    for suffix, unit in _KEY_UNITS.items():
        if key.endswith(suffix) and isinstance(value, int | float) and not isinstance(value, bool):
            label = key.removesuffix(suffix).replace("_", " ")
            return label or suffix[1:], quantity(Quantity(value, unit))  # type: ignore[arg-type]
    if isinstance(value, bool | int | float | str):
        return key.replace("_", " "), quantity(Quantity(value))
    return key.replace("_", " "), "–" if value is None else str(value)
