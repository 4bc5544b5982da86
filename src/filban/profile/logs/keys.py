"""From raw statement texts to statements: constants are taken out by regular expressions on whole
columns, and only what is left is parsed, once.

80 % of the texts of a log are distinct, a few hundred are left without their constants; a
fingerprint costs 0.1 ms. The key is only a cache's key: two texts with one key must be one
statement, the other way round does not matter.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import polars as pl

from filban import sql

# A number is one that stands alone (t1 and orders_2024 are names). Whatever holds quotes is skipped
# as a whole, from the left.
_CONSTANTS = r"'[^']*'|\b[0-9][0-9.]*"
_COMMENTS = r"/\*(?s:.*?)\*/"
# With anything else in the text: names in double quotes and $n are kept, which costs ten times as
# much.
_ALL_CONSTANTS = (
    r"""("(?:[^"]|"")*"|\$[0-9]+)|\b[eE]'(?:[^'\\]|\\(?s:.)|'')*'|'[^']*'|\$\$(?s:.*?)\$\$"""
    rf"""|{_COMMENTS}|--[^\n]*|\b[0-9][0-9.]*"""
)
_SPECIAL = r'["\\]|/\*|--|\$\$'
# Quoted names without a space, a digit in front or anything else that could look like a constant.
_PLAIN_NAMES = r'^(?:[^"\\$-]|-[^-]|"[A-Za-z_][A-Za-z0-9_]*"|\$[0-9])*$'
_IN_LIST = r"(?i)\bIN\s*\(\s*\?(?:\s*,\s*\?)+\s*\)"
_VALUES = r"(\([?,\s]*\))(?:\s*,\s*\([?,\s]*\))+"
# Dollar quotes with a tag may hold any quotes; their texts are left as they are.
_TAGGED = r"\$[A-Za-z_]\w*\$"

_CACHE = 200_000  # keys that are remembered; 100 bytes each
QUERY_CHARACTERS = 10_000  # of a statement's text that are kept; a fingerprint sees all of it


def keys(texts: pl.Series) -> pl.Series:
    """A 64-bit hash of each text without its constants; null for null."""
    raw = texts.hash()
    distinct = (
        pl.DataFrame({"raw": raw, "text": texts}).unique("raw", keep="any").drop_nulls("text")
    )
    if distinct.is_empty():
        return pl.Series("key", [None] * len(texts), pl.UInt64)
    special = distinct["text"].str.contains(_SPECIAL)
    text = pl.col("text")
    simple = distinct.filter(~special).with_columns(text.str.replace_all(_CONSTANTS, "?"))
    bare = pl.concat([simple, *_special(distinct.filter(special))])
    listed = bare["text"].str.contains(r"\?\s*,")
    short = bare.filter(listed).with_columns(
        pl.col("text").str.replace_all(_IN_LIST, "IN (?)").str.replace_all(_VALUES, "$1")
    )
    done = pl.concat([bare.filter(~listed), short]).with_columns(
        pl.col("text").str.strip_chars(" \t\n;").hash()
    )
    return raw.replace_strict(done["raw"], done["text"], default=None).alias("key")


def _special(distinct: pl.DataFrame) -> list[pl.DataFrame]:
    text = pl.col("text")
    plain = distinct["text"].str.contains(_PLAIN_NAMES)
    tagged = distinct["text"].str.contains(_TAGGED)
    return [
        distinct.filter(plain).with_columns(text.str.replace_all(f"{_COMMENTS}|{_CONSTANTS}", "?")),
        distinct.filter(~plain & ~tagged).with_columns(
            text.str.replace_all(_ALL_CONSTANTS, "${1}?")
        ),
        distinct.filter(~plain & tagged),
    ]


@dataclass(frozen=True, slots=True)
class Identity:
    """Which statement a text is. `parsed`: PostgreSQL's grammar knows it; else the fingerprint is
    ours, over the text as it stands."""

    fingerprint: str
    query: str
    parsed: bool


def identify(text: str) -> Identity:
    """The fingerprint, and the text with $n for its constants."""
    if not text.strip():
        return Identity("x0", "(not in the log)", False)
    try:
        return Identity(sql.fingerprint(text), sql.normalize(text).strip()[:QUERY_CHARACTERS], True)
    except sql.SqlError:  # cut off, or another language: it still is one of the log's statements
        bare = pl.DataFrame({"text": [text]}).select(
            pl.col("text").str.replace_all(_ALL_CONSTANTS, "${1}?").str.strip_chars()
        )["text"][0]
        digest = hashlib.sha256(bare.encode()).hexdigest()[:15]
        return Identity(f"x{digest}", bare[:QUERY_CHARACTERS], False)


class Registry:
    """Numbers for statements: key -> number of its fingerprint. 0 is "the others"."""

    def __init__(self) -> None:
        self.identities: dict[int, Identity] = {0: Identity("", "(other statements)", False)}
        self._numbers: dict[str, int] = {}
        self._keys: dict[int, int] = {}
        self._next = 1

    def numbers(self, frame: pl.DataFrame) -> pl.Series:
        """The statement's number of each row's `key`, learning from `text` what is new."""
        distinct = frame["key"].unique()
        if len(self._keys) > _CACHE:
            self._keys.clear()
        fresh = [key for key in distinct if key not in self._keys]
        if fresh:
            rows = frame.select("key", "text").filter(pl.col("key").is_in(fresh))
            for key, text in rows.unique("key", keep="first", maintain_order=True).iter_rows():
                self._keys[key] = self._number(identify(text))
        numbers = pl.Series([self._keys[key] for key in distinct], dtype=pl.UInt32)
        return (
            frame["key"].replace_strict(distinct, numbers, return_dtype=pl.UInt32).alias("number")
        )

    def forget(self, numbers: set[int]) -> None:
        """Statements that are counted among the others from now on; seen again, they are new."""
        for number in numbers:
            self._numbers.pop(self.identities.pop(number).fingerprint, None)
        self._keys = {key: number for key, number in self._keys.items() if number not in numbers}

    def _number(self, identity: Identity) -> int:
        number = self._numbers.get(identity.fingerprint)
        if number is None:
            number = self._numbers[identity.fingerprint] = self._next
            self.identities[number] = identity
            self._next += 1
        return number
