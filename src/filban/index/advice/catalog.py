"""The tables, columns and indexes that a workload is about, read once and looked up by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from filban.index.advice.expressions import Call
from filban.index.advice.facts import Behind, Column, Function, Path, Table, Values
from filban.index.upkeep import collect as _upkeep
from filban.index.upkeep.rows import ForeignKey, Index
from filban.pg import Query, Session

_PACKAGE = __package__ or ""
_BATCH = 500  # tables a read: the columns of so many are some thousand rows


class Names:
    """Every relation of the database by name, found as PostgreSQL finds it through search_path."""

    def __init__(
        self, tables: Iterable[Table], configured: str | None, behind: Iterable[Behind] = ()
    ) -> None:
        self.tables = {table.oid: table for table in _with_parts(list(tables))}
        self._by_name: dict[str, list[Table]] = {}
        self._behind: dict[int, list[int]] = {}
        for pair in behind:
            self._behind.setdefault(pair.view_oid, []).append(pair.table_oid)
        for table in self.tables.values():
            self._by_name.setdefault(table.name, []).append(table)
        first = [part.strip() for part in (configured or "public").split(",")]
        self._path = [part.strip('"') for part in first if part not in ("", '"$user"', "$user")]
        others = {t.schema: t.schema_quoted for t in self.tables.values()}
        self.search_path = ", ".join(
            dict.fromkeys([*(p for p in first if p), *(others[s] for s in sorted(others))])
        )

    def find(self, schema: str, name: str) -> tuple[Table, ...]:
        """The relation of this name: several when the text does not say which, none if unknown."""
        named = self._by_name.get(name, [])
        if schema:
            return tuple(t for t in named if t.schema == schema)
        for part in self._path:
            if found := tuple(t for t in named if t.schema == part):
                return found
        return tuple(named)

    def meant(self, table: Table) -> set[Table]:
        """The table itself with those that an index for it may be on: the partitioned one that it
        is part of, those that a view reads."""
        found, left = set[Table](), [table]
        while left:
            one = left.pop()
            if one not in found:
                found |= {one, self.root(one)}
                left += [self.tables[o] for o in self._behind.get(one.oid, ()) if o in self.tables]
        return found

    def root(self, table: Table) -> Table:
        """The partitioned table at the top, or the table itself."""
        while table.parent_oid is not None and table.parent_oid in self.tables:
            table = self.tables[table.parent_oid]
        return table


def _with_parts(tables: list[Table]) -> list[Table]:
    """A partitioned table has the sums of its parts: rows, pages and counters."""
    below: dict[int, list[int]] = {}
    for place, table in enumerate(tables):
        if table.parent_oid is not None:
            below.setdefault(table.parent_oid, []).append(place)
    found = list(tables)

    def whole(place: int) -> Table:
        parts = [whole(p) for p in below.get(tables[place].oid, ())]
        if parts:
            found[place] = dataclasses.replace(
                found[place],
                rows=sum(max(p.rows, 0) for p in parts),
                **{f: sum(getattr(p, f) for p in parts) for f in _SUMS},
            )
        return found[place]

    for place, table in enumerate(tables):
        if table.parent_oid is None:
            whole(place)
    return found


_SUMS = ("pages", "visible_pages", "inserts", "updates", "hot_updates", "deletes")


@dataclasses.dataclass(frozen=True)
class Catalog:
    """Facts about the tables of a workload. Tables and columns by oid, indexes by table."""

    names: Names
    columns: Mapping[int, Mapping[str, Column]]
    indexes: Mapping[int, tuple[Index, ...]]
    foreign_keys: tuple[ForeignKey, ...]
    extensions: frozenset[str]
    settings: Mapping[str, float]
    functions: Mapping[tuple[Call, str | None], bool] = dataclasses.field(default_factory=dict)

    def table(self, oid: int) -> Table:
        return self.names.tables[oid]

    def column(self, table: int, name: str) -> Column | None:
        return self.columns.get(table, {}).get(name)

    def numbered(self, table: int, number: int) -> Column | None:
        return next((c for c in self.columns.get(table, {}).values() if c.number == number), None)


# Cost constants and sizes that the model of costs needs; see cost.py.
_SETTINGS = ("random_page_cost", "seq_page_cost", "cpu_tuple_cost", "cpu_index_tuple_cost",
    "cpu_operator_cost", "effective_cache_size")  # fmt: skip


async def names(session: Session) -> Names:
    """Raises what `Session.rows` raises."""
    tables = await session.rows(Query(_PACKAGE, "tables"), Table)
    path = await session.row(Query(_PACKAGE, "search_path"), Path)
    behind = await session.rows(Query(_PACKAGE, "view_tables"), Behind)
    return Names(tables, path.configured, behind)


async def columns(session: Session, oids: Iterable[int]) -> dict[int, dict[str, Column]]:
    """The columns of these tables by name."""
    wanted, found = sorted(set(oids)), dict[int, dict[str, Column]]()
    for start in range(0, len(wanted), _BATCH):
        part = wanted[start : start + _BATCH]
        for column in await session.rows(Query(_PACKAGE, "columns"), Column, part):
            found.setdefault(column.table_oid, {})[column.name] = column
    return found


async def values(
    session: Session, wanted: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], Values]:
    """What ANALYZE keeps of these columns."""
    pairs, found = sorted(set(wanted)), dict[tuple[int, str], Values]()
    for start in range(0, len(pairs), _BATCH):
        part = pairs[start : start + _BATCH]
        rows = await session.rows(
            Query(_PACKAGE, "sample_values"), Values, [p[0] for p in part], [p[1] for p in part]
        )
        found |= {(row.table_oid, row.name): row for row in rows}
    return found


async def catalog(session: Session, known: Names, oids: Iterable[int]) -> Catalog:
    """All facts about the tables `oids`."""
    keys = await _upkeep.foreign_keys(session)
    wanted = set(oids)
    by_name = {f"{t.schema}.{t.name}": t.oid for t in known.tables.values()}
    wanted |= {k.table_oid for k in keys if by_name.get(k.referenced_name) in wanted}
    by_table: dict[int, tuple[Index, ...]] = {}
    for index in await _upkeep.indexes(session):
        if index.table_oid in wanted and index.usable:
            by_table[index.table_oid] = (*by_table.get(index.table_oid, ()), index)
    settings = session.server.settings
    return Catalog(
        names=known,
        columns=await columns(session, wanted),
        indexes=by_table,
        foreign_keys=tuple(k for k in keys if k.table_oid in wanted),
        extensions=frozenset(
            n
            for n in ("pg_trgm", "btree_gin", "btree_gist", "postgis")
            if session.server.installed(n)
        ),
        settings={n: settings[n].number() for n in _SETTINGS},
    )


async def functions(
    session: Session, pairs: Iterable[tuple[Call, str | None]]
) -> dict[tuple[Call, str | None], bool]:
    """(function, type of its argument) -> whether it may stand in an index."""
    asked = sorted(set(pairs), key=str)
    if not asked:
        return {}
    rows = await session.rows(
        Query(_PACKAGE, "functions"),
        Function,
        [call.name for call, _ in asked],
        [call.arguments for call, _ in asked],
        [kind for _, kind in asked],
    )
    return {(Call(row.name, row.arguments), row.type): row.is_immutable for row in rows}
