"""GIN and GiST: documents, arrays, words, trigrams, ranges, geometry."""

from __future__ import annotations

from collections.abc import Iterator

from filban.index.advice.access import Access
from filban.index.advice.candidates.thought import Context, Thought, spec
from filban.index.advice.conditions import Condition
from filban.index.advice.rows import IndexSpec, Key

TRIGRAMS = frozenset({"infix", "like", "ilike", "regex", "similar"})
# A trigram has three letters: a shorter pattern matches every entry.
_TRIGRAM = 3


def think(access: Access, context: Context) -> Iterator[Thought]:
    """GIN and GiST indexes for an access, for the branches of an OR as well."""
    for c in (*access.conditions, *(c for group in access.any_of for c in group)):
        if c.is_join:
            continue
        if c.kind in TRIGRAMS:
            yield _trigram(access, context, c)
        elif c.kind == "json":
            yield from _document(access, c)
        elif c.kind in ("array", "words"):
            what = "elements" if c.kind == "array" else "words"
            made = spec(access.table, [Key(c.key)], "gin")
            yield Thought(made, "gin", f"finds by {what} of {c.key}")
        elif c.kind in ("span", "space"):
            yield Thought(_spatial(access, context, c), "gist", f"finds by the extent of {c.key}")
    if access.distance is not None and access.limit is not None:
        column = context.column(access, access.distance)
        if column is not None:
            made = spec(access.table, [Key(column.quoted)], "gist")
            yield Thought(made, "gist", f"reads {column.name} from the nearest on")


def _trigram(access: Access, context: Context, c: Condition) -> Thought:
    made = spec(access.table, [Key(c.key, opclass="gin_trgm_ops")], "gin")
    longest = max((len(part) for part in _letters(c.constant)), default=0)
    if c.constant is not None and longest < _TRIGRAM:
        return Thought(
            made, "gin", f"{c.constant!r} has no three letters in a row to look up", "unsupported"
        )
    if "pg_trgm" not in context.catalog.extensions:
        return Thought(made, "gin", "needs the extension pg_trgm", "extension")
    return Thought(made, "gin", f"finds what is inside of {c.key} by its trigrams")


def _letters(pattern: str | None) -> list[str]:
    spaced = "".join(s if s.isalnum() else " " for s in (pattern or "").replace("%", " "))
    return spaced.split()


def _document(access: Access, c: Condition) -> Iterator[Thought]:
    if not c.operator.startswith("?"):
        small = spec(access.table, [Key(c.key, opclass="jsonb_path_ops")], "gin")
        yield Thought(small, "gin", f"finds documents of {c.key} by what they contain")
    else:
        whole = spec(access.table, [Key(c.key)], "gin")
        yield Thought(whole, "gin", f"finds documents of {c.key} by their keys")


def _spatial(access: Access, context: Context, c: Condition) -> IndexSpec:
    column = context.column(access, c.column)
    opclass = "inet_ops" if column is not None and column.type in ("inet", "cidr") else None
    return spec(access.table, [Key(c.key, opclass=opclass)], "gist")
