"""What a plan's conditions say, through PostgreSQL's own grammar.

EXPLAIN prints expressions as SQL, but for a few words of its own ("hashed SubPlan 1"): what cannot
be parsed is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from filban.sql import Node as SqlNode
from filban.sql import SqlError, parse
from filban.sql.nodes import names

_RANGES = frozenset({"<", "<=", ">", ">="})


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a conjunction.

    columns: as written, without a qualifier; those of `bare` stand alone on one side of `operator`.
    functions: called on a column; casts: types that a bare column is cast to.
    constant: whether the other side has no column; pattern: that side, where it is a text;
    collations: named by COLLATE.
    """

    columns: tuple[str, ...]
    bare: str
    operator: str
    functions: tuple[str, ...]
    casts: tuple[str, ...]
    constant: bool
    alternatives: bool = False
    pattern: str = ""
    collations: tuple[str, ...] = ()

    @property
    def equality(self) -> bool:
        return self.operator == "="

    @property
    def indexable(self) -> bool:
        """A column alone against a constant, by an operator that a btree index serves."""
        return bool(self.bare) and self.constant and self.operator in {"=", *_RANGES}


@lru_cache(maxsize=1024)
def terms(condition: str) -> tuple[Term, ...]:
    """The parts of `condition` that are joined by AND; () for what the grammar does not know."""
    where = _where(condition)
    return () if where is None else tuple(_term(node) for node in _conjuncts(where))


@lru_cache(maxsize=1024)
def relations(condition: str) -> tuple[str, ...]:
    """Qualifiers of the columns in a condition, in order, each once."""
    where = _where(condition)
    if where is None:
        return ()
    parts = (names(ref.fields["fields"]) for ref in where.find("ColumnRef"))
    return tuple(dict.fromkeys(p[-2] for p in parts if len(p) > 1))


def _where(condition: str) -> SqlNode | None:
    try:
        statements = parse(f"SELECT WHERE {condition}").statements
        found = statements[0].get("whereClause") if len(statements) == 1 else None
    except SqlError:
        return None
    return found if isinstance(found, SqlNode) else None


def _conjuncts(node: SqlNode) -> Iterator[SqlNode]:
    if node.kind == "BoolExpr" and node.fields.get("boolop") == "AND_EXPR":
        for argument in node["args"]:
            yield from _conjuncts(argument)
    else:
        yield node


def _term(node: SqlNode) -> Term:
    columns = tuple(dict.fromkeys(_column(ref) for ref in node.find("ColumnRef")))
    functions = tuple(
        names(call.fields["funcname"])[-1]
        for call in node.find("FuncCall")
        if any(call.find("ColumnRef"))
    )
    sides = [node.get("lexpr"), node.get("rexpr")] if node.kind == "A_Expr" else []
    bare, other = "", None
    casts: tuple[str, ...] = ()
    for mine, theirs in (sides, sides[::-1]) if len(sides) == 2 else ():
        inner, types = _uncast(mine)
        if not bare and inner is not None and inner.kind == "ColumnRef":
            bare, casts, other = _column(inner), types, theirs
    return Term(
        columns=columns,
        bare=bare,
        operator=_operator(node),
        functions=functions,
        casts=casts,
        constant=bool(sides) and (not bare or not _mentions_column(other)),
        alternatives=node.kind == "BoolExpr" and node.fields.get("boolop") == "OR_EXPR",
        pattern=_constant(other),
        collations=tuple(names(c.fields["collname"])[-1] for c in node.find("CollateClause")),
    )


def _constant(side: object) -> str:
    """A text, freed from its casts and collation; "" for anything else."""
    while isinstance(side, SqlNode) and side.kind in ("TypeCast", "CollateClause"):
        side = side.get("arg")
    value = side.fields.get("sval") if isinstance(side, SqlNode) and side.kind == "A_Const" else {}
    return str(value.get("sval", "")) if isinstance(value, dict) else ""


@lru_cache(maxsize=64)
def collated(sql: str) -> dict[str, str]:
    """Columns under a COLLATE in a statement, with its name: EXPLAIN prints no word of it."""
    if "collate" not in sql.lower():
        return {}
    try:
        clauses = [clause for s in parse(sql).statements for clause in s.find("CollateClause")]
    except SqlError:
        return {}
    return {
        _column(clause["arg"]): names(clause.fields["collname"])[-1]
        for clause in clauses
        if isinstance(clause.get("arg"), SqlNode) and clause["arg"].kind == "ColumnRef"
    }


def _operator(node: SqlNode) -> str:
    if node.kind != "A_Expr":
        return ""
    return names(node.fields.get("name", []))[-1]


def _mentions_column(side: object) -> bool:
    sides = side if isinstance(side, list) else [side]
    return any(any(item.find("ColumnRef")) for item in sides if isinstance(item, SqlNode))


def _column(ref: SqlNode) -> str:
    return names(ref.fields["fields"])[-1]


def _uncast(side: object) -> tuple[SqlNode | None, tuple[str, ...]]:
    """What is below the casts, and their types, outermost first."""
    types: list[str] = []
    while isinstance(side, SqlNode) and side.kind == "TypeCast":
        types.append(names(side["typeName"].fields.get("names", []))[-1])
        side = side.get("arg")
    return (side if isinstance(side, SqlNode) else None), tuple(types)


@lru_cache(maxsize=64)
def order_by(sql: str) -> tuple[str, ...]:
    """ORDER BY of a statement that sorts by columns alone, as "name" or "name DESC"; else ()."""
    try:
        statements = parse(sql).statements if sql.strip() else ()
    except SqlError:
        return ()
    keys = statements[0].get("sortClause", []) if len(statements) == 1 else []
    found = tuple(_sorted_by(key) for key in keys)
    return found if all(found) else ()


def _sorted_by(key: SqlNode) -> str:
    column = key.get("node")
    if not isinstance(column, SqlNode) or column.kind != "ColumnRef":
        return ""
    down = key.fields.get("sortby_dir") == "SORTBY_DESC"
    return ".".join(quote(part) for part in names(column.fields["fields"])) + " DESC" * down


def quote(identifier: str) -> str:
    """An identifier for SQL to paste: always quoted when it is not plain lower case."""
    plain = identifier.isascii() and identifier.replace("_", "a").isalnum()
    if plain and identifier == identifier.lower() and not identifier[:1].isdigit():
        return identifier
    return '"' + identifier.replace('"', '""') + '"'
