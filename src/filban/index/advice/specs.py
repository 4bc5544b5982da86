"""Definitions of indexes as specs, and how far a spec serves what a plan asks of a table. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from filban.errors import UsageError
from filban.index.advice import expressions as _e
from filban.index.advice.access import Access, Order
from filban.index.advice.conditions import Condition
from filban.index.advice.rows import IndexSpec, Key, Method
from filban.index.upkeep.rows import Index

EQUALITIES = frozenset({"eq", "null"})
_PATTERN_CLASSES = frozenset({"text_pattern_ops", "varchar_pattern_ops", "bpchar_pattern_ops"})


# Behind the text's own tokens, so that a text that ends too early is no special case.
_NOTHING = (_e.Token("mark", ""),) * 3


def parse_index(sql: str) -> IndexSpec:
    """The spec of a CREATE INDEX; a table without schema is public's. Raises UsageError."""
    parts = (*_e.tokens(sql.rstrip().rstrip(";")), *_NOTHING)
    words = [t.text.upper() if t.kind == "word" else t.text for t in parts]
    if words[:1] != ["CREATE"] or "INDEX" not in words[:3] or "ON" not in words:
        raise UsageError("this is no CREATE INDEX", hint="CREATE INDEX ON schema.table (column)")
    place = words.index("ON") + 1
    place += words[place] == "ONLY"
    qualified = len(words) > place + 1 and words[place + 1] == "."
    schema, table = (parts[place].text, parts[place + 2].text) if qualified else (
        "public", parts[place].text)  # fmt: skip
    place += 3 if qualified else 1
    method = "btree"
    if words[place] == "USING":
        method, place = parts[place + 1].text, place + 2
    inside, rest = _parenthesised(parts, place)
    rest = tuple(token for token in rest if token.text)
    include: tuple[str, ...] = ()
    where = None
    while rest:
        word = rest[0].text.upper()
        if word == "INCLUDE":
            names, rest = _parenthesised(rest, 1)
            include = tuple(_e.join(name) for name in _split_keys(names))
        elif word == "WHERE":
            where, rest = conjunction(_e.conjuncts(rest[1:])), ()
        else:
            rest = rest[1:]
    return IndexSpec(
        schema, table, tuple(_key(k) for k in _split_keys(inside)), cast("Method", method),
        include, where, unique="UNIQUE" in words[:2],
    )  # fmt: skip


def _parenthesised(parts: _e.Tokens, place: int) -> tuple[_e.Tokens, _e.Tokens]:
    """What stands in the parentheses that open at `place`, and what follows them."""
    outside = [i for i, t in _e.outermost(parts) if i > place and t.text == ")"]
    if place >= len(parts) or parts[place].text != "(" or not outside:
        raise UsageError("a list in parentheses is missing", hint="CREATE INDEX ON t (column)")
    return parts[place + 1 : outside[0]], parts[outside[0] + 1 :]


def _split_keys(parts: _e.Tokens) -> list[_e.Tokens]:
    commas = [i for i, t in _e.outermost(parts) if t.text == ","]
    edges = [-1, *commas, len(parts)]
    found = [parts[a + 1 : b] for a, b in itertools.pairwise(edges)]
    if not all(found):
        raise UsageError("a key is missing", hint="CREATE INDEX ON schema.table (column)")
    return found


def _key(parts: _e.Tokens) -> Key:
    rest = list(parts)
    descending, nulls_first = False, None
    if len(rest) > 2 and rest[-2].text.upper() == "NULLS":
        nulls_first = rest[-1].text.upper() == "FIRST"
        rest = rest[:-2]
    if rest[-1].text.upper() in ("ASC", "DESC") and len(rest) > 1:
        descending = rest.pop().text.upper() == "DESC"
    end = _expression_end(rest)
    opclass = collation = None
    behind = rest[end:]
    if behind and behind[0].text.upper() == "COLLATE":
        stop = 4 if len(behind) > 2 and behind[2].text == "." else 2
        collation, behind = _e.join(behind[1:stop]), behind[stop:]
    if behind:
        opclass = _e.join(behind)
    return Key(_key_sql(rest[:end]), descending, nulls_first, opclass, collation)


