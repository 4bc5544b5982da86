"""Read a plan, and derive from it the index that would have spared its sequential scan.

The rule is the textbook's: columns compared for equality first, then one that is compared by a
range or that the result is sorted by (Winand, "SQL Performance Explained", 2012, chapters 2 and 6).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from filban.flows.demo.news.traffic import Arguments, Asked

Node = dict[str, Any]
# VERBOSE qualifies every column with its table's alias and prints the query's id (14+).
PLAN = "EXPLAIN (VERBOSE, FORMAT JSON) "
EXECUTE = "EXPLAIN (ANALYZE, BUFFERS, VERBOSE, TIMING OFF, FORMAT JSON) "

_LITERAL = re.compile(r"'(?:[^']|'')*'")
_COLUMN = r'(?P<alias>"(?:[^"]|"")+"|\w+)\.(?P<column>"(?:[^"]|"")+"|\w+)'
# A column against a constant, as ruleutils prints it: `(a.b = ''::text)`, `((a.b)::text = ANY (''…`
_TERM = re.compile(
    rf"(?<![^\s(])\(\(?{_COLUMN}\)?(?:::[\w ]+)? "
    r"(?P<op>=|<=|>=|<|>) (?:ANY \()?[(]?(?:''|\$\d+|-?\d)"
)
_SORT_KEY = re.compile(rf"{_COLUMN}(?P<down> DESC)?(?P<nulls> NULLS \w+)?")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index that a plan asks for. keys: (column, "" or " DESC"), the order of the index."""

    schema: str
    table: str
    keys: tuple[tuple[str, str], ...]
    filter_text: str


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution by EXPLAIN ANALYZE: milliseconds of planning and executing on the server, and
    blocks touched (hit or read)."""

    plan: Node
    milliseconds: float
    blocks: int


async def query_id(connection: Any, asked: Asked) -> int:
    """The id that pg_stat_statements keeps a statement under, asked of the server itself."""
    answer = await _explain(connection, PLAN, asked.text, asked.arguments[0])
    return int(answer["Query Identifier"])


async def planned(connection: Any, asked: Asked) -> Node:
    """The plan for the first arguments; nothing is executed."""
    answer = await _explain(connection, PLAN, asked.text, asked.arguments[0])
    plan: Node = answer["Plan"]
    return plan


async def executed(connection: Any, asked: Asked, arguments: Arguments) -> Execution:
    """Execute a reading statement under EXPLAIN ANALYZE."""
    answer = await _explain(connection, EXECUTE, asked.text, arguments)
    plan = answer["Plan"]
    blocks = plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0)
    return Execution(plan, answer["Planning Time"] + answer["Execution Time"], blocks)


async def _explain(connection: Any, how: str, text: str, arguments: Arguments) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await connection.fetchval(how + text, *arguments))[0]
    return answer


def nodes(plan: Node, above: tuple[Node, ...] = ()) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """Every node with those above it, the nearest last."""
    yield plan, above
    for child in plan.get("Plans", ()):
        yield from nodes(child, (*above, plan))


def writes(plan: Node) -> bool:
    """Whether executing it would change something."""
    return any(node["Node Type"] in ("ModifyTable", "LockRows") for node, _ in nodes(plan))


def scans(plan: Node) -> list[str]:
    """How each table is read: "Seq Scan on articles", "Index Scan using articles_pkey"."""
    return [_scan(node) for node, _ in nodes(plan) if "Relation Name" in node or _named(node)]


def _named(node: Node) -> bool:
    return "Index Name" in node


def _scan(node: Node) -> str:
    how = ("Parallel " if node.get("Parallel Aware") else "") + str(node["Node Type"])
    if _named(node):
        return f"{how} using {node['Index Name']}"
    return f"{how} on {node['Relation Name']}"


def uses_index(plan: Node, name: str) -> bool:
    return any(node.get("Index Name") == name for node, _ in nodes(plan))


def candidate(plan: Node) -> Candidate | None:
    """The index for the dearest filtered sequential scan, or None where the rule has none."""
    filtered = [
        (node, above)
        for node, above in nodes(plan)
        if node["Node Type"] == "Seq Scan" and "Filter" in node
    ]
    for node, above in sorted(filtered, key=lambda found: -found[0]["Total Cost"]):
        keys = _keys(node, above)
        if keys:
            return Candidate(node["Schema"], node["Relation Name"], keys, node["Filter"])
    return None


def _keys(scan: Node, above: tuple[Node, ...]) -> tuple[tuple[str, str], ...]:
    equal, ranged = compared(scan["Filter"], scan["Alias"])
    order = _order(scan["Alias"], above)
    keys = dict.fromkeys(equal, "")
    if order and (not ranged or order[0][0] in ranged):
        keys |= {column: down for column, down in order if column not in keys}
    elif ranged:
        keys.setdefault(ranged[0], "")
    # An order alone would be a scan of the whole index: without a comparison there is no candidate.
    return tuple(keys.items()) if equal or ranged else ()


def compared(condition: str, alias: str) -> tuple[list[str], list[str]]:
    """Columns compared with constants for equality, and by a range, in the order of the filter.

    A condition with OR or NOT is no conjunction: none of its columns can be relied on.
    """
    bare = _LITERAL.sub("''", condition)
    if " OR " in bare or "NOT " in bare:
        return [], []
    terms = [m for m in _TERM.finditer(bare) if unquote(m["alias"]) == alias]
    equal = [unquote(m["column"]) for m in terms if m["op"] == "="]
    ranged = [unquote(m["column"]) for m in terms if m["op"] != "="]
    return list(dict.fromkeys(equal)), list(dict.fromkeys(ranged))


def _order(alias: str, above: tuple[Node, ...]) -> list[tuple[str, str]]:
    """What the Sort above asks for, if it is this table's own columns and no join is between."""
    for node in reversed(above):
        if node["Node Type"] == "Sort":
            keys = [_SORT_KEY.fullmatch(text) for text in node["Sort Key"]]
            if all(k and unquote(k["alias"]) == alias and not k["nulls"] for k in keys):
                return [(unquote(k["column"]), k["down"] or "") for k in keys if k]
            return []
        if node["Node Type"] not in ("Gather", "Gather Merge"):
            return []
    return []


def unquote(identifier: str) -> str:
    """An identifier as the catalogue has it."""
    if identifier.startswith('"'):
        return identifier[1:-1].replace('""', '"')
    return identifier
