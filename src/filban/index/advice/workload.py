"""The workload: statements with their weights, their tables, and examples that can be planned."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from filban.index.advice import catalog as _catalog
from filban.index.advice import parameters as _parameters
from filban.index.advice import texts as _texts
from filban.index.advice.catalog import Names
from filban.index.advice.facts import Column, Counted, Table, Values
from filban.index.advice.planning import Planner, planner
from filban.index.advice.rows import Given, Statement, Unread, Workload
from filban.index.advice.texts import Place, Text
from filban.pg import Query, Session
from filban.sql import SqlError, fingerprint, split

_PACKAGE = __package__ or ""
# Of the examples that a source has of one statement, and of the texts that are listed as unread.
MOST_EXAMPLES = 5
LONGEST_LISTED = 500


@dataclasses.dataclass(slots=True)
class _Group:
    """What is one statement: givens of one fingerprint."""

    id: str
    first: Given
    text: Text
    tables: tuple[Table, ...] = ()
    calls: float = 0.0
    total_ms: float = 0.0
    rows: float | None = None
    examples: list[str] = dataclasses.field(default_factory=list)
    columns: dict[str, Table] = dataclasses.field(default_factory=dict)

    def add(self, given: Given) -> None:
        self.calls += given.calls
        self.total_ms += given.total_ms
        if given.rows is not None:
            self.rows = (self.rows or 0.0) + given.rows
        known = [*given.examples, *(() if "$" in given.sql else (given.sql,))]
        fresh = [text for text in dict.fromkeys(known) if text not in self.examples]
        self.examples += fresh[: MOST_EXAMPLES - len(self.examples)]


async def counted(session: Session) -> tuple[Given, ...]:
    """What pg_stat_statements has of this database. Raises NotSupported without it."""
    rows = await session.rows(Query(_PACKAGE, "statements"), Counted)
    return tuple(
        Given(r.sql or "", r.calls, r.total_ms, r.rows, r.query_id, source="pg_stat_statements")
        for r in rows
    )


async def workload_of(
    session: Session,
    statements: Iterable[Given | str],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Workload:
    """The statements that ask for or change tables of users, one a fingerprint.

    What cannot be read is in `unread` with its reason; commands that have no plan (BEGIN, SET,
    DDL) and statements about the catalogue are left out. Raises what `Session.rows` raises.
    """
    names = await _catalog.names(session)
    groups, unread = _grouped(_separate(statements), names)
    columns = await _catalog.columns(session, {t.oid for g in groups for t in g.tables})
    for group in groups:
        group.columns = _tables_by_alias(group, names)
    values = await _catalog.values(session, _asked(groups, columns))
    async with planner(session, names.search_path) as asks:
        found = [await _statement(g, names, columns, values, asks) for g in groups]
    unread += [one for one in found if isinstance(one, Unread)]
    read = tuple(one for one in found if isinstance(one, Statement))
    return Workload(read, tuple(unread), since, until, names.search_path)


def _separate(statements: Iterable[Given | str]) -> Iterator[Given | Unread]:
    """One a text; a text of several statements is several."""
    for one in statements:
        given = Given(one) if isinstance(one, str) else one
        if not given.sql.strip():
            yield Unread("", "the role may not see its text", given.calls)
            continue
        try:
            parts = split(given.sql)
        except SqlError as error:
            yield _unread(given, error.message)
            continue
        if len(parts) == 1:
            yield given
        else:
            yield from (dataclasses.replace(given, sql=p, examples=()) for p in parts)


def _unread(given: Given, why: str) -> Unread:
    return Unread(given.sql[:LONGEST_LISTED], why, given.calls)


def _grouped(givens: Iterable[Given | Unread], names: Names) -> tuple[list[_Group], list[Unread]]:
    groups: dict[str, _Group | None] = {}
    unread: list[Unread] = []
    for given in givens:
        if isinstance(given, Unread):
            unread.append(given)
            continue
        try:
            key = _identity(given.sql)
            if key not in groups:
                groups[key] = _group(key, given, names)
        except (SqlError, _Unknown) as error:
            unread.append(_unread(given, str(error)))
            continue
        group = groups[key]
        if group is not None:
            group.add(given)
    return [g for g in groups.values() if g is not None], unread


class _Unknown(SqlError):
    """A name that the database does not have, or has more than once."""

    def __str__(self) -> str:
        return self.message.partition(": ")[2]


def _identity(sql: str) -> str:
    """The fingerprint; for libpg_query `events_1` and `events_2` are one table, for us they are
    not, so that numbered names count as well. Raises SqlError."""
    text = _texts.read(sql)
    relations = text.relations if text is not None else ()
    names = sorted({r.name for r in relations if any(map(str.isdigit, r.name))})
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:8] if names else ""
    return f"{fingerprint(sql)}{digest}"


def _group(key: str, given: Given, names: Names) -> _Group | None:
    """None for what is not about a user's table."""
    text = _texts.read(given.sql)
    if text is None:
        return None
    tables: dict[int, Table] = {}
    for reference in text.relations:
        if reference.schema in ("pg_catalog", "information_schema"):
            continue
        found = names.find(reference.schema, reference.name)
        if len(found) > 1:
            raise _Unknown(f"{reference.name} is in {len(found)} schemas: which one is not said")
        if found:
            tables[found[0].oid] = found[0]
        elif not reference.name.startswith("pg_"):
            raise _Unknown(f"there is no table {reference.name}")
    return _Group(key, given, text, tuple(tables.values())) if tables else None


