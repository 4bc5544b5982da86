"""EXPLAIN's properties -> `Plan`: what each node cost without its children.

Two things make that more than a subtraction. In a parallel section times are averages over loops of
several processes; and an InitPlan or CTE hangs below one node while another one waits for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from filban.errors import UsageError
from filban.profile.plans.formats import DEEPEST, MOST_NODES, Properties, too_deep, too_many
from filban.profile.plans.model import LARGEST, Buffers, Jit, Node, Plan, Trigger
from filban.profile.plans.titles import title

MOST_SUBPLANS = 500
_GATHERS = ("Gather", "Gather Merge")


def build(document: Properties, *, source: str = "") -> Plan:
    """One plan. Raises UsageError (no node, too deep, too many nodes)."""
    drafts = _drafts(document.get("Plan"))
    _charge(drafts)
    nodes = tuple(_node(number, draft, drafts) for number, draft in enumerate(drafts))
    jit = document.get("JIT")
    return Plan(
        nodes=nodes,
        planning_ms=_number(document.get("Planning Time")),
        execution_ms=_number(document.get("Execution Time")),
        triggers=tuple(_trigger(t) for t in _list(document.get("Triggers")) if isinstance(t, dict)),
        jit=_jit(jit) if isinstance(jit, dict) else None,
        settings=_settings(document.get("Settings")),
        query=_text(document.get("Query Text")),
        query_id=_query_id(document.get("Query Identifier")),
        format=source,
    )


@dataclass(slots=True)
class _Draft:
    """A node on the way. pays: drafts whose time and buffers are part of this one's."""

    properties: Properties
    parent: int | None
    depth: int
    participants: float = 1.0
    children: list[int] = field(default_factory=list)
    pays: list[tuple[int, float]] = field(default_factory=list)

    def number(self, key: str) -> float | None:
        return _number(self.properties.get(key))

    def inclusive(self) -> float | None:
        each, loops = self.number("Actual Total Time"), self.number("Actual Loops")
        return None if each is None or loops is None else each * loops / self.participants


def _drafts(root: Any) -> list[_Draft]:
    """All nodes in the order of EXPLAIN's text."""
    drafts: list[_Draft] = []
    waiting: list[tuple[Any, int | None, int]] = [(root, None, 0)]
    while waiting:
        properties, parent, depth = waiting.pop()
        if not isinstance(properties, dict) or not isinstance(properties.get("Node Type"), str):
            raise UsageError(
                "a node of this plan has no type", hint="is the text cut off, or edited by hand?"
            )
        if depth > DEEPEST:
            raise too_deep()
        if len(drafts) >= MOST_NODES:
            raise too_many()
        number = len(drafts)
        draft = _Draft(properties, parent, depth)
        drafts.append(draft)
        if parent is not None:
            drafts[parent].children.append(number)
            draft.participants = _participants(draft, drafts[parent])
        below = _list(properties.get("Plans"))
        waiting += [(child, number, depth + 1) for child in reversed(below)]
    return drafts


def _participants(draft: _Draft, above: _Draft) -> float:
    """Processes side by side. The node below a Gather runs once in each: its loops count them."""
    if above.properties["Node Type"] not in _GATHERS or _subplan(draft):
        return above.participants
    loops, outer = draft.number("Actual Loops"), above.number("Actual Loops")
    if not loops or not outer:
        return above.participants
    return max(1.0, above.participants * loops / outer)


def _subplan(draft: _Draft) -> str:
    return _text(draft.properties.get("Subplan Name"))


def _charge(drafts: Sequence[_Draft]) -> None:
    """Say which node's measures contain which others'."""
    texts: dict[int, str] = {}
    # each is looked for in every node: a damaged text must not take minutes
    few = sum(bool(_subplan(draft)) for draft in drafts) <= MOST_SUBPLANS
    for number, draft in enumerate(drafts):
        if draft.parent is None:
            continue
        name = _subplan(draft)
        readers = _readers(number, name, drafts, texts) if name and few else []
        for reader, share in readers or [(draft.parent, 1.0)]:
            drafts[reader].pays.append((number, share))


def _readers(
    number: int, name: str, drafts: Sequence[_Draft], texts: dict[int, str]
) -> list[tuple[int, float]]:
    """The nodes that waited for a CTE or an InitPlan, with their shares of it; [] when unknown."""
    if name.startswith("CTE "):
        cte = name.removeprefix("CTE ")
        found = [
            i
            for i, d in enumerate(drafts)
            if d.properties.get("CTE Name") == cte and d.properties["Node Type"] == "CTE Scan"
        ]
        weights = [drafts[i].inclusive() or 0.0 for i in found]
        total = sum(weights)
        if total:
            return [(i, weight / total) for i, weight in zip(found, weights, strict=True)]
        return [(found[0], 1.0)] if found else []
    reference = _reference(name)
    if reference is None:
        return []
    below = _subtree(number, drafts)
    owner = drafts[number].parent or 0
    for i in _subtree(owner, drafts):
        if i not in below and reference.search(_expressions(i, drafts, texts)):
            return [(i, 1.0)]  # the first that needs the value computes it
    return []


