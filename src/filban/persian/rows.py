"""What the queries about locale and collations return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CharacterType:
    """What trying shows of a UTF8 database."""

    lowers_letters: bool
    separates_punctuation: bool


@dataclass(frozen=True, slots=True)
class LocaleProvider:
    """Who sorts text: c is libc, i is ICU, b is builtin. ctype: an lc_ctype here that works."""

    provider: str
    provider_locale: str | None
    template_provider: str
    ctype: str | None


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
    "locale_provider": LocaleProvider,
    "collation_versions": CollationVersion,
}
