"""syslog: each line of an event as a message of its own, long ones split; put together again into
the lines that stderr would have had."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from filban.errors import UsageError
from filban.profile.logs.frame import Batch, Unread
from filban.profile.logs.infer import SAMPLE, infer
from filban.profile.logs.prefix import COLON, WORD_PATTERN, Prefix
from filban.profile.logs.stderr import StderrLog

LINE = re.compile(
    r"^(?:<\d+>(?:\d )?)?"
    r"(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^ ]*) "
    r"(?:(?P<host>\S+) (?P<program>[^\s\[:]+)(?:\[(?P<pid>\d+)\]:| (?P<pid5424>\d+) \S+ \S+) ?"
    r"|(?:\S+ )?app\[postgres\.(?P<heroku>\d+)\]:? \[\w+\] )"
    r"(?:\[(?P<event>\d+)(?:-(?P<piece>\d+))?\] )?(?P<text>.*)$"
)
_ESCAPED = {"#011": "\t", "#012": "\n"}  # rsyslog's form of control characters


# Where no prefix is known yet: a word of a line's beginning, not too far in.
_SOME_HEAD = re.compile(rf"^.{{0,300}}?(?:{WORD_PATTERN}) ?{COLON} ")


@dataclass(slots=True)
class _Event:
    """Lines of one event: those without a tab in front begin with log_line_prefix."""

    program: str | None
    number: str | None
    time: str
    lines: list[str]


class SyslogLog:
    """Reads syslog, also Heroku's, through `StderrLog`."""

    format = "syslog"

    def __init__(self, sample: Sequence[str], prefix: Prefix | None = None) -> None:
        events = [event for _, event in _events(sample[:SAMPLE], Unread(), _SOME_HEAD)]
        found = prefix or infer([line for event in events for line in event.lines])
        if found is None:
            raise UsageError(
                "these syslog lines show no log_line_prefix", hint="give it with --prefix"
            )
        self._head = found.pattern
        # /var/log/syslog has the lines of all programs.
        self._programs = {e.program for e in events if self._head.match(e.lines[0])}
        self._time = "log_time" not in found.columns
        self._pid = "pid" not in found.columns
        header = ("%m " if self._time else "") + ("[%p] " if self._pid else "")
        self.prefix = found
        self._stderr = StderrLog(Prefix(header + found.text, found.verbose))

    def cut(self, data: bytes, before: bytes = b"") -> int:  # noqa: ARG002
        return data.rfind(b"\n") + 1

    def read(self, data: bytes) -> Batch:
        unread = Unread()
        lines = data.decode("utf-8", "replace").split("\n")
        texts = [
            line if line.startswith("\t") else self._header(pid, event) + line
            for pid, event in _events(lines, unread, self._head)
            if event.program in self._programs
            for line in event.lines
        ]
        batch = self._stderr.read("\n".join(texts).encode() + b"\n")
        batch.unread.merge(unread)
        return batch

    def _header(self, pid: str, event: _Event) -> str:
        time = f"{_iso(event.time)} UTC " if self._time else ""
        return time + (f"[{pid}] " if self._pid else "")


def _events(
    lines: Sequence[str], unread: Unread, head: re.Pattern[str]
) -> Iterator[tuple[str, _Event]]:
    """(pid, event) with its pieces put together; processes write between each other's lines."""
    open_events: dict[str, _Event] = {}
    for line in lines:
        match = LINE.match(line)
        if match is None:
            if line.strip():
                unread.add(line)
            continue
        pid = match["pid"] or match["pid5424"] or match["heroku"]
        text = match["text"]
        for escaped, character in _ESCAPED.items():
            text = text.replace(escaped, character)
        current = open_events.get(pid)
        if current is not None and _continues(current, match, text):
            _add(current, text, head)
            continue
        if current is not None:
            yield pid, open_events.pop(pid)
        open_events[pid] = _Event(match["program"], match["event"], match["time"], [text])
    yield from open_events.items()


def _add(event: _Event, text: str, head: re.Pattern[str]) -> None:
    """A new line of the event (DETAIL … have a prefix, others a tab), or more of a long one."""
    if text.startswith("\t") or head.match(text):
        event.lines.append(text)
    else:
        event.lines[-1] += text


def _continues(current: _Event, match: re.Match[str], text: str) -> bool:
    """With sequence numbers the same number; without, a line that begins with a tab."""
    if match["event"] is not None:
        return match["event"] == current.number and match["piece"] not in (None, "1")
    return text.startswith("\t")


def _iso(text: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> str:
    """RFC 3164 has no year: this one, or the last when that would lie in the future."""
    if text[0].isdigit():
        return text[:19].replace("T", " ") + ".000"
    today = now()
    try:
        time = datetime.strptime(f"{today.year} {text}", "%Y %b %d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return "1970-01-01 00:00:00.000"
    if (time - today).days >= 1:
        time = time.replace(year=today.year - 1)
    return f"{time:%Y-%m-%d %H:%M:%S}.000"
