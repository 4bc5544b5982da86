"""EXPLAIN (FORMAT JSON), also inside what clients and logs wrap around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from filban.profile.plans.formats import Properties, too_deep

_START = re.compile(r"(?m)^[ \t]*[\[{]")
_CANDIDATES = 20  # a text has prose before its plan, not hundreds of other documents


def read(text: str) -> list[Properties]:
    """Every plan in `text`, [] when there is none. Raises UsageError (too deep)."""
    decoder = json.JSONDecoder()
    position = 0
    for _ in range(_CANDIDATES):
        start = _START.search(text, position)
        if start is None:
            break
        try:
            value, _end = decoder.raw_decode(text, start.end() - 1)
        except RecursionError:
            raise too_deep() from None
        except ValueError:
            position = start.end()
            continue
        found = list(documents(value))
        if found:
            return found
        position = max(_end, start.end())
    return []


def documents(value: Any) -> Iterator[Properties]:
    """The objects with a "Plan" in a document: bare, in a list, or under a column's name.

    A driver that prints a row gives `[{"QUERY PLAN": [{"Plan": …}]}]`; a bare node is a plan too.
    """
    waiting = [value]
    for _ in range(1000):  # levels and rows of wrapping; what is more is not a wrapped plan
        if not waiting:
            return
        item = waiting.pop(0)
        if isinstance(item, list):
            waiting = [*item, *waiting]
        elif isinstance(item, dict) and isinstance(item.get("Plan"), dict):
            yield item
        elif isinstance(item, dict) and "Node Type" in item:
            yield {"Plan": item}
        elif isinstance(item, dict) and len(item) == 1:
            waiting = [*item.values(), *waiting]
        elif isinstance(item, str) and item.lstrip()[:1] in ("[", "{"):
            waiting = [_decoded(item), *waiting]


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
