"""What the queries about locale and collations return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CharacterType:
    """What trying shows of a UTF8 database. replacement: an lc_ctype of this server that works."""

    lowers_letters: bool
    separates_punctuation: bool
    replacement: str | None


@dataclass(frozen=True, slots=True)
class CollationVersion:
    """A collation whose recorded version is not the library's. name for people, quoted for SQL."""

    kind: Literal["database", "collation"]
    name: str
    quoted: str
    recorded: str
    actual: str | None
    reindex_sql: tuple[str, ...]


QUERIES: Mapping[str, type] = {
    "ctype": CharacterType,
    "collation_versions": CollationVersion,
}
