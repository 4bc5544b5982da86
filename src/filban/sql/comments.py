"""sqlcommenter labels out of a statement's text: where in the application it comes from.

    labels("SELECT 1 /*application='khabar',route='GET%20%2Farticles'*/")
    {"application": "khabar", "route": "GET /articles"}

The format: https://google.github.io/sqlcommenter/spec/. Comments of other kinds are no labels.
Whatever the text, time and memory are bounded by its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

# Of one comment and of one text: what a tracing library appends has fewer than ten pairs; a text
# of megabytes is data.
MAX_LABELS = 32
MAX_VALUE = 1_000
_MAX_COMMENT = 16_000
_MAX_COMMENTS = 4

_PAIR = r"\s*([^\s='\",*/]{1,200})\s*=\s*'((?:[^'\\]|\\.|'')*)'\s*"
_SPACE = re.compile(r"\s*")
_ONE = re.compile(_PAIR, re.DOTALL)
_ESCAPED = re.compile(r"\\(.)|''", re.DOTALL)

# The names that libraries give to the place in the application, the most telling first: the
# specification's, Rails' query tags, Django's and Sequelize's.
_ROUTE = ("route", "endpoint", "controller", "action", "job", "task")
_SERVICE = ("application", "app", "service", "service_name", "framework")
NAMES = (*_ROUTE, *_SERVICE)  # of the labels that `route` and `service` look at


def labels(sql: str) -> dict[str, str]:
    """Every label, decoded; {} if there is none. Comments at the end of the text and at its
    beginning, where libraries put them: what stands between may be part of a literal."""
    found: dict[str, str] = {}
    for comment in (*_leading(sql), *_trailing(sql)):
        found |= _pairs(comment)
    return dict(list(found.items())[:MAX_LABELS])


def _leading(sql: str) -> Iterator[str]:
    position = _after_space(sql, 0)
    for _ in range(_MAX_COMMENTS):
        stop = sql.find("*/", position + 2, position + _MAX_COMMENT)
        if not sql.startswith("/*", position) or stop < 0:
            return
        yield sql[position + 2 : stop]
        position = _after_space(sql, stop + 2)


def _after_space(sql: str, position: int) -> int:
    found = _SPACE.match(sql, position)
    return position if found is None else found.end()


def _trailing(sql: str) -> Iterator[str]:
    rest = sql[-_MAX_COMMENTS * _MAX_COMMENT :]
    for _ in range(_MAX_COMMENTS):
        rest = rest.rstrip("; \t\r\n")
        start = rest.rfind("/*", max(0, len(rest) - _MAX_COMMENT))
        if not rest.endswith("*/") or start < 0 or start + 4 > len(rest):
            return
        yield rest[start + 2 : -2]
        rest = rest[:start]


def route(found: Mapping[str, str]) -> str | None:
    """The place in the application that these labels name, or None."""
    if "controller" in found and "action" in found and "route" not in found:
        return f"{found['controller']}#{found['action']}"
    return next((found[name] for name in _ROUTE if found.get(name)), None)


def service(found: Mapping[str, str]) -> str | None:
    """The application that these labels name, or None."""
    return next((found[name] for name in _SERVICE if found.get(name)), None)


def _pairs(comment: str) -> dict[str, str]:
    """The pairs of a comment that has nothing but pairs."""
    pairs: dict[str, str] = {}
    position = 0
    while match := _ONE.match(comment, position):
        pairs[unquote(match[1])] = unquote(_ESCAPED.sub(_plain, match[2]))[:MAX_VALUE]
        position = match.end()
        if position == len(comment):
            return pairs
        if comment[position] != ",":
            break
        position += 1
    return {}


def _plain(match: re.Match[str]) -> str:
    return match[1] if match[1] is not None else "'"
