"""Finding log_line_prefix from the lines themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from filban.profile.logs.prefix import COLON, EVENT_WORDS, Prefix

# Documented by the server's own manual, distributions, hosters and tools; the inference below finds
# others. The order matters only among those that match equally well with as many fields.
KNOWN = (
    "%m [%p] %q%u@%d ",  # Debian
    "%m [%p] ",  # PostgreSQL's default
    "%t:%r:%u@%d:[%p]:",  # RDS and Aurora
    "%m [%p]: [%l-1] db=%d,user=%u ",  # Cloud SQL
    "%m [%p]: [%l-1] db=%d,user=%u,app=%a,client=%h ",
    "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",  # pgBadger's advice
    "%t [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: [%l-1] user=%u,db=%d ",
    "%t [%p]: [%l-1] user=%u,db=%d - PG-%e ",
    "%m [%p] %q[user=%u,db=%d,app=%a] ",  # pganalyze's advice
    "%t-%c-",  # Azure
    "%m [%p] %r %a %u@%d ",
    "< %m >",  # Red Hat, once
    "%t ",
    "%m ",
)
# What is left when no prefix fits: a time, perhaps a process, and something.
_VAGUE = ("%m%i[%p]%i", "%t%i[%p]%i", "%m%i", "%t%i")
SAMPLE = 400  # lines that are looked at
LONGEST = 1000  # characters of them: the prefix is in front
ENOUGH = 0.9  # of the lines with a level word; the rest may be other programs' output

_SECONDS = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d"
_ZONE = r" (?:[A-Za-z]{1,5}(?![A-Za-z])|[+-]\d\d(?::?\d\d)?(?!\d)|<[+-]\d+>|[A-Z][a-z]+/[A-Za-z_]+)"
_KEYS = {
    "user": "u", "usr": "u", "u": "u", "db": "d", "database": "d", "d": "d", "app": "a", "a": "a",
    "appli": "a", "appname": "a", "app_name": "a", "application": "a", "application_name": "a",
    "client": "h", "host": "h", "h": "h",
    "remote": "r", "r": "r", "connection_source": "r", "pid": "p", "p": "p", "line": "l",
    "l": "l", "log_line": "l", "session": "c", "session_id": "c", "sid": "c", "xid": "x", "tx": "x",
    "trx_id": "x", "txid": "x", "tid": "x", "vxid": "v", "vtid": "v", "v": "v", "state": "e",
    "sqlstate": "e", "sql_error_code": "e", "e": "e", "code": "e", "qid": "Q", "query_id": "Q",
    "queryid": "Q", "backend": "b", "type": "b", "backend_type": "b", "tag": "i", "cmd": "i",
}  # fmt: skip
# What a piece of a prefix looks like -> its escape; tried in this order.
_LOOKS = (
    (rf"{_SECONDS}\.\d{{3}}{_ZONE}", "m"),
    (rf"{_SECONDS}{_ZONE}", "t"),
    (r"(?<![\d.])\d{10}\.\d{3}(?![\d.])", "n"),
    (r"(?<![0-9a-f.])[0-9a-f]{8}\.[0-9a-f]{1,8}(?![0-9a-f.])", "c"),
    (r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[local\]|[0-9a-f:]*::[0-9a-f:]*)\(\d*\)|\[local\](?!\w)", "r"),
    (r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", "h"),
    (r"(?<![\d/])-?\d+/\d+(?![\d/])", "v"),
)
# No letter before the word: Chinese "details" ends with the word for INFO.
_HEAD = re.compile(rf"^(.{{0,300}}?)\s?(?<![^\W\d_])(?:{EVENT_WORDS}) ?{COLON} ")
_KEY_VALUE = re.compile(
    r"(?<![\w%])(?P<key>[A-Za-z_]{1,20})(?P<is> ?= ?)"
    r"(?:\"(?P<quoted>[^\"]*)\"|(?P<value>(?:\[unknown\]|\[local\]|[^\s,;|\"\]\[])*))"
)
_USER_AT = re.compile(r"(?<![\w%])((?:\[unknown\]|[^\s@,:\[\]]+))@((?:\[unknown\]|[^\s@,:\[\]]+))")


def infer(lines: Sequence[str]) -> Prefix | None:
    """The prefix under which most of these lines can be read; None when they show none."""
    lines = [line[:LONGEST] for line in lines[:SAMPLE]]
    heads = [match.group(1) for line in lines if (match := _HEAD.match(line))]
    if not heads:
        return None
    templates = Counter(_template(head) for head in heads)
    common = [text for text, _ in templates.most_common(8)]
    common += _with_application(common)
    candidates = dict.fromkeys(["", *KNOWN, *common, *_with_q(common)])
    verbose = any("LOG:  00000: " in line for line in lines)
    for texts in (candidates, _VAGUE):
        best = max((Prefix(text, verbose) for text in texts), key=lambda p: _score(p, lines))
        if _score(best, lines)[0] >= ENOUGH * len(heads):
            return best
    return None


def _score(prefix: Prefix, lines: Sequence[str]) -> tuple[int, int, int]:
    """Lines read, fields found; of equals, the shortest text."""
    read = sum(prefix.pattern.match(line) is not None for line in lines)
    return read, len(prefix.columns), -len(prefix.text)


def _template(head: str) -> str:
    """One line's prefix with its values replaced by escapes."""
    text = head.replace("%", "%%")
    used: set[str] = set()

    def put(letter: str) -> str:
        """A second timestamp is the session's start; anything else twice is just text."""
        if letter in "mt" and used & {"m", "t"}:
            letter = "s"
        used.add(letter)
        return f"%{letter}"

    for pattern, letter in _LOOKS[:3]:
        text = re.sub(pattern, lambda _, letter=letter: put(letter), text)  # type: ignore[misc]
    # A key that is not known may have any value, which is then of no use.
    text = _KEY_VALUE.sub(lambda m: _value(m, put), text)
    for pattern, letter in _LOOKS[3:]:
        text = re.sub(pattern, lambda _, letter=letter: put(letter), text)  # type: ignore[misc]
    text = _USER_AT.sub(lambda _: f"{put('u')}@{put('d')}", text, count=1)
    text = re.sub(r"\[(\d+)(?:-(\d+))?\]", lambda m: _brackets(m, put, used), text)
    if "p" not in used:
        text = re.sub(r"(?<![%\w.])\d+(?![\w.])", lambda _: put("p"), text, count=1)
    if "e" not in used:
        text = re.sub(r"(?<![\w%])00000(?!\w)", lambda _: put("e"), text, count=1)
    return re.sub(r"(?<![%\w.])\d+(?![\w.])", lambda _: put("x"), text) + " "


