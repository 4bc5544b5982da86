"""What is to be done, in which order, and what each step takes. Pure.

Order: what failed builds have left goes first, as every write keeps it up and it holds room; then
new statistics objects, which the ANALYZE of their table fills; then rebuilds, the smallest first,
because each makes room for the next; then VACUUM, which has smaller indexes to read by then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from filban.index.apply.guard import TIMES_ITS_SIZE
from filban.index.maintain.rows import ColumnGroup, Table
from filban.index.upkeep.invalid import to_drop
from filban.index.upkeep.rows import Index, IndexSpace
from filban.units import count, size

Kind = Literal["drop", "statistics", "reindex", "vacuum", "analyze"]
KINDS: tuple[Kind, ...] = ("drop", "statistics", "reindex", "vacuum", "analyze")

# Bytes a second, for a first forecast: a rebuild reads the table twice and writes the new
# index once. Measured on PostgreSQL 15, 2 busy cores, 1 million rows in 134 MB: a forecast of 2.7 s
# took 1.2 s (integers), one of 4.2 s took 5.7 s (text). The run corrects it by its own steps.
READ_BYTES_PER_SECOND = 150e6
WRITE_BYTES_PER_SECOND = 25e6
# ANALYZE reads 300 pages for each unit of the statistics target (100): 30,000 at most.
ANALYZE_PAGES_BYTES = 300 * 100 * 8192
LOCK = "SHARE UPDATE EXCLUSIVE"


@dataclass(frozen=True, slots=True)
class Step:
    """One statement. room_bytes: what it may write; forecast_seconds: without waiting for others.

    oid: the index of a drop or a rebuild, the table of the others.
    """

    kind: Kind
    subject: str
    oid: int
    table_oid: int
    sql: str
    why: str
    room_bytes: int = 0
    forecast_seconds: float = 0.0
    lock: str = LOCK


@dataclass(frozen=True, slots=True)
class Plan:
    """left: what is not done, in words, with the reason."""

    steps: tuple[Step, ...]
    left: tuple[str, ...]


def plan(
    invalid: Sequence[Index], bloated: Sequence[tuple[IndexSpace, int]], tables: Sequence[Table],
    groups: Iterable[ColumnGroup], known: Mapping[str, Index], kinds: Collection[Kind] = KINDS,
) -> Plan:  # fmt: skip
    """invalid: half-built ones that nobody works on; bloated: with what a fresh build takes;
    groups: columns that turned out to depend on each other; known: every index by `quoted`."""
    by_oid = {t.oid: t for t in tables}
    groups = list(groups)
    wanted = [
        *_drops(invalid),
        *_statistics(groups),
        *sorted(
            _rebuilds(invalid, bloated, known, by_oid), key=lambda s: (s.room_bytes, s.subject)
        ),
        *_tables(tables, {g.table_oid for g in groups} if "statistics" in kinds else set(), kinds),
    ]
    chosen = [s for s in wanted if s.kind in kinds]
    # a TOAST table's index is its own table's: the server decides there
    steps = tuple(
        s for s in chosen if s.table_oid not in by_oid or by_oid[s.table_oid].may_maintain
    )
    return Plan(steps, tuple(_left(invalid, len(chosen) - len(steps))))


def _drops(invalid: Iterable[Index]) -> Iterator[Step]:
    for index in invalid:
        if to_drop(index) and not index.is_partitioned:
            sql = f"DROP INDEX CONCURRENTLY {index.quoted}"
            why = "a failed build or drop has left it"
            yield Step("drop", index.name, index.oid, index.table_oid, sql, why)


def _rebuilds(
    invalid: Iterable[Index], bloated: Iterable[tuple[IndexSpace, int]],
    known: Mapping[str, Index], tables: Mapping[int, Table],
) -> Iterator[Step]:  # fmt: skip
    for index in invalid:
        if not (to_drop(index) or index.is_partitioned or index.is_exclusion):
            why = "half built: no query may use it"
            heap = _heap_bytes(index, tables)
            yield _rebuild(index, why, index.size_bytes or heap, heap)
    for space, needed in bloated:
        found = known.get(space.quoted)
        if found is not None and not found.is_exclusion:
            wasted = size(space.size_bytes - needed)
            why = f"about {wasted} of {size(space.size_bytes)} are empty"
            yield _rebuild(found, why, needed, _heap_bytes(found, tables))


def _rebuild(index: Index, why: str, needed_bytes: int, heap_bytes: int) -> Step:
    forecast = 2 * heap_bytes / READ_BYTES_PER_SECOND + needed_bytes / WRITE_BYTES_PER_SECOND
    return Step(
        "reindex", index.name, index.oid, index.table_oid,
        f"REINDEX INDEX CONCURRENTLY {index.quoted}", why, needed_bytes * TIMES_ITS_SIZE, forecast,
    )  # fmt: skip


def _heap_bytes(index: Index, tables: Mapping[int, Table]) -> int:
    table = tables.get(index.table_oid)
    return table.heap_bytes if table is not None else 0


def _statistics(groups: Iterable[ColumnGroup]) -> Iterator[Step]:
    for group in groups:
        columns = ", ".join(group.columns_quoted)
        yield Step(
            "statistics", group.table_name, group.table_oid, group.table_oid,
            f"CREATE STATISTICS {group.statistics_quoted} (ndistinct, dependencies) ON {columns} "
            f"FROM {group.table_quoted}",
            f"the planner takes {columns} for independent, and they are not",
        )  # fmt: skip


def _tables(
    tables: Iterable[Table], fresh: Collection[int], kinds: Collection[Kind]
) -> Iterator[Step]:
    """fresh: tables with a statistics object that is still empty."""
    for table in tables:
        analyze = "analyze" in kinds and (table.is_analyze_due or table.oid in fresh)
        if table.is_vacuum_due and "vacuum" in kinds:
            yield _vacuum(table, analyze)
        elif analyze:
            yield _analyze(table)


def _vacuum(table: Table, analyze: bool) -> Step:
    options = " (ANALYZE)" if analyze else ""
    why = f"{count(table.dead_rows, 'dead row')}: more than autovacuum's own limit"
    seconds = table.heap_bytes / READ_BYTES_PER_SECOND
    sql = f"VACUUM{options} {table.quoted}"
    return Step("vacuum", table.name, table.oid, table.oid, sql, why, forecast_seconds=seconds)


def _analyze(table: Table) -> Step:
    why = f"{count(table.changed_rows, 'row')} changed since the last one"
    if not table.is_analyze_due:
        why = "its new statistics are empty"
    elif table.is_partitioned:
        why = "autovacuum never analyses a partitioned table"
    seconds = min(table.heap_bytes, ANALYZE_PAGES_BYTES) / READ_BYTES_PER_SECOND
    sql = f"ANALYZE {table.quoted}"
    return Step("analyze", table.name, table.oid, table.oid, sql, why, forecast_seconds=seconds)


def _left(invalid: Iterable[Index], not_ours: int) -> Iterator[str]:
    if not_ours:
        yield f"{count(not_ours, 'step')} on tables of other roles: run as their owner"
    for index in invalid:
        if index.is_partitioned:
            yield f"{index.name}: some partitions lack it; `filban indexes` has the statements"
        elif index.is_exclusion and not to_drop(index):
            yield f"{index.name}: an exclusion constraint's index cannot be rebuilt CONCURRENTLY"
