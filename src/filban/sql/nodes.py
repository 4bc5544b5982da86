"""The parse tree as nodes: kind and field names are those of PostgreSQL's parsenodes.h."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from filban.sql.parser import raw_tree

# A field whose C type is one struct holds it without naming its kind.
_STRUCTS = {
    "relation": "RangeVar",
    "rel": "RangeVar",
    "view": "RangeVar",
    "sequence": "RangeVar",
    "pktable": "RangeVar",
    "typeName": "TypeName",
    "argType": "TypeName",
    "returnType": "TypeName",
    "sourcetype": "TypeName",
    "targettype": "TypeName",
    "larg": "SelectStmt",
    "rarg": "SelectStmt",
    "withClause": "WithClause",
    "intoClause": "IntoClause",
    "into": "IntoClause",
    "onConflictClause": "OnConflictClause",
    "returningClause": "ReturningClause",
    "infer": "InferClause",
    "over": "WindowDef",
    "alias": "Alias",
    "collClause": "CollateClause",
    "partbound": "PartitionBoundSpec",
    "partspec": "PartitionSpec",
}


@dataclass(frozen=True, slots=True)
class Node:
    """One node. `fields` is what libpg_query says of it (false, zero and empty are left out)."""

    kind: str
    fields: dict[str, Any]

    def __getitem__(self, field: str) -> Any:
        """A field as nodes: Node, list of Node, or a plain value. KeyError when it is left out."""
        return _wrap(field, self.fields[field])

    def get(self, field: str, default: Any = None) -> Any:
        """As `node[field]`, or the default when it is left out."""
        return self[field] if field in self.fields else default

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in the order of the text for most statements."""
        for kind, fields in walk(self.kind, self.fields):
            yield Node(kind, fields)

    def find(self, *kinds: str) -> Iterator[Node]:
        """All nodes of these kinds, from here down."""
        return (node for node in self.walk() if node.kind in kinds)


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed text: `text` and its top-level statements, in order."""

    text: str
    statements: tuple[Node, ...]

    def walk(self) -> Iterator[Node]:
        for statement in self.statements:
            yield from statement.walk()

    def find(self, *kinds: str) -> Iterator[Node]:
        return (node for node in self.walk() if node.kind in kinds)


def parse(sql: str) -> Tree:
    """The tree of a text of any number of statements. Raises SqlError."""
    statements = (raw["stmt"] for raw in raw_tree(sql).get("stmts", ()))
    return Tree(sql, tuple(_wrap("stmt", statement) for statement in statements))


def names(strings: list[Any]) -> tuple[str, ...]:
    """A list of String nodes (a qualified name) as plain texts; `*` for A_Star."""
    return tuple(item.get("String", {}).get("sval", "*") for item in strings)


def walk(kind: str, fields: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, fields) of a node and all below it: the quick way for whoever reads every node.

    Structs of no interest come with the name of their field as kind.
    """
    stack = [(kind, fields)]
    while stack:
        kind, fields = stack.pop()
        yield kind, fields
        below: list[tuple[str, dict[str, Any]]] = []
        for field, value in fields.items():
            if type(value) is dict:
                below.append(_named(field, value))
            elif type(value) is list:
                below.extend(_named(field, item) for item in value if type(item) is dict)
        stack.extend(reversed(below))


def _named(field: str, value: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Nodes are {"Kind": {…}}, structs are {"field": …}: kinds start with a capital letter."""
    if len(value) == 1:
        (kind, inner), *_ = value.items()
        if kind[0].isupper():
            return kind, inner
    return _STRUCTS.get(field, field), value


def _wrap(field: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_wrap(field, item) for item in value]
    if isinstance(value, dict):
        return Node(*_named(field, value))
    return value