def _expression_end(parts: list[_e.Token]) -> int:
    """A column is one token, a function call its name and parentheses, the rest parentheses."""
    outside = [i for i, t in _e.outermost(parts) if t.text == ")"]
    opens = parts[0].text == "(" or (len(parts) > 1 and parts[1].text == "(")
    return outside[0] + 1 if opens and outside else 1


def _key_sql(parts: _e.Tokens) -> str:
    return parts[0].text if len(parts) == 1 else f"({_e.join(_e.bare(parts))})"


def conjunction(parts: Iterable[_e.Tokens | str]) -> str:
    """A predicate whose parts are in one order, so that equal predicates are equal texts."""
    texts = {p if isinstance(p, str) else _e.join(p) for p in parts}
    if len(texts) == 1:
        return next(iter(texts))
    return " AND ".join(f"({text})" for text in sorted(texts))


@dataclass(frozen=True, slots=True)
class Existing:
    """An index that is there."""

    spec: IndexSpec
    index: Index


@dataclass(frozen=True, slots=True)
class Served:
    """What an index does for an access. bounding: the conditions that limit what is read of it;
    inside: further ones that it can check; ordered: rows come as wanted; covered: without the
    table; branch: the OR, one branch of which it answers."""

    bounding: tuple[Condition, ...] = ()
    inside: tuple[Condition, ...] = ()
    ordered: bool = False
    covered: bool = False
    partial: bool = False
    branch: tuple[Condition, ...] = ()

    def at_least(self, other: Served) -> bool:
        """Whether it does whatever the other does."""
        return (
            set(self.bounding) >= set(other.bounding)
            and self.ordered >= other.ordered
            and self.covered >= other.covered
            and self.partial >= other.partial
            and set(self.branch) >= set(other.branch)
        )


def serves(spec: IndexSpec, access: Access) -> Served | None:
    """How far the index serves; None when it does not."""
    if spec.where is not None and not implied(spec.where, access.conditions):
        return None
    if spec.method != "btree":
        return _serves_other(spec, access)
    bounding = _bounding(spec.keys, access)
    ordered = _ordered(spec.keys, access)
    if not bounding and not ordered and spec.where is None:
        branch = _branch(spec, access)
        return Served(branch=branch) if branch else None
    keys = {key.sql for key in spec.keys}
    inside = tuple(
        c for c in access.conditions if c not in bounding and c.key in keys and not c.is_join
    )
    covered = _covered(spec, access)
    return Served(tuple(bounding), inside, ordered, covered, spec.where is not None)


def _branch(spec: IndexSpec, access: Access) -> tuple[Condition, ...]:
    """The OR that has a branch for the first key."""
    first = spec.keys[0]
    return next(
        (g for g in access.any_of if any(c.key == first.sql and fits(c, first) for c in g)), ()
    )


def implied(where: str, conditions: tuple[Condition, ...]) -> bool:
    """Whether the planner will see that the predicate holds: each part of it is a condition."""
    texts = {c.text for c in conditions}
    return all(_e.join(part) in texts for part in _e.conjuncts(_e.tokens(where)))


def _bounding(keys: tuple[Key, ...], access: Access) -> list[Condition]:
    """The conditions that limit a scan of a btree: equalities, and what follows them."""
    found: list[Condition] = []
    for key in keys:
        on_key = [c for c in access.conditions if c.key == key.sql and fits(c, key)]
        equal = [c for c in on_key if c.kind in EQUALITIES]
        found += equal or [c for c in on_key if c.kind in ("range", "prefix", "not_null")]
        if not equal:
            break
    return found


