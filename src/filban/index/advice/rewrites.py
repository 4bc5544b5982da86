"""Other ways to write a statement: what no index mends. Pure, over the parse tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from filban.index.advice.rows import Remedy, RemedyKind
from filban.index.advice.texts import Text
from filban.sql.nodes import names, walk

Fields = dict[str, Any]
_Said = tuple[RemedyKind, str, str]
# Pages further than this are read and thrown away before the wanted one; a constant below it is
# no page of a long list.
LONG_OFFSET = 100


def rewrites(text: Text, statement: str) -> Iterator[Remedy]:
    """One remedy a kind."""
    seen = set()
    for kind, fields in walk(text.root, text.fields):
        for rule in _RULES.get(kind, ()):
            for remedy, sql, reason in rule(fields):
                if remedy not in seen:
                    seen.add(remedy)
                    yield Remedy(remedy, statement, sql, reason)


def _keyset(fields: Fields) -> Iterator[_Said]:
    offset = fields.get("limitOffset")
    if not offset or "sortClause" not in fields:
        return
    constant = offset.get("A_Const", {}).get("ival", {}).get("ival", 0)
    if "A_Const" in offset and constant < LONG_OFFSET:
        return
    keys = [_name(item["SortBy"].get("node")) for item in fields["sortClause"]]
    known = ", ".join(key for key in keys if key) or "the sorted columns"
    yield (
        "keyset",
        f"WHERE ({known}) > (…, the last row of the page before) ORDER BY {known} LIMIT n",
        "every page reads and throws away all rows before it; a page that begins after the last "
        "row of the one before reads only its own",
    )


def _name(node: Any) -> str:
    fields = (node or {}).get("ColumnRef", {}).get("fields", [])
    return ".".join(names(fields))


def _not_in(fields: Fields) -> Iterator[_Said]:
    if fields.get("boolop") != "NOT_EXPR":
        return
    link = fields["args"][0].get("SubLink", {})
    if link.get("subLinkType") == "ANY_SUBLINK":
        yield (
            "not_in",
            "NOT EXISTS (SELECT FROM … WHERE inner.column = outer.column)",
            "NOT IN (SELECT …) has to think of NULL, so that the planner cannot join: it reads the "
            "sub-select for each row as soon as it does not fit into work_mem",
        )


def _or(fields: Fields) -> Iterator[_Said]:
    if fields.get("boolop") != "OR_EXPR":
        return
    tables = [_aliases(branch) for branch in fields["args"]]
    if len(tables) > 1 and all(tables) and not set.intersection(*tables):
        yield (
            "or_to_union",
            "SELECT … WHERE first UNION SELECT … WHERE second",
            "an OR over columns of different tables can only be judged after the join; as a UNION "
            "each branch begins with its own table",
        )


def _aliases(branch: Fields) -> set[str]:
    found = set()
    for kind, fields in ((k, v) for key, value in branch.items() for k, v in walk(key, value)):
        if kind == "ColumnRef" and len(path := names(fields["fields"])) > 1:
            found.add(path[-2])
    return found


def _top_of_each(fields: Fields) -> Iterator[_Said]:
    if "whereClause" not in fields:
        return
    filtered = {
        names(inner["fields"])[-1]
        for kind, inner in walk("SelectStmt", {"where": fields["whereClause"]})
        if kind == "ColumnRef"
    }
    for item in fields.get("fromClause", ()):
        query = item.get("RangeSubselect", {}).get("subquery", {}).get("SelectStmt", {})
        for target in query.get("targetList", ()):
            result = target.get("ResTarget", {})
            call = result.get("val", {}).get("FuncCall", {})
            ranks = names(call.get("funcname", []))[-1:] in (("row_number",), ("rank",))
            parted = "partitionClause" in call.get("over", {})
            if ranks and parted and result.get("name") in filtered:
                yield (
                    "lateral",
                    "FROM (SELECT DISTINCT key …) AS each CROSS JOIN LATERAL (SELECT … WHERE key = "
                    "each.key ORDER BY … LIMIT n) AS top",
                    "every row is numbered to keep the first few of each group; LATERAL with "
                    "LIMIT reads only those, through an index on (key, order)",
                )


_RULES: dict[str, tuple[Callable[[Fields], Iterator[_Said]], ...]] = {
    "SelectStmt": (_keyset, _top_of_each),
    "BoolExpr": (_not_in, _or),
}
