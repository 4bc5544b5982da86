"""EXPLAIN's default format, also with its lines broken by a terminal or a mail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from filban.profile.plans.formats import DEEPEST, MOST_NODES, Properties, too_deep, too_many
from filban.profile.plans.formats.heads import MARKS, Head, named, parse_head
from filban.profile.plans.formats.labels import take, take_summary

_SUBPLAN = re.compile(r"(?:InitPlan|SubPlan)(?: \d+(?: \(returns [^)]*\))?)?|CTE \S.*")
_WORKER = re.compile(r"Worker (?P<number>\d+): +(?P<rest>.*)")
# What a property's line can begin with, as PostgreSQL 10 to 18 write them (explain.c).
_LABEL = re.compile(
    r"(?:Output|Filter|Index Cond|Recheck Cond|Hash Cond|Merge Cond|Join Filter|One-Time Filter"
    r"|TID Cond|Order By|Run Condition|Sort Key|Presorted Key|Group Key|Hash Key|Group|Cache Key"
    r"|Cache Mode|Sort Method|Full-sort Groups|Pre-sorted Groups|Sort Methods?|Buckets|Batches"
    r"|Planned Partitions|Hits|Rows Removed by [\w -]+|Heap Fetches|Heap Blocks|Exact Heap Blocks"
    r"|Lossy Heap Blocks|Index Searches|Workers Planned|Workers Launched|Single Copy|Params"
    r"|Params Evaluated|Inner Unique|Buffers|I/O Timings|WAL|Subplans Removed|Function Call"
    r"|Table Function Call|Conflict [\w ]+|Tuples Inserted|Conflicting Tuples|Tuples|Remote SQL"
    r"|Relations|Sampling|Repeatable Seed|Storage|Window|Disabled|Async Capable|Foreign File"
    r"|Foreign File Size|Foreign Program|Batch Size|Worker \d+|Replaces|Estimates"
    r"|Planning|Planning [Tt]ime|Execution [Tt]ime|Total runtime|JIT|Functions|Options|Timing"
    r"|Memory|Serialization|Settings|Query Identifier|Query Text|Query Parameters"
    r"|Trigger [^:]*|Generic Plan|Output|Peak Memory Usage)(?:\s+\(.*\))?:(?=\s|$)"
)
_MEASURES = re.compile(r"\([a-z][^()]*$")
_MEASURES_LENGTH = 200  # "(actual time=… rows=… loops=…)" is shorter
_LABEL_LENGTH = 300  # keeps a line of a million spaces from being tried in every way
_SUMMARY = re.compile(
    r"(?:Planning|Execution|Planning [Tt]ime|Execution [Tt]ime|Total runtime|JIT|Settings"
    r"|Query Identifier|Query Text|Query Parameters|Serialization|Trigger [^:]*):"
)


@dataclass(slots=True)
class _Level:
    """A node being filled; column: where its arrow stands."""

    column: int
    node: Properties


def read(text: str) -> list[Properties]:
    """The plans in `text`, [] when no line of it is a node. Raises UsageError (too deep)."""
    plans: list[Properties] = []
    count = 0
    reader: _Reader | None = None
    before: Properties = {}
    for column, line in _logical(text.splitlines()):
        head = parse_head(line)
        count += head is not None
        if count > MOST_NODES:
            raise too_many()
        if head is not None and (reader is None or not reader.fits(column, line)):
            reader = _Reader(head, column, before)
            plans.append(reader.document)
            before = {}
        elif reader is None:
            take_summary(line, before)
        elif head is not None:
            reader.node(head, column)
        else:
            reader.line(line, column)
    return plans


def _logical(lines: list[str]) -> Iterator[tuple[int, str]]:
    """(column, text) of each line, broken ones put together again."""
    width = max((len(line) for line in lines), default=0)
    current: list[str] = []
    column = 0
    full = False
    for line in lines:
        stripped = line.strip()
        if not stripped:
            continue
        if not current or _begins(stripped, current[0]):
            if current:
                yield column, "".join(current)
            column, current = len(line) - len(line.lstrip()), [stripped]
        else:
            current.append(_rest(current, line, full))
        full = len(line) == width  # broken by its width in the middle of a word
    if current:
        yield column, "".join(current)


def _begins(text: str, before: str) -> bool:
    if text.startswith("->") or _LABEL.match(text[:_LABEL_LENGTH]) or _SUBPLAN.fullmatch(text):
        return True
    if before.startswith("->") or "(cost=" in before:
        return "(cost=" in text and parse_head(before) is not None and _known(text, before)
    return any(mark in text for mark in MARKS) and _known(text, before)


def _known(text: str, before: str) -> bool:
    """A node's line; after a name without its costs, only with a name that nodes have."""
    if parse_head(text) is None:
        return False
    measured = any(mark in before for mark in MARKS) or parse_head(before) is None
    return measured or named(text.partition("(")[0].strip()) is not None


