"""Sizes on the command line."""

from __future__ import annotations

import re

from filban.errors import UsageError

_UNITS = {"": 1, "b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3, "tb": 1024**4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)


def bytes_of(text: str, option: str) -> int:
    """Bytes of "1000", "200MB", "2GB", in powers of 1024 as PostgreSQL. Raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].lower() not in _UNITS:
        raise UsageError(f"{option} {text!r} is not a size", hint="as in 500MB or 2GB")
    return int(float(match[1]) * _UNITS[match[2].lower()])
