"""EXPLAIN (FORMAT XML), read as a stream: only the plan is built, no entity is expanded."""

from __future__ import annotations

from typing import Any
from xml.parsers import expat

from filban.errors import UsageError
from filban.profile.plans.formats import DEEPEST, Properties, too_deep
from filban.profile.plans.formats.yaml import scalar

# Elements that hold a list even when only one thing, or nothing, is in them.
_LISTS = frozenset({"Plans", "Triggers", "Workers", "Target Tables", "Grouping Sets"})
# XML names have no "/" and no parentheses; a hyphen is a space except in these.
_NAMES = {
    "Full sort Groups": "Full-sort Groups",
    "Pre sorted Groups": "Pre-sorted Groups",
}


def read(text: str) -> list[Properties]:
    """Every plan in `text`. Raises UsageError (no well-formed XML, entities, too deep)."""
    start = text.find("<explain")
    end = text.rfind("</explain>")
    if start < 0 or end < start:
        raise UsageError("this XML has no <explain> element", hint="EXPLAIN (FORMAT XML) writes it")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.EntityDeclHandler = _refuse
    try:
        # as str, so that no declaration of an encoding is believed
        parser.Parse(text[start : end + len("</explain>")], True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise UsageError(f"the plan is not well-formed XML: {error}") from error
    return [query for query in reader.queries if isinstance(query.get("Plan"), dict)]


def _refuse(*_: Any) -> None:
    raise UsageError("the XML declares entities, which EXPLAIN never does")


class _Reader:
    """Turns elements into mappings, lists and scalars as they end."""

    def __init__(self) -> None:
        self.queries: list[Properties] = []
        self._open: list[tuple[str, list[tuple[str, Any]], list[str]]] = []

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        if len(self._open) > 2 * DEEPEST:  # <Plans> and <Plan> for each level
            raise too_deep()
        name = tag.replace("-", " ").replace("I O ", "I/O ")
        self._open.append((_NAMES.get(name, name), [], []))

    def data(self, text: str) -> None:
        if self._open:
            self._open[-1][2].append(text)

    def end(self, _tag: str) -> None:
        name, children, texts = self._open.pop()
        value = _value(name, children, "".join(texts))
        if name == "Query" and isinstance(value, dict):
            self.queries.append(value)
        elif self._open:
            self._open[-1][1].append((name, value))


def _value(name: str, children: list[tuple[str, Any]], text: str) -> Any:
    if name in _LISTS or (children and children[0][0] == "Item"):
        return [value for _, value in children]
    if children:
        return dict(children)
    stripped = text.strip()
    # a condition such as "true" or a table named 1 is text wherever it is asked for as text
    return scalar(stripped) if not stripped.startswith('"') else stripped
