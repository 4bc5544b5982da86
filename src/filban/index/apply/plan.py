"""The plan file: JSON with a version, written by `filban advise`, read by apply and revert.

A plan is a file that somebody may have edited or sent: its SQL is taken apart before it is run, and
nothing but one CREATE INDEX CONCURRENTLY or DROP INDEX CONCURRENTLY a step passes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filban.errors import UsageError
from filban.sql import SqlError, parse
from filban.sql.nodes import Node

FORMAT = "filban.index.plan"
VERSION = 1
_ID_BYTES = 4

Action = Literal["create", "drop"]


@dataclass(frozen=True, slots=True)
class Step:
    """One index. sql: CREATE INDEX CONCURRENTLY name ON schema.table …, or DROP INDEX CONCURRENTLY
    schema.name. size_bytes, build_seconds: as the clone or a model has them, None if unknown.

    action, schema, table and name follow from the SQL; names without quotes, table "" for a drop.
    has_expression: its statistics are made by the next ANALYZE, not by the build.
    """

    sql: str
    reason: str = ""
    size_bytes: int | None = None
    build_seconds: float | None = None
    action: Action = field(init=False)
    schema: str = field(init=False)
    table: str = field(init=False)
    name: str = field(init=False)
    has_expression: bool = field(init=False)

    def __post_init__(self) -> None:
        action, schema, table, name = _target(self.sql)
        object.__setattr__(self, "action", action)
        object.__setattr__(self, "schema", schema)
        object.__setattr__(self, "table", table)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "has_expression", _has_expression(self.sql))

    @property
    def index(self) -> str:
        """The index's name as a person reads it."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Watched:
    """A statement to look after. before_ms: its mean as the plan was made; forecast_ms: what it is
    promised."""

    query_id: int
    sql: str
    before_ms: float
    forecast_ms: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do and what it is expected to bring.

    system_identifier, database: whom it was made for; None fits every server. search_path: where
    names of the steps are found that have no schema. proof: plain facts about how it was proven,
    or {}.
    """

    steps: tuple[Step, ...]
    watched: tuple[Watched, ...] = ()
    system_identifier: int | None = None
    database: str | None = None
    search_path: str = "pg_catalog"
    proof: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(_ID_BYTES))
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self) -> dict[str, Any]:
        """The document. Identifiers of 64 bits are strings: JavaScript would round them."""
        system = self.system_identifier
        return {
            "format": FORMAT,
            "version": VERSION,
            "id": self.id,
            "created_at": self.created_at.isoformat(),
            "system_identifier": None if system is None else str(system),
            "database": self.database,
            "search_path": self.search_path,
            "steps": [
                {
                    "sql": step.sql,
                    "reason": step.reason,
                    "size_bytes": step.size_bytes,
                    "build_seconds": step.build_seconds,
                }
                for step in self.steps
            ],
            "watched": [{**asdict(w), "query_id": str(w.query_id)} for w in self.watched],
            "proof": dict(self.proof),
        }


def write(plan: Plan, path: Path) -> None:
    """Write the file whole or not at all. Raises UsageError."""
    half = path.with_name(f".{path.name}.half")
    try:
        half.write_text(json.dumps(plan.as_json(), indent=2, ensure_ascii=False) + "\n")
        half.replace(path)
    except OSError as error:
        raise UsageError(
            f"the plan cannot be written to {path}: {error.strerror}",
            hint="name a file in a directory that can be written",
        ) from error


def read(path: Path) -> Plan:
    """Read a plan. Raises UsageError that says what is wrong with it."""
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from error
    except ValueError as error:
        raise UsageError(f"{path} is not a plan: it is not JSON ({error})", hint=_HINT) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageError(f"{path} is not a plan of filban", hint=_HINT)
    if document.get("version") != VERSION:
        raise UsageError(
            f"{path} is a plan of version {document.get('version')}, and this filban reads "
            f"{VERSION}",
            hint="make it again with this version of filban",
        )
    try:
        return _plan(document)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged: {error!r}", hint=_HINT) from error


_HINT = "`filban advise DSN --out PLAN` writes one"


def _plan(document: dict[str, Any]) -> Plan:
    system = document["system_identifier"]
    return Plan(
        steps=tuple(
            Step(s["sql"], s["reason"], s["size_bytes"], s["build_seconds"])
            for s in document["steps"]
        ),
        watched=tuple(
            Watched(int(w["query_id"]), w["sql"], float(w["before_ms"]), float(w["forecast_ms"]))
            for w in document["watched"]
        ),
        system_identifier=None if system is None else int(system),
        database=document["database"],
        search_path=str(document["search_path"]),
        proof=document["proof"],
        id=str(document["id"]),
        created_at=datetime.fromisoformat(document["created_at"]),
    )


def _target(sql: str) -> tuple[Action, str, str, str]:
    """(action, schema, table, name) of the one statement that a step may have."""
    try:
        statements = parse(sql).statements
    except SqlError as error:
        raise UsageError(f"a step's SQL cannot be read: {error}", hint=_ONLY) from error
    if len(statements) == 1 and statements[0].get("concurrent"):
        [statement] = statements
        if statement.kind == "IndexStmt":
            return _created(statement)
        if statement.kind == "DropStmt" and statement.fields.get("removeType") == "OBJECT_INDEX":
            return _dropped(statement)
    raise UsageError(f"a step may not be: {sql}", hint=_ONLY)


_ONLY = (
    "one CREATE INDEX CONCURRENTLY name ON schema.table …, or one DROP INDEX CONCURRENTLY "
    "schema.name, with every name written out"
)


def _has_expression(sql: str) -> bool:
    return any("expr" in element.fields for element in parse(sql).find("IndexElem"))


def _created(statement: Node) -> tuple[Action, str, str, str]:
    relation = statement.fields["relation"]
    name, schema = statement.fields.get("idxname"), relation.get("schemaname")
    if not name or not schema or relation.get("catalogname"):
        raise UsageError("a step's index needs a name, and its table a schema", hint=_ONLY)
    return "create", schema, relation["relname"], name


def _dropped(statement: Node) -> tuple[Action, str, str, str]:
    objects = statement.fields["objects"]
    words = [item["String"]["sval"] for item in objects[0]["List"]["items"]]
    if len(objects) != 1 or len(words) != 2 or statement.fields.get("behavior") == "DROP_CASCADE":
        raise UsageError("a step drops one index, by schema and name", hint=_ONLY)
    return "drop", words[0], "", words[1]
