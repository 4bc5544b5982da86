"""Sizes, durations and numbers as a person reads them, for titles and reports."""

from __future__ import annotations

_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")


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


def count(number_of: int, noun: str, plural: str = "") -> str:
    """ "1 table", "1,204 tables"; `plural` where it is not noun + s."""
    return f"{number_of:,} {noun if number_of == 1 else plural or noun + 's'}"