def _rest(current: list[str], line: str, full: bool) -> str:
    """What a broken line goes on with: a space lost at the break is only missed between words."""
    if current[0].startswith("Query Text:"):
        return "\n" + line.strip()
    in_measures = _MEASURES.search("".join(current[-8:])[-_MEASURES_LENGTH:])
    if full or (in_measures and not _LABEL.match(current[0][:_LABEL_LENGTH])):
        return line
    return " " + line.strip()


class _Reader:
    """Builds one document from the lines of one plan."""

    def __init__(self, head: Head, column: int, before: Properties) -> None:
        root = head.properties
        self.document: Properties = {"Plan": root, **before}
        self._levels = [_Level(column, root)]
        self._subplan: tuple[int, str] | None = None
        self._section = ""  # "Planning" or "JIT", whose lines follow

    def fits(self, column: int, line: str) -> bool:
        """Whether a node's line belongs to this plan: it has an arrow, or stands further in."""
        return line.startswith("->") or column > self._levels[0].column

    def node(self, head: Head, column: int) -> None:
        while len(self._levels) > 1 and self._levels[-1].column >= column:
            self._levels.pop()
        if len(self._levels) > DEEPEST:
            raise too_deep()
        above = self._levels[-1].node
        children = above.setdefault("Plans", [])
        properties = head.properties
        # before 9.1 several InitPlans stood below one line
        if self._subplan is not None and self._levels[-1].column < self._subplan[0] < column:
            name = self._subplan[1]
            properties["Subplan Name"] = name
            kind = "SubPlan" if name.startswith("SubPlan") else "InitPlan"
            properties["Parent Relationship"] = kind
        else:
            properties["Parent Relationship"] = _relationship(above, children)
        children.append(properties)
        self._levels.append(_Level(column, properties))

    def line(self, line: str, column: int) -> None:
        if _SUBPLAN.fullmatch(line):
            self._subplan = (column, line)
            while len(self._levels) > 1 and self._levels[-1].column >= column:
                self._levels.pop()
            return
        if _SUMMARY.match(line) and column <= self._levels[0].column + 1:
            self._section = line.rstrip(": ").split(" (")[0] if line.endswith(":") else ""
            take_summary(line, self.document)
        elif self._section in ("Planning", "JIT"):
            take(line, self.document.setdefault(self._section, {}))
        else:
            self._property(line, column)

    def _property(self, line: str, column: int) -> None:
        level = next((x for x in reversed(self._levels) if x.column < column), self._levels[-1])
        worker = _WORKER.fullmatch(line)
        target: dict[str, Any] = level.node
        if worker is not None:
            workers = level.node.setdefault("Workers", [])
            number = int(worker["number"][:4])
            known = next((w for w in workers if w["Worker Number"] == number), None)
            if known is None:
                known = {"Worker Number": number}
                workers.append(known)
            target, line = known, worker["rest"]
        take(line, target)


def _relationship(above: Properties, children: list[Properties]) -> str:
    if above["Node Type"] in ("Append", "Merge Append", "BitmapAnd", "BitmapOr"):
        return "Member"
    if above["Node Type"] == "Subquery Scan":
        return "Subquery"
    ordinary = any(c.get("Parent Relationship") in ("Outer", "Inner") for c in children)
    return "Inner" if ordinary else "Outer"
