"""A node's name as EXPLAIN's text has it, put together from the JSON's properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_AGGREGATES = {"Sorted": "GroupAggregate", "Hashed": "HashAggregate", "Mixed": "MixedAggregate"}


def title(properties: Mapping[str, Any]) -> str:
    """ "Parallel Seq Scan on public.orders o", "Hash Left Join", "Finalize GroupAggregate" …"""

    def said(key: str) -> str:
        value = properties.get(key)
        return value if isinstance(value, str) else ""

    words = [_kind(said)]
    if said("Partial Mode") in ("Partial", "Finalize"):
        words.insert(0, said("Partial Mode"))
    if properties.get("Parallel Aware") is True:
        words.insert(0, "Parallel")
    if said("Scan Direction") == "Backward":
        words.append("Backward")
    if said("Index Name"):
        words += ["on" if said("Node Type") == "Bitmap Index Scan" else "using", said("Index Name")]
    words += _object(said)
    return " ".join(words)


def _kind(said: Any) -> str:
    kind: str = said("Node Type")
    if kind == "Aggregate":
        return _AGGREGATES.get(said("Strategy"), kind)
    if kind == "ModifyTable" and said("Operation"):
        return str(said("Operation"))
    join = said("Join Type")
    if join and join != "Inner":
        return f"{kind} {join} Join" if kind == "Nested Loop" else kind.replace(" ", f" {join} ", 1)
    return kind


def _object(said: Any) -> list[str]:
    names = ("Relation Name", "CTE Name", "Function Name", "Table Function Name", "Tuplestore Name")
    name = next((said(key) for key in names if said(key)), "")
    alias = said("Alias")
    if not name:
        return ["on", alias] if alias else []
    full = f"{said('Schema')}.{name}" if said("Schema") else name
    return ["on", full, *([alias] if alias and alias != name else [])]