def _value(match: re.Match[str], put: Callable[[str], str]) -> str:
    """key=value; what has been recognised by its looks (a time) stays."""
    if (match["quoted"] or match["value"] or "").startswith("%"):
        return match[0]
    letter = put(_KEYS.get(match["key"].lower(), "i"))
    value = letter if match["quoted"] is None else f'"{letter}"'
    return match["key"] + match["is"] + value


def _brackets(match: re.Match[str], put: Callable[[str], str], used: set[str]) -> str:
    """[1234] is the pid, [1234-1] pid and line, [1-1] after a pid line and a constant."""
    first = put("x" if "p" in used else "p") if match[2] is None or "p" not in used else put("l")
    if match[2] is None:
        return f"[{first}]"
    return f"[{first}-{put('l')}]" if first == "%p" else f"[{first}-{match[2]}]"


def _with_application(templates: Sequence[str]) -> list[str]:
    """Words between user@database and the message are the application's name, which differs from
    line to line: no template with one of them fits all, and the database is not to swallow it."""
    named = (re.sub(r"(%u@%d) [^%]*\w[^%]*$", r"\1 %a ", text) for text in templates)
    return [text for text in dict.fromkeys(named) if text not in templates and "%a" in text]


def _with_q(templates: Sequence[str]) -> list[str]:
    """Of a short template (background processes) that begins a longer one: the two with %q."""
    return [
        f"{short.rstrip()} %q{long[len(short.rstrip()) :].lstrip()}"
        for short in templates
        for long in templates
        if short != long and long.startswith(short.rstrip())
    ]
