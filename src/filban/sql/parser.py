"""The one place that touches postgast (libpg_query, the grammar of PostgreSQL 18).

Loaded on the first call: importing it costs about 0.1 s, which a service that only imports the
pool should not pay. Trees come as JSON, not as protobuf messages: a third faster to get, several
times faster to walk, and protobuf gives up at 50 nested expressions where JSON takes 400.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from filban.errors import UsageError

# PostgreSQL itself takes 1 GB; a statement of more than this is data, not a query.
LONGEST_TEXT = 16 * 1024 * 1024
# libpg_query recurses in C without looking at the stack: a chain of 20,000 `+` ends the process.
# Measured: with 1 MB of stack (8 MB are usual) the most wasteful nesting, of NOT in normalize, is
# survived to 1,300 levels.
DEEPEST = 1000
# `1+1+1`: a level takes at least two characters, so shorter texts need no look.
_SHORT = 2 * DEEPEST

# What left-recursive rules chain without a comma or a parenthesis in between.
_CHAINS = ("UNION", "INTERSECT", "EXCEPT", "JOIN", "BETWEEN")
# Comma and semicolon separate; the members of AND and OR and the branches of CASE are flat lists.
_FLAT = ("ASCII_44", "ASCII_59", "AND", "OR", "WHEN", "THEN", "ELSE")
_OPEN = ("ASCII_40", "ASCII_91", "CASE")
_CLOSE = ("ASCII_41", "ASCII_93", "END_P")


class SqlError(UsageError):
    """SQL that cannot be parsed. `position` is the character it stumbled on, from 1, or None."""

    def __init__(self, message: str, *, position: int | None = None) -> None:
        where = f" at character {position}" if position else ""
        super().__init__(
            f"cannot parse the SQL{where}: {message}",
            hint="the grammar is PostgreSQL 18's",
        )
        self.position = position


def fingerprint(sql: str) -> str:
    """16 hex digits, the same for texts that differ in constants, case, spaces and list lengths.

    Raises SqlError.
    """
    return str(_call("fingerprint", sql).hex)


def normalize(sql: str) -> str:
    """The text with `$n` in place of its constants. Raises SqlError."""
    return str(_call("normalize", sql))


def split(sql: str) -> list[str]:
    """The statements of a text, without semicolons and surrounding spaces. Raises SqlError."""
    return [statement.strip() for statement in _call("split", sql)]


def raw_tree(sql: str) -> dict[str, Any]:
    """The parse tree, named as in PostgreSQL's parsenodes.h. Raises SqlError."""
    _check(sql)
    from postgast.native import lib

    result = lib.pg_query_parse(sql.encode())
    try:
        if result.error:
            error = result.error.contents
            message = error.message.decode("utf-8", "replace")
            raise SqlError(message, position=error.cursorpos or None)
        tree: dict[str, Any] = json.loads(result.parse_tree)
        return tree
    except RecursionError:
        raise SqlError("nested too deeply") from None
    finally:
        lib.pg_query_free_parse_result(result)


def tokens(sql: str) -> list[tuple[str, str]]:
    """(text, kind) of each token but comments; kinds are the names in PostgreSQL's scanner.

    Raises SqlError.
    """
    _check(sql)
    raw = sql.encode()
    name = _token_names()
    found = ((raw[t.start : t.end].decode(), name[t.token]) for t in _unchecked("scan", sql).tokens)
    return [token for token in found if not token[1].endswith("_COMMENT")]


def _call(function: str, sql: str) -> Any:
    _check(sql)
    return _unchecked(function, sql)


def _unchecked(function: str, sql: str) -> Any:
    import postgast

    try:
        return getattr(postgast, function)(sql)
    except postgast.PgQueryError as error:
        raise SqlError(error.message, position=error.cursorpos or None) from None
    except (json.JSONDecodeError, RecursionError):
        raise SqlError("nested too deeply") from None


def _check(sql: str) -> None:
    """Refuse what must not be handed to C."""
    if "\0" in sql:
        # C stops there, and would answer for what precedes it only.
        raise SqlError("a zero byte", position=sql.index("\0") + 1)
    if len(sql) > LONGEST_TEXT:
        raise SqlError(f"{len(sql)} characters are more than {LONGEST_TEXT}")
    try:
        length = len(sql.encode())
    except UnicodeEncodeError as error:
        raise SqlError("not valid Unicode", position=error.start + 1) from None
    if length > _SHORT and _depth(sql) > DEEPEST:
        raise SqlError("nested too deeply")


@cache
def _token_names() -> dict[int, str]:
    import postgast

    return {number: str(name) for name, number in postgast.pg_query_pb2.Token.items()}


@cache
def _token_roles() -> dict[int, str]:
    """Token number -> "chain", "flat", "open" or "close"."""
    groups = {"chain": _CHAINS, "flat": _FLAT, "open": _OPEN, "close": _CLOSE}
    role_of = {name: role for role, names in groups.items() for name in names}
    return {number: role_of[name] for number, name in _token_names().items() if name in role_of}


def _depth(sql: str) -> int:
    """An upper bound of the tree's depth: per open parenthesis, the tokens since a separator."""
    roles = _token_roles()
    outer: list[tuple[int, int]] = []
    below = chained = since = deepest = 0
    for token in _unchecked("scan", sql).tokens:
        role = roles.get(token.token)
        if role == "open":
            outer.append((chained, since))
            below += chained + since + 2
            chained = since = 0
        elif role == "close" and outer:
            chained, since = outer.pop()
            below -= chained + since + 2
        elif role == "flat":
            since = 0
        else:
            since += 1
            chained += 2 * (role == "chain")
        deepest = max(deepest, below + chained + since)
    return deepest
