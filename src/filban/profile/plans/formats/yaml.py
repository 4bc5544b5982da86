"""EXPLAIN (FORMAT YAML): the regular part of YAML that PostgreSQL writes, and no more.

Two spaces a level, `- ` for items, `Key: value` with a JSON string, a number or a truth value.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from filban.profile.plans.formats import DEEPEST, Properties, too_deep

_LINE = re.compile(r"(?P<indent> *)(?P<items>(?:- +)*)(?P<rest>.*)")
_PAIR = re.compile(r"(?P<key>[A-Z][\w /-]*):(?: +(?P<value>\S.*))?\s*$")


@dataclass(slots=True)
class _Open:
    """A mapping or list being filled, with the column it began at."""

    column: int
    value: Any


def read(text: str) -> list[Properties]:
    """Every plan in `text`, [] when it is not such a document. Raises UsageError (too deep)."""
    top: list[Any] = []
    reader = _Reader(top)
    for line in text.splitlines():
        if line.strip():
            reader.line(line)
    return [item for item in top if isinstance(item, dict) and isinstance(item.get("Plan"), dict)]


class _Reader:
    """Keeps the open mappings and lists, innermost last."""

    def __init__(self, top: list[Any]) -> None:
        self._open = [_Open(-1, top)]
        # a key without a value yet: (mapping, key, column); what follows deeper is its value
        self._pending: tuple[dict[str, Any], str, int] | None = None

    def line(self, line: str) -> None:
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            return
        column = len(match["indent"])
        if match["items"]:
            self._item(column)
            column += len(match["items"])
        pair = _PAIR.fullmatch(match["rest"])
        if pair is not None:
            self._pair(column, pair["key"], pair["value"])
        elif match["items"] and isinstance(self._open[-1].value, list):
            self._open[-1].value.append(scalar(match["rest"]))

    def _item(self, column: int) -> None:
        """An item begins at `column`: in the list that is open there, or in a new one."""
        if self._pending is not None and column >= self._pending[2]:
            mapping, key, _ = self._pending
            mapping[key] = []
            self._push(_Open(column, mapping[key]))
        self._pending = None
        while len(self._open) > 1 and not (
            self._open[-1].column <= column and isinstance(self._open[-1].value, list)
        ):
            self._open.pop()

    def _pair(self, column: int, key: str, value: str | None) -> None:
        mapping = self._mapping(column)
        if value is None:
            mapping[key] = {}
            self._pending = (mapping, key, column)
        else:
            mapping[key] = scalar(value)
            self._pending = None

    def _mapping(self, column: int) -> dict[str, Any]:
        """The mapping whose keys stand at `column`."""
        if self._pending is not None and column > self._pending[2]:
            mapping, key, _ = self._pending
            self._push(_Open(column, mapping[key]))
            return self._open[-1].value  # type: ignore[no-any-return]
        while len(self._open) > 1 and self._open[-1].column > column:
            self._open.pop()
        here = self._open[-1]
        if isinstance(here.value, dict):
            return here.value
        made: dict[str, Any] = {}
        here.value.append(made)
        self._push(_Open(column, made))
        return made

    def _push(self, opened: _Open) -> None:
        if len(self._open) > 2 * DEEPEST:  # a list and a mapping for each level
            raise too_deep()
        self._open.append(opened)


def scalar(text: str) -> Any:
    """A value as JSON has it (grouping sets are written as JSON lists); what is no JSON is text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str | int | float | bool | list) else text
