"""Which objects of one database may change the session of whoever uses them.

A graph: an object uses functions, types, relations. The ends that cannot be judged, or are known
to change the session, are dirty, and so is everything that leads to them. Names of a statement are
looked up in every schema, because search_path and overloading are the server's to resolve: one
dirty candidate suffices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from filban.pool.clean.collect import Rows
from filban.pool.clean.extensions import is_harmless
from filban.pool.clean.rows import Function, Use
from filban.sql import JUDGED_LANGUAGES, Effects, Name
from filban.sql.builtins import DRAW_FROM_SEQUENCES, READ_SEQUENCE_STATE, harmless

# Objects below are PostgreSQL's own (FirstNormalObjectId of access/transam.h).
FIRST_OWN_OID = 16384
# What CREATE TYPE … AS RANGE makes functions of.
_RANGE_CONSTRUCTORS = frozenset(
    {"range_constructor2", "range_constructor3"} | {f"multirange_constructor{n}" for n in (0, 1, 2)}
)


class Node(NamedTuple):
    """kind as in `uses.sql`, id an oid."""

    kind: str
    id: int


ANYTHING = Node("d", 0)


class Unknown(NamedTuple):
    """A name that nothing in the catalogue has: made since it was read, or not there at all."""

    what: str

    def __str__(self) -> str:
        return f"{self.what} is not known"


class Catalogue:
    """One database as of one version of its catalogue."""

    def __init__(self, rows: Rows, body_effects: Callable[[str, str], Effects]) -> None:
        """body_effects(language, body): `filban.sql.body_effects`, or a cache in front of it."""
        self.version = rows.version
        self._found: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
        self._builtins = frozenset(row.name for row in rows.names if row.kind == "b")
        self._labels: dict[Node, str] = {}
        self._row_functions: dict[str, list[Node]] = defaultdict(list)
        self._name_all(rows)
        self._users: dict[Node, list[Node]] = defaultdict(list)
        self._dirty: dict[Node, str] = {}
        self._drawing: dict[Node, str] = {}
        # Types of operands and arguments, of what did not come with PostgreSQL.
        self._takes: dict[Node, list[Node]] = defaultdict(list)
        # Whether some view or function asks for currval() or lastval().
        self.reads_sequence_state = False
        for use in rows.uses:
            self._note(use)
        for function in rows.functions:
            self._judge_language(function)
        # Which types are dirty counts for what the names in bodies may be.
        self._spread(self._dirty)
        for function in rows.functions:
            if function.language in JUDGED_LANGUAGES and not function.atomic:
                self._judge_body(function, body_effects(function.language, function.body))
        self._spread(self._dirty)
        self._spread(self._drawing)

    def why_dirty(self, effects: Effects) -> str | Unknown:
        """What in these effects may change the session, or "" when nothing does."""
        if effects.reason:
            return effects.reason
        if ANYTHING in self._dirty:
            return self._dirty[ANYTHING]
        unknown: Unknown | None = None
        for what in self._used(effects):
            if isinstance(what, Unknown):
                unknown = unknown or what
            elif isinstance(what, str):
                return what
            elif what in self._dirty:
                return self._dirty[what]
        return unknown or ""

    def may_draw_from_sequence(self, effects: Effects) -> bool:
        """Whether it may change what currval() and lastval() answer in its session."""
        return _draws(effects) or any(used in self._drawing for used in self._used(effects))

    def _name_all(self, rows: Rows) -> None:
        for row in rows.names:
            if row.kind != "b":
                self._name(Node(row.kind, row.id), row.schema, row.name)
        for function in rows.functions:
            self._name(Node("f", function.id), function.schema, function.name)
            if function.one_row:
                self._row_functions[function.name].append(Node("f", function.id))

    def _name(self, node: Node, schema: str, name: str) -> None:
        self._found[node.kind, name].append((schema, node.id))
        self._labels[node] = f"{_KINDS[node.kind]} {schema}.{name}"

    # What a name may be.

    def _used(self, effects: Effects) -> Iterator[Node | Unknown | str]:
        for name in effects.functions:
            yield from self._function(name, guessed=effects.guessed)
        for name in effects.reads:
            yield from self._relation("r", name, effects)
        for name in effects.writes:
            yield from self._relation("w", name, effects)
        for name in effects.types:
            yield from self._some("t", name, guessed=effects.guessed)
        for name in effects.operators:
            candidates = self._some("o", name, guessed=effects.guessed)
            yield from (o for o in candidates if not self._is_beside(o, name))
        for field in effects.fields:
            yield from self._row_functions.get(field, ())
        if effects.set_locally:
            yield from self._candidates("f", Name("", "set_config"))

    def _candidates(self, kind: str, name: Name) -> list[Node]:
        found = self._found.get((kind, name.name), ())
        return [Node(kind, oid) for schema, oid in found if name.schema in ("", schema)]

    def _function(self, name: Name, *, guessed: bool) -> Iterator[Node | Unknown | str]:
        own = self._candidates("f", name)
        yield from (node for node in own if not self._is_beside(node, name))
        if name.schema in ("", "pg_catalog") and name.name in self._builtins:
            if name.name not in harmless():
                yield f"function {name.name}"
        elif not own:
            # `date(x)`: a cast written as a call.
            yield from self._some("t", name, guessed=guessed)

    def _is_beside(self, node: Node | Unknown, name: Name) -> bool:
        """Whether it takes a dirty type and is named like a built-in one that takes others.

        A value of that type comes from a column, function or cast that is dirty itself; without
        one, the server takes the built-in. So a type that cannot be judged leaves `=` clean.
        """
        if not isinstance(node, Node) or not any(t in self._dirty for t in self._takes[node]):
            return False
        if node.kind == "f":
            return name.name in self._builtins
        return any(oid < FIRST_OWN_OID for _, oid in self._found["o", name.name])

    def _relation(self, kind: str, name: Name, effects: Effects) -> Iterator[Node | Unknown | str]:
        found = self._candidates("r", name)
        if (
            not found
            and not effects.guessed
            and (name.schema or name.name not in effects.with_names)
        ):
            yield Unknown(f"relation {_text(name)}")
        for node in found:
            yield Node(kind, node.id)
            # Of what words in a body may name, only pg_settings changes settings when written to.
            certain = not effects.guessed or name.name == "pg_settings"
            if kind == "w" and node.id < FIRST_OWN_OID and certain:
                yield f"writing to {_text(name)}"

    def _some(self, kind: str, name: Name, *, guessed: bool) -> Iterator[Node | Unknown]:
        found = self._candidates(kind, name)
        yield from found
        if not found and not guessed:
            yield Unknown(f"{_KINDS[kind]} {_text(name)}")

    # What is dirty.

    def _note(self, use: Use) -> None:
        user, used = Node(use.user_kind, use.user_id), Node(use.used_kind, use.used_id)
        if used.kind == "g":
            self._takes[user].append(Node("t", used.id))
            return
        self._users[used].append(user)
        if used.kind == "x":
            self._dirty[user] = f"{self._label(user)} is a foreign table"
        elif use.builtin:
            self._note_builtin(user, use.builtin)

    def _note_builtin(self, user: Node, function: str) -> None:
        self.reads_sequence_state |= function in READ_SEQUENCE_STATE
        if function in DRAW_FROM_SEQUENCES:
            self._drawing[user] = function
        elif function not in harmless():
            self._dirty[user] = f"function {function} in {self._label(user)}"

    def _judge_language(self, function: Function) -> None:
        node = Node("f", function.id)
        if function.utility:
            self._dirty.setdefault(node, f"a command in {self._label(node)}")
        elif function.language in JUDGED_LANGUAGES or function.kind == "a":
            return
        elif not is_harmless(function) and not _makes_range(function):
            reason = f"language {function.language} in {self._label(node)}"
            self._dirty.setdefault(node, reason)

    def _judge_body(self, function: Function, effects: Effects) -> None:
        node = Node("f", function.id)
        self.reads_sequence_state |= asks_sequence_state(effects)
        if _draws(effects):
            self._drawing[node] = function.name
        reason = effects.reason or self._note_body(node, effects)
        if reason:
            self._dirty.setdefault(node, f"{reason} in {self._label(node)}")

    def _note_body(self, node: Node, effects: Effects) -> str:
        reason = ""
        for used in self._used(effects):
            if isinstance(used, Node):
                self._users[used].append(node)
            else:
                reason = reason or str(used)
        return reason

    def _spread(self, marked: dict[Node, str]) -> None:
        """Whatever leads to something marked is marked for the same reason."""
        edge = list(marked)
        while edge:
            used = edge.pop()
            users = self._users.get(used, [])
            if used.kind == "r":
                users = [*users, Node("w", used.id)]
            for user in users:
                if user not in marked:
                    marked[user] = marked[used]
                    edge.append(user)

    def _label(self, node: Node) -> str:
        named = Node("r", node.id) if node.kind == "w" else node
        return self._labels.get(named, _KINDS.get(node.kind, "an object"))


_KINDS = {"r": "relation", "w": "relation", "t": "type", "o": "operator", "f": "function"}


def asks_sequence_state(effects: Effects) -> bool:
    """Whether what it returns may depend on what the session drew from a sequence before."""
    return any(function.name in READ_SEQUENCE_STATE for function in effects.functions)


def _draws(effects: Effects) -> bool:
    # Any write may: no expression shows the default of an identity column.
    return bool(effects.writes) or any(f.name in DRAW_FROM_SEQUENCES for f in effects.functions)


def _makes_range(function: Function) -> bool:
    return function.language == "internal" and function.body in _RANGE_CONSTRUCTORS


def _text(name: Name) -> str:
    return f"{name.schema}.{name.name}" if name.schema else name.name