def _reference(name: str) -> re.Pattern[str] | None:
    """How other nodes name an InitPlan's value: `$0` before 17, `(InitPlan 1).col1` since."""
    match = re.match(r"InitPlan (\d{1,6})(?: \(returns ([^)]*)\))?", name)
    if match is None:
        return None
    parameters = [re.escape(p.strip()) for p in (match[2] or "").split(",") if p.strip()]
    names = [rf"{p}(?!\d)" for p in parameters[:50]]
    return re.compile("|".join([*names, rf"\(InitPlan {match[1]}\)", rf"InitPlan {match[1]}\b"]))


def _subtree(number: int, drafts: Sequence[_Draft]) -> range:
    """The node and everything below it: nodes are numbered in preorder."""
    end = number + 1
    while end < len(drafts) and drafts[end].depth > drafts[number].depth:
        end += 1
    return range(number, end)


def _expressions(number: int, drafts: Sequence[_Draft], texts: dict[int, str]) -> str:
    if number not in texts:
        properties = drafts[number].properties
        texts[number] = "\n".join(
            _text(value)
            for key, value in properties.items()
            if key not in ("Plans", "Subplan Name") and isinstance(value, str | list)
        )
    return texts[number]


def _node(number: int, draft: _Draft, drafts: Sequence[_Draft]) -> Node:
    p = draft.properties
    inclusive = draft.inclusive()
    buffers = _buffers(p)
    below_ms = sum((drafts[i].inclusive() or 0.0) * share for i, share in draft.pays)
    below = sum(
        (_scaled(_buffers(drafts[i].properties) or Buffers(), share) for i, share in draft.pays),
        Buffers(),
    )
    return Node(
        number=number,
        parent=draft.parent,
        depth=draft.depth,
        kind=_text(p["Node Type"]),
        title=title(p),
        relationship=_text(p.get("Parent Relationship")),
        subplan=_subplan(draft),
        schema=_text(p.get("Schema")),
        relation=_text(p.get("Relation Name")),
        alias=_text(p.get("Alias")),
        index=_text(p.get("Index Name")),
        startup_cost=draft.number("Startup Cost"),
        total_cost=draft.number("Total Cost"),
        plan_rows=draft.number("Plan Rows"),
        width=_whole(draft.number("Plan Width")),
        rows=draft.number("Actual Rows"),
        loops=draft.number("Actual Loops"),
        participants=draft.participants,
        inclusive_ms=inclusive,
        exclusive_ms=None if inclusive is None else max(0.0, inclusive - below_ms),
        buffers=buffers,
        own=None if buffers is None else buffers.without(below),
        children=tuple(draft.children),
        properties={key: value for key, value in p.items() if key != "Plans"},
    )


_BLOCKS = {
    f"{kind} {what} Blocks": f"{kind}_{what}".lower()
    for kind in ("Shared", "Local", "Temp")
    for what in ("Hit", "Read", "Dirtied", "Written")
    if kind != "Temp" or what in ("Read", "Written")
}


def _buffers(properties: Mapping[str, Any]) -> Buffers | None:
    """None when EXPLAIN did not count them."""
    if not any(key in properties for key in _BLOCKS):
        return None
    blocks = {name: _whole(_number(properties.get(key))) or 0 for key, name in _BLOCKS.items()}
    return replace(
        Buffers(**blocks),
        read_ms=_io(properties, "Read"),
        write_ms=_io(properties, "Write"),
    )


def _io(properties: Mapping[str, Any], what: str) -> float:
    """14 to 16 write "I/O Read Time", 17 takes tables, temporary ones and files apart."""
    keys = [f"{kind}I/O {what} Time" for kind in ("", "Shared ", "Local ", "Temp ")]
    return sum(_number(properties.get(key)) or 0.0 for key in keys)


def _scaled(buffers: Buffers, share: float) -> Buffers:
    if share == 1.0:
        return buffers
    blocks = {name: round(getattr(buffers, name) * share) for name in _BLOCKS.values()}
    return Buffers(**blocks, read_ms=buffers.read_ms * share, write_ms=buffers.write_ms * share)


def _trigger(t: Mapping[str, Any]) -> Trigger:
    return Trigger(
        name=_text(t.get("Trigger Name")),
        constraint=_text(t.get("Constraint Name")),
        relation=_text(t.get("Relation")),
        calls=_number(t.get("Calls")) or 0.0,
        ms=_number(t.get("Time")),
    )


def _jit(jit: Mapping[str, Any]) -> Jit:
    timing = jit.get("Timing")
    total = timing.get("Total") if isinstance(timing, dict) else None
    return Jit(functions=_whole(_number(jit.get("Functions"))) or 0, total_ms=_number(total))


def _settings(value: Any) -> dict[str, str]:
    return {str(k): _text(v) for k, v in value.items()} if isinstance(value, dict) else {}


def _query_id(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "" if value is None or isinstance(value, dict) else str(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not abs(value) < LARGEST or math.isnan(value):  # before float(): an int may be too large
        return None
    return float(value)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
