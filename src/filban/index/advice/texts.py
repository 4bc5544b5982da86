"""What a statement's text says: its tables, the columns that it reads, where its parameters stand.

Pure; raises SqlError for what cannot be parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from filban.sql import SqlError, parse
from filban.sql.nodes import names, walk

Fields = dict[str, Any]
Role = Literal["value", "list", "array", "limit", "offset", "words", "pattern", "other"]

_COMMANDS: Mapping[str, Literal["read", "write"]] = {
    "SelectStmt": "read",
    "InsertStmt": "write",
    "UpdateStmt": "write",
    "DeleteStmt": "write",
    "MergeStmt": "write",
}
# How deep a text may nest before we no longer follow it: Python's own stack is the limit.
_LITERALS = ("sval", "ival", "fval", "boolval")


class Reference(NamedTuple):
    """A relation as the text names it; schema "" where it names none."""

    schema: str
    name: str
    alias: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a parameter stands. alias and column: what it is compared with; key: of a JSON
    document (`column ->> key`). cast: the type that the text gives it; is_bare: `date $1`, where
    nothing but a literal may stand. position: in an IN list or of BETWEEN."""

    role: Role = "other"
    operator: str = ""
    alias: str = ""
    column: str = ""
    key: str = ""
    cast: str = ""
    is_bare: bool = False
    position: int = 0
    function: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A statement that has been read. named: what is read of each alias, None for all columns;
    the columns without an alias are under "". parameters: their places by number."""

    sql: str
    kind: Literal["read", "write"]
    root: str
    fields: Fields = field(repr=False)
    relations: tuple[Reference, ...]
    named: Mapping[str, frozenset[str] | None]
    parameters: Mapping[int, Place]
    literals: frozenset[str]


def read(sql: str) -> Text | None:
    """The text of one statement that can be planned; None for another command (BEGIN, SET, DDL)."""
    statements = parse(sql).statements
    if len(statements) != 1:
        raise SqlError(f"{len(statements)} statements where one was expected")
    root, fields = statements[0].kind, statements[0].fields
    if root not in _COMMANDS or "intoClause" in fields:
        return None
    nodes = list(walk(root, fields))
    writes = any(kind in _COMMANDS and _COMMANDS[kind] == "write" for kind, _ in nodes)
    return Text(
        sql=sql,
        kind="write" if writes else "read",
        root=root,
        fields=fields,
        relations=tuple(_relations(nodes)),
        named=_named(nodes),
        parameters=_parameters(nodes),
        literals=frozenset(_literals(nodes)),
    )


def substitute(sql: str, literals: Mapping[int, str]) -> str:
    """The text with these literals in place of its parameters."""
    raw = sql.encode()
    places = sorted(_places(sql), reverse=True)
    for start, number in places:
        if number in literals:
            end = start + 1 + len(str(number))
            raw = raw[:start] + literals[number].encode() + raw[end:]
    return raw.decode()


def _places(sql: str) -> Iterator[tuple[int, int]]:
    """(byte, number) of each `$n`."""
    for statement in parse(sql).statements:
        for kind, fields in walk(statement.kind, statement.fields):
            if kind == "ParamRef":
                yield fields["location"], fields.get("number", 0)


def _relations(nodes: list[tuple[str, Fields]]) -> Iterator[Reference]:
    queries = {f["ctename"] for kind, f in nodes if kind == "CommonTableExpr"}
    for kind, fields in nodes:
        if kind != "RangeVar":
            continue
        schema, name = fields.get("schemaname", ""), fields["relname"]
        if schema or name not in queries:
            yield Reference(schema, name, fields.get("alias", {}).get("aliasname", name))


def _named(nodes: list[tuple[str, Fields]]) -> dict[str, frozenset[str] | None]:
    aliases = [r.alias for r in _relations(nodes)]
    named: dict[str, set[str] | None] = {alias: set() for alias in aliases}
    loose: set[str] = set()
    for kind, fields in nodes:
        if kind != "ColumnRef":
            continue
        path = names(fields["fields"])
        if path == ("*",) or (len(path) == 1 and path[0] in named):
            for alias in aliases if path == ("*",) else path:
                named[alias] = None
        elif len(path) == 1:
            loose.add(path[0])
        elif (columns := named.get(path[-2])) is not None:
            named[path[-2]] = None if path[-1] == "*" else columns | {path[-1]}
    return {
        alias: None if columns is None else frozenset(columns | loose)
        for alias, columns in named.items()
    }


def _literals(nodes: list[tuple[str, Fields]]) -> Iterator[str]:
    for kind, fields in nodes:
        for name in _LITERALS if kind == "A_Const" else ():
            if name in fields:
                value = fields[name]
                yield str(value.get(name, "")) if isinstance(value, dict) else str(value)


def _parameters(nodes: list[tuple[str, Fields]]) -> dict[int, Place]:
    found: dict[int, Place] = {}

    def note(node: Any, place: Place) -> None:
        for position, (number, cast, bare, function) in enumerate(_params(node)):
            role: Role = "words" if function else place.role
            found.setdefault(number, Place(
                role, place.operator, place.alias, place.column, place.key, cast, bare,
                position, function,
            ))  # fmt: skip

    for kind, fields in nodes:
        if kind == "A_Expr":
            for node, place in _compared(fields):
                note(node, place)
        elif kind == "SelectStmt":
            note(fields.get("limitCount"), Place("limit"))
            note(fields.get("limitOffset"), Place("offset"))
    for kind, fields in nodes:
        if kind in ("ParamRef", "TypeCast"):
            note({kind: fields}, Place())
    return found


_ROLES: Mapping[str, Role] = {
    "AEXPR_OP": "value", "AEXPR_LIKE": "pattern", "AEXPR_ILIKE": "pattern", "AEXPR_IN": "list",
    "AEXPR_BETWEEN": "list", "AEXPR_OP_ANY": "array", "AEXPR_OP_ALL": "array",
    "AEXPR_DISTINCT": "value",
}  # fmt: skip


def _compared(fields: Fields) -> Iterator[tuple[Any, Place]]:
    """The sides of an operation that are compared with a column."""
    role = _ROLES.get(fields.get("kind", ""), "other")
    operator = names(fields.get("name", []))[-1:] or ("",)
    for side, other in (("rexpr", "lexpr"), ("lexpr", "rexpr")):
        column = _column(fields.get(other))
        if column is not None and side in fields:
            alias, name, key = column
            yield fields[side], Place(role, operator[0], alias, name, key)


def _column(node: Any) -> tuple[str, str, str] | None:
    """(alias, column, key) of a column, of lower(column), of column ->> key."""
    if not isinstance(node, dict):
        return None
    if cast := node.get("TypeCast"):
        return _column(cast.get("arg"))
    if reference := node.get("ColumnRef"):
        path = names(reference["fields"])
        return (path[-2] if len(path) > 1 else "", path[-1], "") if path[-1] != "*" else None
    if (call := node.get("FuncCall")) and call.get("args"):
        return _column(call["args"][0])
    operation = node.get("A_Expr", {})
    if names(operation.get("name", []))[-1:] in (("->>",), ("->",)):
        inner = _column(operation.get("lexpr"))
        key = operation.get("rexpr", {}).get("A_Const", {}).get("sval", {}).get("sval", "")
        return (inner[0], inner[1], key) if inner else None
    return None


def _params(
    node: Any, cast: str = "", bare: bool = False, function: str = ""
) -> Iterator[tuple[int, str, bool, str]]:
    """(number, cast, is_bare, function around it) of the parameters at this place, not deeper."""
    if not isinstance(node, dict):
        return
    if parameter := node.get("ParamRef"):
        yield parameter.get("number", 0), cast, bare, function
    elif inner := node.get("TypeCast"):
        of = names(inner["typeName"].get("names", []))[-1]
        of += "[]" if "arrayBounds" in inner["typeName"] else ""
        yield from _params(inner.get("arg"), of, inner.get("location") == -1, function)
    elif inner := node.get("List") or node.get("A_ArrayExpr"):
        for item in inner.get("items") or inner.get("elements") or ():
            yield from _params(item, cast, bare, function)
    elif inner := node.get("FuncCall"):
        name = names(inner["funcname"])[-1]
        if name.endswith("to_tsquery") and inner.get("args"):
            yield from _params(inner["args"][-1], cast, bare, name)
