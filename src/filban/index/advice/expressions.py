"""Conditions as EXPLAIN writes them, taken apart.

EXPLAIN (VERBOSE) puts every operation into parentheses and every column behind its alias, so that
tokens and nesting are all one needs: `((o.status = 'open'::text) AND (lower(u.email) = $1))`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<text>[EeBbXxNn]?'(?:[^'\\]|\\.|'')*'|\$\w*\$.*?\$\w*\$)
      |(?P<quoted>"(?:[^"]|"")*")
      |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      |(?P<parameter>\$\d+)
      |(?P<word>[^\W\d][\w$]*)
      |(?P<cast>::)
      |(?P<operator>[-+*/<>=~!@\#%^&|`?]+)
      |(?P<mark>[()\[\].,:])
      |(?P<space>\s+)""",
    re.VERBOSE | re.DOTALL,
)
_OPEN, _CLOSE = frozenset("(["), frozenset(")]")
# What is made of one value and stands behind it.
_TESTS = ("IS", "BETWEEN", "ISNULL", "NOTNULL")
_JUST_WIDER = frozenset({"text", "varchar", "bpchar"})


class Token(NamedTuple):
    kind: str
    text: str

    @property
    def name(self) -> str:
        """The name that it is, unquoted; "" when it is none."""
        if self.kind == "quoted":
            return self.text[1:-1].replace('""', '"')
        return self.text if self.kind == "word" else ""


Tokens = Sequence[Token]


class ColumnUse(NamedTuple):
    """`alias.column`, both unquoted."""

    alias: str
    column: str


class Call(NamedTuple):
    """A function and how many arguments it is given."""

    name: str
    arguments: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`; IS NULL and the like have an empty right side, a bare boolean has an
    empty operator. any: the right side is ANY (…), a list of values."""

    left: tuple[Token, ...]
    operator: str
    right: tuple[Token, ...] = ()
    any: bool = False


def tokens(text: str) -> tuple[Token, ...]:
    """The tokens of a text, spaces left out; what is no token is skipped."""
    found = (Token(m.lastgroup or "", m.group()) for m in _TOKEN.finditer(text))
    return tuple(token for token in found if token.kind != "space")


def join(parts: Tokens) -> str:
    """Tokens as text again."""
    text, before = "", ""
    for kind, word in parts:
        tight = (
            word in (")", "]", ",", ".", "::", "[", ":")
            or before in ("", "(", "[", ".", "::", ":")
            or (word == "(" and before not in _KEYWORDS and not before.endswith(_ENDS))
        )
        text += word if tight else f" {word}"
        before = word.upper() if kind == "word" and word.isupper() else word
    return text


_KEYWORDS = frozenset({"AND", "OR", "NOT", "IN", "IS", "CASE", "WHEN", "THEN", "ELSE", "ANY"})
_ENDS = (*"+-*/<>=~!@#%^&|`?", ",")


def bare(parts: Tokens) -> Tokens:
    """Without the parentheses around all of it."""
    while len(parts) > 1 and parts[0].text == "(" and _closing(parts, 0) == len(parts) - 1:
        parts = parts[1:-1]
    return parts


def _closing(parts: Tokens, opening: int) -> int:
    depth = 0
    for place in range(opening, len(parts)):
        depth += (parts[place].text in _OPEN) - (parts[place].text in _CLOSE)
        if not depth:
            return place
    return len(parts)


def outermost(parts: Tokens) -> Iterator[tuple[int, Token]]:
    """The tokens outside of every parenthesis, with their places."""
    depth = 0
    for place, token in enumerate(parts):
        depth -= token.text in _CLOSE
        if not depth:
            yield place, token
        depth += token.text in _OPEN


def split(parts: Tokens, word: str) -> list[Tokens]:
    """The parts between `word` (AND, OR, a comma) outside of every parenthesis."""
    parts = bare(parts)
    places = [place for place, token in outermost(parts) if token.text == word]
    edges = [-1, *places, len(parts)]
    return [parts[a + 1 : b] for a, b in itertools.pairwise(edges)]


def conjuncts(parts: Tokens) -> Iterator[Tokens]:
    """What all has to hold, AND in AND taken apart."""
    pieces = split(parts, "AND")
    if len(pieces) == 1:
        yield bare(parts)
        return
    for piece in pieces:
        yield from conjuncts(piece)


