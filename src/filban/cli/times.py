"""Times on the command line: how long, and when."""

from __future__ import annotations

import re
from datetime import datetime

from filban.errors import UsageError

_SECONDS = {"": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|)", re.ASCII)


def seconds_of(text: str, option: str) -> float:
    """Seconds of "30", "30s", "5min", "1h", "7d". Raises UsageError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text!r} is not a time", hint="as in 30s, 5min, 1h or 7d")
    return float(match[1]) * _SECONDS[match[2]]


def some_seconds_of(text: str, option: str) -> float:
    """As `seconds_of`, more than none. Raises UsageError."""
    found = seconds_of(text, option)
    if not found:
        raise UsageError(f"{option} {text!r} is no time at all", hint="as in 30s, 5min, 1h or 7d")
    return found


def moment_of(text: str, option: str) -> datetime:
    """ISO 8601; without a zone this machine's. Raises UsageError."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is not a date and time",
            hint="as in '2026-11-23 14:10:05' (this machine's zone) or with +03:30",
        ) from error
