"""The hours in which work may begin. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from filban.errors import UsageError

_TEXT = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end` each day by this machine's clock; over midnight if end is earlier."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Window:
        """HH:MM-HH:MM. Raises UsageError."""
        found = _TEXT.fullmatch(text.strip())
        try:
            hours = [int(part) for part in found.groups()] if found else []
            window = cls(time(hours[0], hours[1]), time(hours[2], hours[3]))
        except (ValueError, IndexError):
            raise UsageError(
                f"--window {text!r} is no span of hours", hint="write it as 01:00-05:30"
            ) from None
        if window.start == window.end:
            raise UsageError(f"--window {text!r} is empty", hint="leave it out for any time")
        return window

    def opens_in(self, now: datetime) -> float:
        """Seconds until it is open; 0 while it is."""
        if _seconds(now, self.end) <= _seconds(now, self.start):
            return 0.0
        return _seconds(now, self.start) % _DAY_SECONDS

    def closes_in(self, now: datetime) -> float:
        """Seconds until it closes next."""
        return _seconds(now, self.end)

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def _seconds(now: datetime, when: time) -> float:
    """Until that time of day comes next; a full day for this very moment."""
    then = datetime.combine(now.date(), when, tzinfo=now.tzinfo)
    if then <= now:
        then += timedelta(days=1)
    return (then - now).total_seconds()