def comparison(parts: Tokens) -> Comparison:
    """One condition: its sides and its operator."""
    parts = bare(parts)
    if parts and parts[0].text == "NOT":
        return Comparison(tuple(bare(parts[1:])), "NOT")
    for place, token in outermost(parts):
        if token.kind == "operator" and place:
            left, right = bare(parts[:place]), parts[place + 1 :]
            if right and right[0].text in ("ANY", "ALL"):
                operator = token.text if right[0].text == "ANY" else f"{token.text} ALL"
                return Comparison(tuple(left), operator, tuple(bare(right[1:])), any=True)
            return Comparison(tuple(left), token.text, tuple(bare(right)))
        if token.text in _TESTS and place:
            test = " ".join(t.text for t in parts[place:])
            return Comparison(tuple(bare(parts[:place])), test)
    return Comparison(tuple(parts), "")


def uses(parts: Tokens) -> Iterator[ColumnUse]:
    """Every `alias.column`."""
    for place in range(len(parts) - 2):
        first, dot, second = parts[place : place + 3]
        named = first.name and second.name and dot.text == "."
        if named and not (place and parts[place - 1].text in (".", "::")):
            yield ColumnUse(first.name, second.name)


def without_alias(parts: Tokens, alias: str) -> tuple[Token, ...]:
    """As the expression of an index says it: columns without the table."""
    found: list[Token] = []
    skip = 0
    for place, token in enumerate(parts):
        if skip:
            skip -= 1
        elif token.name == alias and [t.text for t in parts[place + 1 : place + 2]] == ["."]:
            skip = 1
        else:
            found.append(token)
    return tuple(found)


def plain_column(parts: Tokens, *, relabel: bool = True) -> ColumnUse | None:
    """The column, if that is all there is: `o.name`, and `(o.name)::text`, which changes nothing
    for varchar (whoever asks knows the column's type)."""
    parts = bare(parts)
    while relabel and len(parts) > 3 and [t.kind for t in parts[-2:]] == ["cast", "word"]:
        if parts[-1].text not in _JUST_WIDER:
            break
        parts = bare(parts[:-2])
    if len(parts) != 3:
        return None
    return next(uses(parts), None)


def constant(parts: Tokens) -> str | None:
    """The value of a literal, `'open'::text` or `5`; None for anything else."""
    parts = bare(parts)
    casts = [place for place, token in outermost(parts) if token.kind == "cast"]
    value = bare(parts[: casts[0]]) if casts else parts
    if len(value) == 2 and value[0].text == "-" and value[1].kind == "number":
        return f"-{value[1].text}"
    if len(value) != 1:
        return None
    token = value[0]
    if token.kind == "text":
        return _unquoted(token.text)
    return token.text if token.kind == "number" or token.text in ("true", "false") else None


def _unquoted(text: str) -> str:
    if text[0] in "Ee":
        return re.sub(r"\\(.)", r"\1", text[2:-1], flags=re.DOTALL).replace("''", "'")
    return text[text.index("'") + 1 : -1].replace("''", "'")


def called(parts: Tokens) -> tuple[Call, ...]:
    """The functions in it."""
    return tuple(
        Call(token.name, _arguments(parts, place + 1))
        for place, token in enumerate(parts[:-1])
        if token.name and token.name not in _KEYWORDS and parts[place + 1].text == "("
    )


def _arguments(parts: Tokens, opening: int) -> int:
    inside = parts[opening + 1 : _closing(parts, opening)]
    return sum(token.text == "," for _, token in outermost(inside)) + 1 if inside else 0


def casts(parts: Tokens) -> tuple[str, ...]:
    """The type of each cast of something that is no literal; of a name of several words the first,
    and timestamptz for `timestamp with time zone`."""
    return tuple(
        _type(parts[place + 1 : place + 3])
        for place in range(1, len(parts) - 1)
        if parts[place].kind == "cast" and parts[place - 1].kind != "text"
    )


def _type(words: Tokens) -> str:
    zoned = len(words) > 1 and words[1].text == "with"
    return f"{words[0].name}tz" if zoned else words[0].name


def row_of(parts: Tokens) -> list[Tokens]:
    """The parts of ROW(a, b); [] for anything else."""
    parts = bare(parts)
    if len(parts) < 3 or parts[0].text != "ROW" or _closing(parts, 1) != len(parts) - 1:
        return []
    return split(parts[1:], ",")
