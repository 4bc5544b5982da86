"""Numbers as a person reads them. JSON keeps the exact values; this is for eyes only."""

from __future__ import annotations

from collections.abc import Mapping

from filban.finding import Quantity

_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")


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


def size(value: float) -> str:
    """Bytes in powers of 1024, named as PostgreSQL names them."""
    sign, left = ("-" if value < 0 else ""), abs(float(value))
    for unit in _BYTES:
        if left < 1024 or unit == _BYTES[-1]:
            break
        left /= 1024
    return f"{sign}{left:.0f} {unit}" if unit == "B" or left >= 100 else f"{sign}{left:.1f} {unit}"


def duration(seconds: float) -> str:
    """Two units at most: "12 ms", "4.2 s", "3 min 5 s", "2 d 4 h"."""
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        milliseconds = seconds * 1000
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    for unit, span, smaller, part in (("min", 60, "s", 1), ("h", 3600, "min", 60)):
        if seconds < span * (60 if unit == "min" else 48):
            rest = int(seconds % span // part)
            return f"{int(seconds // span)} {unit}" + (f" {rest} {smaller}" if rest else "")
    rest = int(seconds % 86400 // 3600)
    return f"{int(seconds // 86400):,} d" + (f" {rest} h" if rest else "")


def number(value: float) -> str:
    """Three significant digits for fractions, thousands separated for counts."""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"


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
