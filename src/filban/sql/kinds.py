"""Which statements a text has, and whether it only reads."""

from __future__ import annotations

import re

from filban.sql.builtins import read_only_functions
from filban.sql.effects import session_effects
from filban.sql.nodes import Node, parse
from filban.sql.parser import SqlError

_COMMANDS = {
    "VariableSet": "SET",
    "VariableShow": "SHOW",
    "ConstraintsSet": "SET CONSTRAINTS",
    "ClosePortal": "CLOSE",
    "DeclareCursor": "DECLARE",
    "CheckPoint": "CHECKPOINT",
    "RefreshMatView": "REFRESH",
    "SecLabel": "SECURITY LABEL",
    "ImportForeignSchema": "IMPORT",
    "ReassignOwned": "REASSIGN",
    "GrantRole": "GRANT",
    "Rename": "ALTER",
    "Define": "CREATE",
    "Index": "CREATE",
    "View": "CREATE",
    "Rule": "CREATE",
    "CompositeType": "CREATE",
}
_DDL = re.compile("Create|Alter|Drop")
_READING = frozenset({"SelectStmt", "ExplainStmt", "VariableShowStmt"})


def statement_kinds(sql: str) -> tuple[str, ...]:
    """The command of each statement: "SELECT" (VALUES and WITH too), "INSERT", "BEGIN", "CREATE".

    Raises SqlError.
    """
    return tuple(_command(statement) for statement in parse(sql).statements)


def read_only(sql: str) -> bool:
    """Whether a text certainly only reads, so that a standby may answer it.

    One or more SELECT, VALUES, TABLE, SHOW or EXPLAIN; no writing WITH query, no INTO, no
    FOR UPDATE or FOR SHARE; every function is a built-in that changes nothing. What a user's own
    operators, views, types and functions named like a built-in do, a text cannot tell: a standby
    refuses their writes with SQLSTATE 25006. False for SQL that cannot be parsed.
    """
    try:
        statements = parse(sql).statements
        effects = session_effects(sql)
    except SqlError:
        return False
    return (
        bool(statements)
        and not effects.reason
        and not effects.writes
        and not effects.set_locally
        and all(statement.kind in _READING for statement in statements)
        and not any(_writes(node) for statement in statements for node in statement.walk())
        and all(_known(f.schema, f.name) for f in effects.functions)
    )


def _known(schema: str, function: str) -> bool:
    return schema in {"", "pg_catalog"} and function in read_only_functions()


def _writes(node: Node) -> bool:
    if node.kind == "LockingClause":
        return True
    return node.kind.endswith("Stmt") and node.kind not in _READING


def _command(statement: Node) -> str:
    name = statement.kind.removesuffix("Stmt")
    said = str(statement.fields.get("kind", ""))
    if name == "Transaction":
        return said.removeprefix("TRANS_STMT_").replace("_", " ")
    if name == "VariableSet" and "RESET" in said:
        return "RESET"
    if name.startswith("Grant") and not statement.fields.get("is_grant"):
        return "REVOKE"
    ddl = _DDL.match(name)
    return ddl.group().upper() if ddl else _COMMANDS.get(name, name.upper())
