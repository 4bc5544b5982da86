"""The line of a node in EXPLAIN's text: its name taken apart into the JSON's properties."""

from __future__ import annotations

import re
from dataclasses import dataclass

from filban.profile.plans.formats import Properties

_NUMBER = r"[\d.]{1,30}"
# A terminal that broke the line may have swallowed a space: none is asked for between the parts.
_COST = re.compile(
    rf"\(cost=(?P<startup>{_NUMBER}?)\.\.(?P<total>{_NUMBER}) *rows=(?P<rows>\d{{1,30}}) *"
    r"width=(?P<width>\d{1,10})\)"
)
_ACTUAL = re.compile(
    rf"\((?:actual *)?(?:time=(?P<first>{_NUMBER}?)\.\.(?P<last>{_NUMBER}) *)?"
    rf"rows=(?P<rows>{_NUMBER}) *loops=(?P<loops>\d{{1,20}})\)"
)
_NEVER = re.compile(r"\(never *executed\)")

# Node types that read something named: "… using INDEX on TABLE ALIAS".
_SCANS = (
    "Seq Scan", "Sample Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan",
    "Bitmap Index Scan", "Tid Scan", "Tid Range Scan", "Subquery Scan", "Function Scan",
    "Table Function Scan", "Values Scan", "CTE Scan", "Named Tuplestore Scan", "WorkTable Scan",
    "Foreign Scan", "Custom Scan",
)  # fmt: skip
_OTHERS = (
    "Result", "ProjectSet", "ModifyTable", "Append", "Merge Append", "Recursive Union",
    "BitmapAnd", "BitmapOr", "Nested Loop", "Merge Join", "Hash Join", "Gather", "Gather Merge",
    "Materialize", "Memoize", "Sort", "Incremental Sort", "Group", "Aggregate", "WindowAgg",
    "Unique", "SetOp", "LockRows", "Limit", "Hash",
)  # fmt: skip
_AGGREGATES = {
    "Aggregate": "Plain", "GroupAggregate": "Sorted", "HashAggregate": "Hashed",
    "MixedAggregate": "Mixed",
}  # fmt: skip
_JOIN = re.compile(
    r"(?P<how>Nested Loop|Hash|Merge) (?P<type>Left|Right|Full|Semi|Anti|Right Semi|Right Anti)"
    r" Join|(?P<loop>Nested Loop)(?: (?P<looptype>Left|Right|Full|Semi|Anti)(?: Join)?)?"
)
_MODIFY = re.compile(r"(?:Foreign )?(?P<operation>Insert|Update|Delete|Merge) on (?P<rest>.+)")
_SCAN = re.compile(
    r"(?P<kind>" + "|".join(_SCANS) + r")(?P<backward> Backward)?(?: \((?P<provider>[^)]*)\))?"
    r"(?: using (?P<index>\"(?:[^\"]|\"\")+\"|\S+))?(?: on (?P<rest>.+))?"
)
_NAME = r'(?:"(?:[^"]|"")+"|[^\s."]+)'
_RELATION = re.compile(rf"(?:(?P<schema>{_NAME})\.)?(?P<name>{_NAME})(?: (?P<alias>{_NAME}))?")
_NAME_LIMIT = 1000  # identifiers are 63 bytes; a longer name is no node


@dataclass(frozen=True, slots=True)
class Head:
    properties: Properties


def parse_head(line: str) -> Head | None:
    """The node that a line (stripped) is about; None when it is not a node's."""
    text = line.removeprefix("->").lstrip()
    cut = min((at for at in (text.find(mark) for mark in MARKS) if at >= 0), default=-1)
    name = (text[:cut] if cut >= 0 else text).strip()
    if not name or len(name) > _NAME_LIMIT:
        return None
    properties = named(name)
    if properties is None:
        if cut < 0:
            return None
        properties = {"Node Type": name}
    if cut >= 0 and not _measures(text[cut:], properties):
        return None
    return Head(properties)


MARKS = ("(cost=", "(actual", "(never")


