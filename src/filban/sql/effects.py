"""What a text may do to the session that runs it, as far as the text alone can tell.

What the text cannot tell (whether `f()` is a harmless function, whether a written table has
triggers) is returned as names, for whoever knows the database's catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from filban.sql.nodes import names, walk
from filban.sql.parser import raw_tree

Fields = dict[str, Any]


class Name(NamedTuple):
    """An SQL name; schema is "" where the text has none and search_path decides."""

    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Effects:
    """What a text does and uses.

    reason: what in the text itself may outlive the statement in the session, or "".
    ddl: it changes, or may change, the catalogue.
    reads, writes: relations. A name of `with_names` may also be a WITH query of the text.
    functions: called by name; a name may also be that of a type (`date(x)`).
    fields: what follows a dot in an expression: a column, or a function in attribute notation.
    set_locally: it calls set_config(…, …, true).
    guessed: the names are words of a text that was not parsed; many of them name nothing.
    """

    reason: str = ""
    ddl: bool = False
    reads: frozenset[Name] = frozenset()
    writes: frozenset[Name] = frozenset()
    with_names: frozenset[str] = frozenset()
    functions: frozenset[Name] = frozenset()
    operators: frozenset[Name] = frozenset()
    types: frozenset[Name] = frozenset()
    fields: frozenset[str] = frozenset()
    set_locally: bool = False
    guessed: bool = False


def session_effects(sql: str) -> Effects:
    """The effects of all statements of a text together. Raises SqlError."""
    found = _Found()
    for statement in raw_tree(sql).get("stmts", ()):
        (kind, fields), *_ = statement["stmt"].items()
        for node_kind, node in walk(kind, fields):
            found.see(node_kind, node)
    return found.effects()


# Statements whose own part leaves nothing behind once their transaction is over.
_HARMLESS = frozenset(
    f"{name}Stmt"
    for name in (
        "Select", "Insert", "Update", "Delete", "Merge", "Copy", "Truncate", "Explain",
        "VariableShow", "Transaction", "Fetch", "ClosePortal", "Lock", "Notify", "ConstraintsSet",
    )
)  # fmt: skip
_SESSION = {
    "PrepareStmt": "PREPARE",
    "ExecuteStmt": "EXECUTE",
    "DeallocateStmt": "DEALLOCATE",
    "ListenStmt": "LISTEN",
    "UnlistenStmt": "UNLISTEN",
    "DiscardStmt": "DISCARD",
    "DoStmt": "DO",
    "CallStmt": "CALL",
    "LoadStmt": "LOAD",
    "VacuumStmt": "VACUUM or ANALYZE",
    "CheckPointStmt": "CHECKPOINT",
}
# Any of these may create functions or tables, or run code that does.
_MAY_DO_DDL = frozenset({"DoStmt", "CallStmt", "ExecuteStmt"})
# Where the relation stands that a command makes; what is temporary concerns no other session.
_MADE = {
    "CreateStmt": "relation",
    "CreateSeqStmt": "sequence",
    "ViewStmt": "view",
    "CreateTableAsStmt": "into",
}
# CURSOR_OPT_HOLD of parsenodes.h, the same in PostgreSQL 14 to 18.
_WITH_HOLD = 0x20
_BETWEEN = (">=", "<=", "<", ">")


@dataclass(slots=True)
class _Found:
    """Gathers effects node by node."""

    reasons: list[str] = field(default_factory=list)
    ddl: bool = False
    relations: set[Name] = field(default_factory=set)
    writes: set[Name] = field(default_factory=set)
    with_names: set[str] = field(default_factory=set)
    functions: set[Name] = field(default_factory=set)
    operators: set[Name] = field(default_factory=set)
    types: set[Name] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    set_locally: bool = False

    def see(self, kind: str, node: Fields) -> None:
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, node)
        elif kind.endswith("Stmt") and kind not in _HARMLESS:
            self.command(kind, node)

    def command(self, kind: str, node: Fields) -> None:
        """A statement that stays in the session or changes the catalogue."""
        temporary = _is_temporary(kind, node)
        self.ddl |= not temporary and (kind not in _SESSION or kind in _MAY_DO_DDL)
        default = "a temporary object" if temporary else f"{kind.removesuffix('Stmt')} statement"
        self.reasons.append(_SESSION.get(kind, default))

    def effects(self) -> Effects:
        return Effects(
            reason=self.reasons[0] if self.reasons else "",
            ddl=self.ddl,
            reads=frozenset(self.relations - self.writes),
            writes=frozenset(self.writes),
            with_names=frozenset(self.with_names),
            functions=frozenset(self.functions),
            operators=frozenset(self.operators),
            types=frozenset(self.types),
            fields=frozenset(self.fields),
            set_locally=self.set_locally,
        )

    def relation(self, node: Fields) -> None:
        name = Name(node.get("schemaname", ""), node["relname"])
        if name.schema.startswith("pg_temp"):
            self.reasons.append("a temporary object")
        self.relations.add(name)

    def write(self, node: Fields) -> None:
        if "relation" in node:
            relation = node["relation"]
            self.writes.add(Name(relation.get("schemaname", ""), relation["relname"]))

    def copy(self, node: Fields) -> None:
        if node.get("is_from"):
            self.write(node)

    def truncate(self, node: Fields) -> None:
        if node.get("behavior") == "DROP_CASCADE":
            # To tables that the text does not name.
            self.reasons.append("TRUNCATE … CASCADE")
        for item in node.get("relations", ()):
            self.write({"relation": item["RangeVar"]})

    def into(self, node: Fields) -> None:
        self.ddl |= node["rel"].get("relpersistence") != "t"
        self.reasons.append("SELECT INTO")

    def cursor(self, node: Fields) -> None:
        if node.get("options", 0) & _WITH_HOLD:
            self.reasons.append("DECLARE … WITH HOLD")

    def setting(self, node: Fields) -> None:
        # SET TRANSACTION and SET LOCAL end with their transaction, and whoever releases a
        # session rolls back what is open. Outside of a transaction they do nothing.
        of_transaction = str(node.get("name", "")).startswith("TRANSACTION")
        if not node.get("is_local") and not of_transaction:
            self.reasons.append("RESET" if "RESET" in node.get("kind", "") else "SET")

    def call(self, node: Fields) -> None:
        name = _qualified(node["funcname"])
        if name.name == "set_config" and name.schema in {"", "pg_catalog"} and _is_local(node):
            self.set_locally = True
        else:
            self.functions.add(name)
        if name.schema.startswith("pg_temp"):
            self.reasons.append("a temporary object")

    def sample(self, node: Fields) -> None:
        self.functions.add(_qualified(node["method"]))

    def type(self, node: Fields) -> None:
        if "names" in node:
            self.types.add(_qualified(node["names"]))

    def expression(self, node: Fields) -> None:
        name = _qualified(node["name"])
        if "BETWEEN" in name.name:
            self.operators.update(Name("", operator) for operator in _BETWEEN)
        else:
            self.operators.add(name)

    def sublink(self, node: Fields) -> None:
        if "operName" in node:
            self.operators.add(_qualified(node["operName"]))

    def sort(self, node: Fields) -> None:
        if "useOp" in node:
            self.operators.add(_qualified(node["useOp"]))

    def column(self, node: Fields) -> None:
        self.fields.update(names(node["fields"])[1:])

    def indirection(self, node: Fields) -> None:
        self.fields.update(names([item for item in node["indirection"] if "String" in item]))

    def with_query(self, node: Fields) -> None:
        self.with_names.add(node["ctename"])


_HANDLERS: dict[str, Callable[[_Found, Fields], None]] = {
    "RangeVar": _Found.relation,
    "InsertStmt": _Found.write,
    "UpdateStmt": _Found.write,
    "DeleteStmt": _Found.write,
    "MergeStmt": _Found.write,
    "CopyStmt": _Found.copy,
    "TruncateStmt": _Found.truncate,
    "IntoClause": _Found.into,
    "DeclareCursorStmt": _Found.cursor,
    "VariableSetStmt": _Found.setting,
    "FuncCall": _Found.call,
    "RangeTableSample": _Found.sample,
    "TypeName": _Found.type,
    "A_Expr": _Found.expression,
    "SubLink": _Found.sublink,
    "SortBy": _Found.sort,
    "ColumnRef": _Found.column,
    "A_Indirection": _Found.indirection,
    "CommonTableExpr": _Found.with_query,
}


def _is_temporary(kind: str, node: Fields) -> bool:
    made = node.get(_MADE.get(kind, ""), {})
    return bool(made.get("rel", made).get("relpersistence") == "t")


def _qualified(strings: list[Any]) -> Name:
    """The last two parts of a name: a database's name in front is the current one or an error."""
    schema, name = ("", *names(strings))[-2:]
    return Name(schema, name)


def _is_local(call: Fields) -> bool:
    """set_config(name, value, true), with a literal true: anything else may be false."""
    arguments = call.get("args", ())
    constant = arguments[2].get("A_Const", {}) if len(arguments) == 3 else {}
    return bool(constant.get("boolval", {}).get("boolval"))
