"""What the queries of this room return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Version:
    version: str


@dataclass(frozen=True, slots=True)
class Named:
    """kind: r relation, t type, o operator, b built-in function. id: its oid."""

    kind: str
    id: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Function:
    """kind and volatility as in pg_proc; the rest as `functions.sql` says."""

    id: int
    schema: str
    name: str
    language: str
    kind: str
    volatility: str
    body: str
    atomic: bool
    utility: bool
    extension: str
    one_row: bool


@dataclass(frozen=True, slots=True)
class Use:
    """One object runs another; kinds as in `uses.sql`."""

    user_kind: str
    user_id: int
    used_kind: str
    used_id: int
    builtin: str


QUERIES: Mapping[str, type] = {
    "version": Version,
    "names": Named,
    "functions": Function,
    "uses": Use,
}
SUPERUSER: frozenset[str] = frozenset()
PRIMARY_ONLY: frozenset[str] = frozenset()
