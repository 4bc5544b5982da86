"""log_line_prefix: from the setting's text to the regular expression of a line, and from lines
back to the setting."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from filban.errors import UsageError
from filban.profile.logs.words import EVENTS, WORDS

_SECONDS = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d"
_ZONE = r" [A-Za-z0-9+\-/_<>]+"
# %escape -> (column of the frame or "", regular expression). Columns are named once, the first
# time; user, database and application names may hold anything, so they end where what follows fits.
_ESCAPES: dict[str, tuple[str, str]] = {
    "m": ("log_time", rf"{_SECONDS}\.\d{{3}}{_ZONE}"),
    "t": ("log_time", rf"{_SECONDS}{_ZONE}"),
    "n": ("log_time", r"\d{9,11}\.\d{3}"),
    "s": ("", rf"{_SECONDS}{_ZONE}"),
    "p": ("pid", r"\d+"),
    "P": ("", r"\d*"),
    "u": ("user", r".*?"),
    "d": ("db", r".*?"),
    "a": ("app", r".*?"),
    "h": ("host", r"\S*?"),
    "r": ("host", r"\S*?"),
    "L": ("", r"\S*?"),
    "b": ("", r".*?"),
    "i": ("", r".*?"),
    "c": ("session", r"[0-9a-f]+\.[0-9a-f]+"),
    "l": ("", r"\d+"),
    "v": ("", r"(?:-?\d+/\d+)?"),
    "x": ("", r"\d*"),
    "e": ("sqlstate", r"[0-9A-Z]{5}"),
    "Q": ("query_id", r"-?\d+"),
}
COLON = "(?::|\uff1a)"  # Chinese has its own
_TOKEN = re.compile(r"%(?P<pad>-?\d+)?(?P<letter>[a-zA-Z%])|(?P<text>[^%]+|%)")
WORD_PATTERN = "|".join(re.escape(word) for word in sorted(WORDS, key=len, reverse=True))
EVENT_WORDS = "|".join(
    re.escape(word)
    for word, english in sorted(WORDS.items(), key=lambda item: -len(item[0]))
    if english in EVENTS
)


@dataclass(frozen=True)
class Prefix:
    """A log_line_prefix. Raises UsageError for an escape that PostgreSQL does not have.

    verbose: log_error_verbosity=verbose writes the SQLSTATE in front of each message.
    """

    text: str
    verbose: bool = False

    @cached_property
    def head(self) -> str:
        """The prefix alone, for both `re` and polars (Rust): groups log_time, pid, user …"""
        pattern, seen = "", set[str]()
        closing = ""
        for token in _TOKEN.finditer(self.text):
            letter = token["letter"]
            if letter is None or letter == "%":
                pattern += re.escape(token["text"] or "%")
            elif letter == "q":
                pattern, closing = pattern + "(?:", ")?" + closing
            else:
                pattern += _escape(letter, token["pad"], seen, self.text)
        return "^" + pattern + closing

    @cached_property
    def line(self) -> str:
        """A whole line: the head, the word (`level`), and the message's first line."""
        code = r"(?:(?P<code>[0-9A-Z]{5}): )?" if self.verbose else ""
        return rf"{self.head}\s*(?P<level>{WORD_PATTERN}) ?{COLON}\s{{0,2}}{code}(?P<message>.*)$"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """`line` for Python."""
        return re.compile(_bounded(self.line))

    @cached_property
    def event(self) -> re.Pattern[bytes]:
        """Where an event begins, in bytes: not its DETAIL, CONTEXT, STATEMENT …"""
        head = _bounded(re.sub(r"\?P<\w+>", "?:", self.head))
        return re.compile(rf"{head}\s*(?:{EVENT_WORDS}) ?{COLON}\s".encode(), re.MULTILINE)

    @property
    def columns(self) -> list[str]:
        return re.findall(r"\?P<(\w+)>", self.line)


def _bounded(pattern: str) -> str:
    """Python's regular expressions go back and forth, so what may be anything gets a length:
    names have 63 bytes, background workers' 95, hosts 255. polars' (Rust) take linear time."""
    return pattern.replace(".*?", ".{0,99}?").replace(r"\S*?", r"\S{0,270}?")


def _escape(letter: str, pad: str | None, seen: set[str], text: str) -> str:
    if letter not in _ESCAPES:
        raise UsageError(
            f"log_line_prefix {text!r} has %{letter}, which PostgreSQL does not know",
            hint="give it as the server does: SHOW log_line_prefix",
        )
    column, pattern = _ESCAPES[letter]
    if column and column not in seen:
        seen.add(column)
        group = f"(?P<{column}>{pattern})"
    else:
        group = f"(?:{pattern})"
    return rf" *{group} *" if pad else group
