"""What is not executed even on a clone, and in a transaction that is rolled back.

A rollback takes back rows, and nothing else: what a function sends to another server, writes to a
file, draws from the operating system or does to another session stays done. So every function that
a statement, its views and the triggers of its tables name is looked at; what is volatile and not
known to be harmless, or written in a language that may reach outside, is refused by its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from filban.index.advice import Statement
from filban.pg import Query, Session
from filban.sql import SqlError, parse, session_effects
from filban.sql.builtins import VOLATILE_HARMLESS, harmless

PACKAGE = "filban.flows.prove"
# Harmless to a session, as filban.sql has it, but not to others or to a measurement.
_ACTS_ON_OTHERS = frozenset(
    {
        "pg_cancel_backend", "pg_terminate_backend", "pg_notify",
        "pg_sleep", "pg_sleep_for", "pg_sleep_until",
        "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared",
        "pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared",
    }
)  # fmt: skip
# Extensions whose functions reach other servers or files, whatever volatility they declare.
_REACH_OUT = frozenset(
    {"dblink", "postgres_fdw", "file_fdw", "http", "pg_net", "plsh", "adminpack", "pg_cron", "lo"}
)
_ANY = frozenset({"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a statement may call; see functions.sql."""

    schema: str
    name: str
    volatility: str
    trusted: bool
    extension: str | None
    built_in: bool
    called_by: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """A relation that lies on another server."""

    name: str


async def refusal(opened: Session, statement: Statement, text: str) -> str | None:
    """Why this text is not executed; None when it may be.

    opened: a session on the clone with the workload's search_path. text: one of the statement's.
    """
    try:
        kinds = {node.kind for node in parse(text).statements}
        effects = session_effects(text)
    except SqlError as error:
        return f"it cannot be read: {error.message}"
    if not kinds <= _ANY or effects.ddl or effects.reason:
        return f"it is {effects.reason or 'a command'}"
    if not statement.examples:
        return "there are no values for its parameters"
    relations = [
        f"{n.schema}.{n.name}" if n.schema else n.name for n in effects.reads | effects.writes
    ]
    called = {f.name for f in effects.functions}
    names = sorted(called | effects.fields)
    schemas, bare = _split(relations)
    written = [n.name for n in effects.writes]
    found = await opened.rows(Query(PACKAGE, "functions"), Function, names, schemas, bare, written)
    # what follows a dot is a column, or a function of a row: never a built-in one
    meant = [f for f in found if f.called_by or f.name in called or not f.built_in]
    if function := _first_refused(meant):
        return function
    foreign = await opened.rows(Query(PACKAGE, "foreign"), Foreign, schemas, bare)
    return f"{foreign[0].name} lies on another server" if foreign else None


def _split(relations: Iterable[str]) -> tuple[list[str], list[str]]:
    parts = [name.rpartition(".") for name in relations]
    return [schema for schema, _, _ in parts], [name for _, _, name in parts]


def _first_refused(functions: Iterable[Function]) -> str | None:
    for function in functions:
        if why := _why(function):
            by = f", which {function.called_by} calls," if function.called_by else ""
            return f"{function.schema}.{function.name}{by} {why}"
    return None


def _why(function: Function) -> str | None:
    if function.extension in _REACH_OUT:
        return f"belongs to {function.extension}, which reaches outside"
    if function.built_in:
        known = function.name in harmless() or function.name in VOLATILE_HARMLESS
        if function.name in _ACTS_ON_OTHERS or not known:
            return "acts on more than the transaction" if known else "is not known to be harmless"
        return None
    if not function.trusted:
        return "is written in a language that may reach outside"
    if function.volatility == "v" and function.extension is None:
        return "is volatile"
    return None
