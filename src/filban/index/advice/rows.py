"""The shapes of index advice: statements, the indexes that may help them, and why others do not.

Frozen, without I/O. Names in SQL (`schema`, `table`, `Key.sql`, `include`, `Statement.tables`) are
as the server quotes them, ready to be put into a statement.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from filban.index.advice import facts

QUERIES: Mapping[str, type] = facts.QUERIES

# Names are cut off one byte before (pg_config_manual.h).
_NAMEDATALEN = 64
_DIGEST = 6
_NOT_PLAIN = re.compile(r"[^a-z0-9_]+")

Method = Literal["btree", "hash", "gin", "gist", "spgist", "brin"]
CandidateKind = Literal[
    "equality", "range", "sort", "covering", "partial", "expression", "gin", "gist", "brin",
    "hash", "unique", "fk", "pattern", "merge",
]  # fmt: skip
ReasonCode = Literal[
    "exists",  # an index that is there answers it already
    "small_table",  # reading the whole table is as quick
    "selectivity",  # too much of the table would be read through it
    "writes",  # its upkeep costs more than the reads save
    "hot",  # updates would stop being heap-only, and that costs more than the reads save
    "size",  # larger than what it saves is worth
    "not_immutable",  # the expression may not be indexed: its value depends on settings or time
    "extension",  # the operator class belongs to an extension that is not installed
    "unsupported",  # no index can answer the condition as it is written
    "not_visible",  # an index-only scan would still read the table: pages are not all-visible
]
RemedyKind = Literal[
    "keyset", "or_to_union", "not_in", "sargable", "lateral", "extended_statistics",
    "statistics_target", "work_mem", "partitioning", "analyze", "vacuum", "extension", "cast",
    "prune",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """One key: a quoted column or "(expression)". nulls_first: None is the order's own default
    (last ascending, first descending), and that is how it is always kept where it says the same."""

    sql: str
    descending: bool = False
    nulls_first: bool | None = None
    opclass: str | None = None
    collation: str | None = None

    def __post_init__(self) -> None:
        if self.nulls_first == self.descending:
            object.__setattr__(self, "nulls_first", None)

    def __str__(self) -> str:
        parts = [self.sql]
        if self.collation:
            parts.append(f"COLLATE {self.collation}")
        if self.opclass:
            parts.append(self.opclass)
        if self.descending:
            parts.append("DESC")
        if self.nulls_first is not None:
            parts.append("NULLS FIRST" if self.nulls_first else "NULLS LAST")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """An index as one would create it. Equal specs are the same index: the order of INCLUDE says
    nothing and is sorted away."""

    schema: str
    table: str
    keys: tuple[Key, ...]
    method: Method = "btree"
    include: tuple[str, ...] = ()
    where: str | None = None
    unique: bool = False

    def __post_init__(self) -> None:
        keys = {key.sql for key in self.keys}
        object.__setattr__(self, "include", tuple(sorted(set(self.include) - keys)))

    @property
    def on(self) -> str:
        """The table, qualified."""
        return f"{self.schema}.{self.table}"

    @property
    def name(self) -> str:
        """A suggestion of at most 63 bytes that needs no quotes: table, keys, and for whatever
        these do not say a few digits of a digest, so that two specs differ in name."""
        words = [self.table, *(key.sql for key in self.keys)]
        full = "_".join(_NOT_PLAIN.sub("_", word.lower()).strip("_") for word in words)
        plain = all(str(key) == key.sql and _NOT_PLAIN.search(key.sql) is None for key in self.keys)
        whole = plain and self.method == "btree" and not (self.include or self.where or self.unique)
        if whole and full[:1].isalpha() and len(full) + len("_idx") < _NAMEDATALEN:
            return f"{full}_idx"
        digest = hashlib.sha256(self._body().encode()).hexdigest()[:_DIGEST]
        room = _NAMEDATALEN - 1 - len(f"i__{digest}_idx")
        return f"{'' if full[:1].isalpha() else 'i_'}{full[:room]}_{digest}_idx"

    def definition(self, name: str | None = None, concurrently: bool = False) -> str:
        """The statement that creates it, without a semicolon; `name` is quoted already."""
        unique = "UNIQUE " if self.unique else ""
        how = "CONCURRENTLY " if concurrently else ""
        return f"CREATE {unique}INDEX {how}{name or self.name} ON {self._body()}"

    def _body(self) -> str:
        text = f"{self.on} USING {self.method} ({', '.join(map(str, self.keys))})"
        if self.include:
            text += f" INCLUDE ({', '.join(self.include)})"
        return text + (f" WHERE {self.where}" if self.where else "")


@dataclass(frozen=True, slots=True)
class Given:
    """A statement as somebody has it: what `workload_of` takes.

    sql: with constants, with `$1`, or both. examples: the same statement with real values in place
    of its parameters, as a log has them. calls: how often since when; total_ms: its time in all,
    0.0 if unknown. rows: of all calls together, None if unknown.
    """

    sql: str
    calls: float = 1.0
    total_ms: float = 0.0
    rows: float | None = None
    query_id: int | None = None
    examples: tuple[str, ...] = ()
    source: str = "file"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the workload.

    id: unique in the workload: its fingerprint, and a digest of its tables where their names have
    digits. sql: as it came, the first of its kind.
    examples: runnable SQL with literals instead of parameters, several where values are skewed;
    empty where only a generic plan can be asked for, see `generic` and planning.Planner.plan.
    tables: that it names, what views among them read, and of parts the whole: "schema.table".
    total_ms: 0.0 if unknown; rows: of all calls together, None if unknown.
    """

    id: str
    query_id: int | None
    sql: str
    kind: Literal["read", "write"]
    calls: float
    total_ms: float
    examples: tuple[str, ...]
    tables: tuple[str, ...]
    source: str
    generic: bool = False
    rows: float | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """What to plan: the examples, or the text with its parameters where there are none."""
        return self.examples or (self.sql,)


@dataclass(frozen=True, slots=True)
class Unread:
    """A statement that could not be read or planned, and why."""

    sql: str
    why: str
    calls: float


@dataclass(frozen=True, slots=True)
class Workload:
    """What the server is asked to do. search_path: SQL text to plan its statements under
    (`SET LOCAL search_path = …`): our own sessions have pg_catalog only."""

    statements: tuple[Statement, ...]
    unread: tuple[Unread, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    search_path: str = "pg_catalog"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index that may help. statements: ids. reason: one sentence for a person.

    replaces: existing indexes ("schema.name", quoted) that it makes superfluous. numbers: what
    speaks for it (`rows`, `selectivity`, `cost_before`, `cost_after`, `size_bytes`; planner's
    units), all of them estimates.
    """

    spec: IndexSpec
    kind: CandidateKind
    statements: tuple[str, ...]
    reason: str
    replaces: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why not: an index that comes to mind and is not worth it, with the numbers that say so."""

    spec: IndexSpec | None
    statements: tuple[str, ...]
    code: ReasonCode
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Remedy:
    """What helps a statement beside an index. sql: to run or to write instead; "" where only
    `reason` can say it."""

    kind: RemedyKind
    statement: str
    sql: str
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Found:
    """All that comes to mind for a workload; what to choose of it is `filban.index.choice`'s."""

    candidates: tuple[Candidate, ...]
    refused: tuple[Refused, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    unread: tuple[Unread, ...] = ()
