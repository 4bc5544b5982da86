"""Lines below a node in EXPLAIN's text -> the JSON's keys."""

from __future__ import annotations

import re
from typing import Any

from filban.profile.plans.formats import Properties
from filban.profile.plans.formats.heads import float_of

_NUMBERED = re.compile(
    r"(?P<name>[A-Za-z][\w ()/-]{0,60}?)[:=] ?(?P<value>-?\d[\d.]*)(?P<unit>\w*)"
)
_LISTS = frozenset({
    "Sort Key", "Presorted Key", "Group Key", "Hash Key", "Output", "Cache Key",
})  # fmt: skip
_BUFFERS = {"shared": "Shared", "local": "Local", "temp": "Temp"}
_ORIGINALLY = re.compile(r"(?P<name>Buckets|Batches): (?P<now>\d+) \(originally (?P<was>\d+)\)")
_TRIGGER = re.compile(
    r"Trigger (?:for constraint (?P<constraint>.+?)|(?P<name>.+?))(?: on (?P<relation>.+?))?:"
    r"(?: time=(?P<time>[\d.]+))? calls=(?P<calls>\d+)"
)
_SETTING = re.compile(r"(?P<name>[\w.]+) = '(?P<value>(?:[^']|'')*)'")
_UNITS = {"kB": 1, "B": 1, "MB": 1024, "ms": 1}


def take(line: str, into: Properties) -> None:
    """Put one line's properties into `into`; a line that is not known stays under its own label."""
    label, colon, value = line.partition(":")
    value = value.strip()
    if not colon:
        return
    handler = _HANDLERS.get(label)
    if handler is not None:
        handler(line, into)
    elif label in _LISTS:
        into[label] = split_list(value)
    elif label.startswith("Rows Removed by") or label in _COUNTS:
        into[label] = float_of(value)
    else:
        into[label] = value


_COUNTS = frozenset({
    "Heap Fetches", "Workers Planned", "Workers Launched", "Subplans Removed", "Index Searches",
    "Functions", "Tuples Inserted", "Conflicting Tuples",
})  # fmt: skip


def take_summary(line: str, document: Properties) -> None:
    """A line that is about the whole statement."""
    label, colon, value = line.partition(":")
    value = value.strip()
    trigger = _TRIGGER.match(line[:1000])
    if trigger is not None:
        document.setdefault("Triggers", []).append(_trigger(trigger))
    elif label.lower() in ("planning time", "execution time", "total runtime"):
        key = "Planning Time" if label.lower().startswith("planning") else "Execution Time"
        document[key] = float_of(value.partition("ms")[0].strip())
    elif label == "Settings":
        document[label] = {
            m["name"]: m["value"].replace("''", "'") for m in _SETTING.finditer(value)
        }
    elif label == "Query Identifier":
        document[label] = _integer(value)
    elif label in ("Planning", "JIT"):
        document.setdefault(label, {})
    elif colon:
        document[label] = value


def _integer(text: str) -> int | None:
    try:
        return int(text[:20])
    except ValueError:
        return None


def _trigger(match: re.Match[str]) -> Properties:
    found: Properties = {"Calls": float_of(match["calls"])}
    if match["time"] is not None:
        found["Time"] = float_of(match["time"])
    for key, group in (
        ("Trigger Name", "name"), ("Constraint Name", "constraint"), ("Relation", "relation"),
    ):  # fmt: skip
        if match[group]:
            found[key] = match[group]
    return found


def split_list(text: str) -> list[str]:
    """Parts between commas that stand in no parentheses and no quotes."""
    parts: list[str] = []
    depth, start, quote = 0, 0, ""
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def _value(line: str) -> str:
    return line.partition(":")[2].strip()


def _pairs(line: str) -> dict[str, float]:
    """`Name: 12kB  Other: 3` -> numbers; sizes in kB."""
    return {
        m["name"].strip(): float_of(m["value"]) * _UNITS.get(m["unit"], 1)
        for m in _NUMBERED.finditer(line)
    }


def _sort_method(line: str, into: Properties) -> None:
    method, _, space = _value(line).partition("  ")
    into["Sort Method"] = method.strip()
    for kind, used in _pairs(space).items():
        into["Sort Space Type"], into["Sort Space Used"] = kind.strip(), used


def _hash(line: str, into: Properties) -> None:
    """`Buckets: 1024 (originally 1024)  Batches: 4 (originally 1)  Memory Usage: 9kB`"""
    names = {
        "Buckets": "Hash Buckets", "Batches": "Hash Batches", "Memory Usage": "Peak Memory Usage",
    }  # fmt: skip
    for match in _ORIGINALLY.finditer(line):
        into[f"Original Hash {match['name']}"] = float_of(match["was"])
    for name, number in _pairs(re.sub(r" \(originally \d+\)", "", line)).items():
        into[names.get(name, name)] = number


def _hash_aggregate(line: str, into: Properties) -> None:
    """`Planned Partitions: 4  Batches: 5  Memory Usage: 4145kB  Disk Usage: 1024kB`"""
    names = {"Batches": "HashAgg Batches", "Memory Usage": "Peak Memory Usage"}
    for name, number in _pairs(line).items():
        into[names.get(name, name)] = number


def _memoize(line: str, into: Properties) -> None:
    """`Hits: 1  Misses: 2  Evictions: 0  Overflows: 0  Memory Usage: 1kB`"""
    for name, number in _pairs(line).items():
        into["Peak Memory Usage" if name == "Memory Usage" else f"Cache {name}"] = number


def _buffers(line: str, into: Properties) -> None:
    """`shared hit=1 read=2 dirtied=3 written=4, temp read=5 written=6`"""
    for group in _value(line).split(", "):
        kind, _, counts = group.strip().partition(" ")
        if kind in _BUFFERS:
            for name, number in _pairs(counts).items():
                into[f"{_BUFFERS[kind]} {name.strip().title()} Blocks"] = number


def _io_timings(line: str, into: Properties) -> None:
    """`shared read=1.2 write=0.1, temp read=…` (15+), `shared/local read=…`, `read=…` (14)."""
    for group in _value(line).split(", "):
        words = group.strip().split(" ")
        kind = "Temp " if words[0] == "temp" else ""
        for name, ms in _pairs(" ".join(w for w in words if "=" in w)).items():
            key = f"{kind}I/O {name.strip().title()} Time"
            into[key] = into.get(key, 0.0) + ms


def _heap_blocks(line: str, into: Properties) -> None:
    for name, number in _pairs(_value(line)).items():
        into[f"{name.strip().title()} Heap Blocks"] = number


def _jit_timing(line: str, into: Properties) -> None:
    """`Generation 1.2 ms (Deform 0.3 ms), Inlining 0.0 ms, …, Total 3.4 ms`"""
    found: dict[str, Any] = {}
    for match in re.finditer(r"([A-Z][a-z]+) ([\d.]+) ms", _value(line)):
        found[match[1]] = float_of(match[2])
    into["Timing"] = found


def _storage(line: str, into: Properties) -> None:
    """`Storage: Disk  Maximum Storage: 1024kB` (17+)"""
    into["Storage"], _, space = _value(line).partition("  ")
    into |= _pairs(space)


_HANDLERS = {
    "Sort Method": _sort_method,
    "Buckets": _hash,
    "Batches": _hash_aggregate,
    "Planned Partitions": _hash_aggregate,
    "Hits": _memoize,
    "Buffers": _buffers,
    "I/O Timings": _io_timings,
    "Heap Blocks": _heap_blocks,
    "Timing": _jit_timing,
    "Storage": _storage,
}