def _measures(text: str, into: Properties) -> bool:
    cost = _COST.search(text)
    if cost is not None:
        into["Startup Cost"] = float_of(cost["startup"])
        into["Total Cost"] = float_of(cost["total"])
        into["Plan Rows"] = float_of(cost["rows"])
        into["Plan Width"] = float_of(cost["width"])
    actual = _ACTUAL.search(text, cost.end() if cost else 0)
    if actual is not None:
        if actual["last"] is not None:
            into["Actual Startup Time"] = float_of(actual["first"])
            into["Actual Total Time"] = float_of(actual["last"])
        into["Actual Rows"] = float_of(actual["rows"])
        into["Actual Loops"] = float_of(actual["loops"])
    elif _NEVER.search(text):
        into |= {"Actual Rows": 0, "Actual Loops": 0}
    return "Plan Rows" in into or "Actual Rows" in into


def float_of(text: str) -> float:
    """A number, 0 for what only looked like one ("1.2.3")."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def named(name: str) -> Properties | None:
    """Node Type and what the name tells besides; None for a name that no node has."""
    found: Properties = {}
    for word, key in (("Async ", "Async Capable"), ("Parallel ", "Parallel Aware")):
        if name.startswith(word):
            found[key] = True
            name = name.removeprefix(word)
    for mode in ("Partial", "Finalize"):
        if name.startswith(f"{mode} ") and name.endswith(("Aggregate", "Group")):
            found["Partial Mode"] = mode
            name = name.removeprefix(f"{mode} ")
    plain = _plain(name)
    if plain is None:
        return None
    return {**plain, **found}


def _plain(name: str) -> Properties | None:
    if name in _AGGREGATES:
        return {"Node Type": "Aggregate", "Strategy": _AGGREGATES[name]}
    if name in _OTHERS:
        return {"Node Type": name}
    if name.startswith(("SetOp ", "HashSetOp ")):
        strategy = "Hashed" if name.startswith("Hash") else "Sorted"
        return {"Node Type": "SetOp", "Strategy": strategy, "Command": name.split(" ", 1)[1]}
    modify = _MODIFY.fullmatch(name)
    if modify is not None:
        operation = {"Node Type": "ModifyTable", "Operation": modify["operation"]}
        return operation | _relation(modify["rest"])
    join = _JOIN.fullmatch(name)
    if join is not None:
        how = join["how"] or join["loop"]
        kind = how if how == "Nested Loop" else f"{how} Join"
        return {"Node Type": kind, "Join Type": join["type"] or join["looptype"] or "Inner"}
    return _scan(name)


def _scan(name: str) -> Properties | None:
    scan = _SCAN.fullmatch(name)
    if scan is None:
        return None
    found: Properties = {"Node Type": scan["kind"]}
    if scan["backward"]:
        found["Scan Direction"] = "Backward"
    if scan["index"]:
        found["Index Name"] = unquote(scan["index"])
    if scan["rest"]:
        if scan["kind"] == "Bitmap Index Scan":
            found["Index Name"] = unquote(scan["rest"])
        elif scan["kind"] in ("Subquery Scan", "Values Scan"):
            found["Alias"] = unquote(scan["rest"])
        else:
            found |= _relation(scan["rest"], _NAME_KEYS.get(scan["kind"], "Relation Name"))
    return found


_NAME_KEYS = {
    "CTE Scan": "CTE Name", "WorkTable Scan": "CTE Name", "Function Scan": "Function Name",
    "Table Function Scan": "Table Function Name", "Named Tuplestore Scan": "Tuplestore Name",
}  # fmt: skip


def _relation(text: str, key: str = "Relation Name") -> Properties:
    match = _RELATION.fullmatch(text)
    if match is None:
        return {key: text}
    found = {key: unquote(match["name"]), "Alias": unquote(match["alias"] or match["name"])}
    if match["schema"]:
        found["Schema"] = unquote(match["schema"])
    return found


def unquote(identifier: str) -> str:
    """An identifier as the catalogue has it."""
    if len(identifier) > 1 and identifier[0] == '"' == identifier[-1]:
        return identifier[1:-1].replace('""', '"')
    return identifier