def fits(condition: Condition, key: Key) -> bool:
    """Whether the key's operator class has the condition's operator."""
    if key.opclass in _PATTERN_CLASSES:
        return condition.kind in ("eq", "prefix", "null", "not_null")
    return condition.kind in ("eq", "null", "range", "not_null") or (
        condition.kind == "prefix"
        and key.opclass is None
        and (condition.by_bytes or key.collation == '"C"')
    )


def _ordered(keys: tuple[Key, ...], access: Access) -> bool:
    """Whether a scan forwards or backwards gives the wanted order. Keys that equal one value may
    stand anywhere in the order; those that equal one of several values may not."""
    if not access.order:
        return False
    wanted = [o for o in access.order if not _fixed(o.key, access)]
    for start in range(len(keys) + 1):
        following = keys[start : start + len(wanted)]
        if len(following) == len(wanted) and any(
            all(_same(k, o, backwards) for k, o in zip(following, wanted, strict=True))
            for backwards in (False, True)
        ):
            return True
        if start == len(keys) or not _fixed(keys[start].sql, access):
            break
    return False


def _fixed(key: str, access: Access) -> bool:
    return any(
        c.kind in EQUALITIES and not c.any and not c.is_join and c.key == key
        for c in access.conditions
    )


def _same(key: Key, order: Order, backwards: bool) -> bool:
    nulls_first = key.descending if key.nulls_first is None else key.nulls_first
    return (
        key.sql == order.key
        and key.opclass is None
        and (key.descending != backwards) == order.descending
        and (nulls_first != backwards) == order.nulls_first
    )


def _covered(spec: IndexSpec, access: Access) -> bool:
    if access.needed is None or access.writes:
        return False
    has = {name_of(text) for text in (*(key.sql for key in spec.keys), *spec.include)}
    return access.needed <= has


def name_of(quoted: str) -> str:
    """The name that a quoted column stands for; "" for an expression."""
    parts = _e.tokens(quoted)
    return parts[0].name if len(parts) == 1 else ""


# Which conditions each operator class (or the default one of a method, "") can look up.
_LOOKS_UP: dict[tuple[str, str], frozenset[str]] = {
    ("hash", ""): frozenset({"eq"}),
    ("gin", "gin_trgm_ops"): frozenset({"like", "ilike", "infix", "prefix", "regex", "similar"}),
    ("gist", "gist_trgm_ops"): frozenset({"like", "ilike", "infix", "prefix", "regex", "similar"}),
    ("gin", "jsonb_path_ops"): frozenset({"json"}),
    ("gin", "jsonb_ops"): frozenset({"json"}),
    ("gin", ""): frozenset({"json", "array", "words"}),
    ("gist", ""): frozenset({"span", "space", "words"}),
    ("gist", "inet_ops"): frozenset({"space"}),
    ("spgist", ""): frozenset({"span", "space", "prefix"}),
    ("brin", ""): frozenset({"range", "eq"}),
}


def _serves_other(spec: IndexSpec, access: Access) -> Served | None:
    found = [
        c
        for key in spec.keys
        for c in access.conditions
        if c.key == key.sql and not c.is_join
        and c.kind in _LOOKS_UP.get((spec.method, key.opclass or ""), frozenset())
        and not (key.opclass == "jsonb_path_ops" and c.operator.startswith("?"))
        and not (spec.method == "hash" and c.any)
    ]  # fmt: skip
    near = spec.method == "gist" and access.distance is not None and any(
        key.sql.strip('"') == access.distance for key in spec.keys
    )  # fmt: skip
    return Served(tuple(found), ordered=near) if found or near else None


def columns_of(spec: IndexSpec) -> Iterator[str]:
    """Every column that the index depends on, unquoted: who changes one of them is not HOT."""
    for text in (*(k.sql for k in spec.keys), *spec.include, *((spec.where or ""),)):
        yield from (token.name for token in _e.tokens(text) if token.name)
