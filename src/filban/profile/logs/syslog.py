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
from filban.profile.logs.prefix import Prefix
from filban.profile.logs.stderr import StderrLog

LINE = re.compile(
    r"^(?:<\d+>(?:\d )?)?"
    r"(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^ ]*) "
    r"(?P<host>\S+) (?P<program>[^\s\[:]+)(?:\[(?P<pid>\d+)\]:| (?P<pid5424>\d+) \S+ \S+) ?"
    r"(?:\[(?P<event>\d+)(?:-(?P<piece>\d+))?\] )?(?P<text>.*)$"
)
_ESCAPED = {"#011": "\t", "#012": "\n"}  # rsyslog's form of control characters


@dataclass(slots=True)
class _Event:
    number: str | None
    time: str
    text: str


class SyslogLog:
    """Reads syslog through `StderrLog`."""

    format = "syslog"

    def __init__(self, sample: Sequence[str], prefix: Prefix | None = None) -> None:
        texts = [event.text for _, event in _events(sample[:SAMPLE], Unread())]
        self._inner = prefix or infer([line for text in texts for line in text.split("\n")])
        if self._inner is None:
            raise UsageError(
                "these syslog lines show no log_line_prefix", hint="give it with --prefix"
            )
        columns = self._inner.columns
        self._time = "log_time" not in columns
        self._pid = "pid" not in columns
        header = ("%m " if self._time else "") + ("[%p] " if self._pid else "")
        self._stderr = StderrLog(Prefix(header + self._inner.text, self._inner.verbose))

    def cut(self, data: bytes) -> int:
        return data.rfind(b"\n") + 1

    def read(self, data: bytes) -> Batch:
        unread = Unread()
        lines = data.decode("utf-8", "replace").split("\n")
        texts = [self._line(pid, event) for pid, event in _events(lines, unread)]
        batch = self._stderr.read("\n".join(texts).encode() + b"\n")
        batch.unread.merge(unread)
        return batch

    def _line(self, pid: str, event: _Event) -> str:
        header = (f"{_iso(event.time)} UTC " if self._time else "") + (
            f"[{pid}] " if self._pid else ""
        )
        return header + event.text.replace("\n", "\n\t")


def _events(lines: Sequence[str], unread: Unread) -> Iterator[tuple[str, _Event]]:
    """(pid, event) with its pieces joined; processes write between each other's lines."""
    open_events: dict[str, _Event] = {}
    for line in lines:
        match = LINE.match(line)
        if match is None:
            if line.strip():
                unread.add(line)
            continue
        pid = match["pid"] or match["pid5424"]
        text = match["text"]
        for escaped, character in _ESCAPED.items():
            text = text.replace(escaped, character)
        current = open_events.get(pid)
        if current is not None and _continues(current, match, text):
            current.text += "\n" + text[1:] if text.startswith("\t") else text
            continue
        if current is not None:
            yield pid, open_events.pop(pid)
        open_events[pid] = _Event(match["event"], match["time"], text)
    yield from open_events.items()


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
