"""Which columns a statement looks rows of a table up by, through PostgreSQL's own grammar."""

from __future__ import annotations

from collections.abc import Iterator

from filban.profile.plans.expressions import quote
from filban.sql import Node, SqlError, parse
from filban.sql.nodes import names


def columns(query: str, table: str) -> tuple[str, ...]:
    """Columns of `table` (schema.name) that one-table statements compare with = to something that
    has no column, quoted; () for other statements and texts that were cut."""
    try:
        statements = parse(query).statements
    except SqlError:
        return ()
    if len(statements) != 1:
        return ()
    (statement,) = statements
    relation = _only_relation(statement)
    where = statement.get("whereClause")
    if where is None or relation != table.rpartition(".")[2]:
        return ()
    return tuple(dict.fromkeys(quote(c) for c in _equal(where)))


def _only_relation(statement: Node) -> str | None:
    if statement.kind in ("UpdateStmt", "DeleteStmt"):
        others = statement.get("fromClause") or statement.get("usingClause")
        return None if others else str(statement["relation"].fields["relname"])
    sources = statement.get("fromClause", []) if statement.kind == "SelectStmt" else []
    if len(sources) != 1 or sources[0].kind != "RangeVar":
        return None
    return str(sources[0].fields["relname"])


def _equal(where: Node) -> Iterator[str]:
    if where.kind == "BoolExpr" and where.fields.get("boolop") == "AND_EXPR":
        for part in where["args"]:
            yield from _equal(part)
    elif where.kind == "A_Expr" and names(where.fields["name"]) == ("=",):
        sides = [where.get("lexpr"), where.get("rexpr")]
        for one, other in (sides, sides[::-1]):
            if one is not None and one.kind == "ColumnRef" and not _has_column(other):
                yield names(one.fields["fields"])[-1]


def _has_column(node: Node | None) -> bool:
    return node is None or any(True for _ in node.find("ColumnRef", "SubLink"))