def _tables_by_alias(group: _Group, names: Names) -> dict[str, Table]:
    found = ((r.alias, names.find(r.schema, r.name)) for r in group.text.relations)
    return {alias: tables[0] for alias, tables in found if len(tables) == 1}


Columns = Mapping[int, Mapping[str, Column]]


def _column(group: _Group, place: Place, columns: Columns) -> Column | None:
    """The column that a parameter is compared with."""
    if not place.column:
        return None
    if place.alias:
        tables = [t for alias, t in group.columns.items() if alias == place.alias]
    else:
        tables = list(group.columns.values())
    found = (columns.get(t.oid, {}).get(place.column) for t in tables)
    return next((c for c in found if c is not None), None)


def _asked(groups: Iterable[_Group], columns: Columns) -> Iterator[tuple[int, str]]:
    for group in groups:
        for place in group.text.parameters.values() if not group.examples else ():
            if (column := _column(group, place, columns)) is not None:
                yield column.table_oid, column.name


async def _statement(
    group: _Group,
    names: Names,
    columns: Columns,
    values: Mapping[tuple[int, str], Values],
    asks: Planner,
) -> Statement | Unread:
    """Unread when nothing that we can put in place of its parameters can be planned."""
    given, text = group.first, group.text
    examples, why = tuple(group.examples), ""
    if not examples:
        examples, why = await _made(group, columns, values, asks)
    if why and await asks.refusal(given.sql, generic=True):
        return _unread(given, why)
    return Statement(
        id=group.id,
        query_id=given.query_id,
        sql=given.sql,
        kind=text.kind,
        calls=group.calls,
        total_ms=group.total_ms,
        examples=examples,
        tables=tuple(sorted({m.quoted for t in group.tables for m in names.meant(t)})),
        source=given.source,
        generic=bool(why),
        rows=group.rows,
    )


async def _made(
    group: _Group,
    columns: Columns,
    values: Mapping[tuple[int, str], Values],
    asks: Planner,
) -> tuple[tuple[str, ...], str]:
    """Examples with values of our choice, different ones where it may matter; with guesses among
    the values, the server is asked whether it takes them: else none, and why."""
    places = group.text.parameters
    of = {n: _column(group, place, columns) for n, place in places.items()}
    kept = {n: values.get((c.table_oid, c.name)) if c else None for n, c in of.items()}
    types: tuple[str, ...] = ()
    guessed = [p for n, p in places.items() if not kept[n] and p.role not in ("limit", "offset")]
    if any(not place.cast for place in guessed):
        types = await asks.types(group.text.sql)
    skewed = any(_parameters.is_skewed(p, of[n], kept[n]) for n, p in places.items())
    found = []
    for variant in range(_parameters.VARIANTS if skewed else 1):
        literals = {}
        for number, place in places.items():
            kind = types[number - 1] if number <= len(types) else ""
            literals[number] = _value(group, place, kept[number], variant, kind)
        found.append(_texts.substitute(group.text.sql, literals))
    why = await asks.refusal(found[0]) if guessed else ""
    return (() if why else tuple(dict.fromkeys(found))), why


def _value(group: _Group, place: Place, kept: Values | None, variant: int, kind: str) -> str:
    if place.role == "offset":
        return "0"
    if place.role == "limit":
        per_call = round((group.rows or 0.0) / max(group.calls, 1.0))
        return str(per_call or _parameters.USUAL_LIMIT)
    bounds = [
        p.operator for p in group.text.parameters.values()
        if (p.alias, p.column) == (place.alias, place.column)
    ]  # fmt: skip
    bounded = any(o.startswith(">") for o in bounds)
    return _parameters.value_for(place, kept, variant, kind, bounded)
