"""What helps beside an index: settings, statistics, other ways to say a condition. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from filban.index.advice.access import Access
from filban.index.advice.catalog import Catalog
from filban.index.advice.conditions import Condition
from filban.index.advice.planning import Plan, nodes
from filban.index.advice.rows import Remedy, Statement
from filban.index.advice.spelling import TIMES, better
from filban.index.advice.worth import LEAST_VISIBLE

# The count of rows that the planner expects against the count that came: from here on plans go
# wrong (the threshold of plan.misestimate).
MISESTIMATE = 10.0
STATISTICS_TARGET = 1000
# What a sort needs for a row beside its width (tuplesort.c: MinimalTuple header and SortTuple).
_SORT_ENTRY_BYTES = 40
# A statement that throws away so much of a table at once is a retention, and a partition to drop.
RETENTION_SHARE = 0.05
_NOT_PLAIN = re.compile(r"\W")


def of_plan(statement: Statement, plan: Plan, work_mem_bytes: float) -> Iterator[Remedy]:
    """work_mem, where the planner itself expects a sort or a hash to spill."""
    worst = max((_memory(node) for node in nodes(plan)), default=0.0)
    if worst > work_mem_bytes:
        megabytes = int(worst * 1.2 / 2**20) + 1
        yield Remedy(
            "work_mem",
            statement.id,
            f"SET LOCAL work_mem = '{megabytes}MB'",
            f"it sorts or hashes {worst / 2**20:.0f} MB, and work_mem is "
            f"{work_mem_bytes / 2**20:.0f} MB: the rest goes through temporary files",
            {"needed_bytes": worst, "work_mem_bytes": work_mem_bytes},
        )


def _memory(node: Plan) -> float:
    """Bytes that a node wants at once; a sort below LIMIT keeps the first few only, which the
    plan's own count of rows for it does not say."""
    if node["Node Type"] == "Limit":
        for child in node.get("Plans", ()):
            child.setdefault("Top", node["Plan Rows"])
    if node["Node Type"] == "Sort":
        rows = node.get("Top", node["Plan Rows"])
        return float(rows * (node["Plan Width"] + _SORT_ENTRY_BYTES))
    if node.get("Planned Partitions", 0) > 0:
        return float(node["Plan Rows"] * (node["Plan Width"] + _SORT_ENTRY_BYTES))
    return 0.0


def returned(statement: Statement, plan: Plan, accesses: Collection[Access]) -> float | None:
    """How many rows of its one table each call has really returned; None where that is not known:
    of a join, an aggregate, LIMIT, or without counts."""
    one = len(accesses) == 1 and statement.kind == "read"
    if statement.rows is None or not statement.calls or not one:
        return None
    if any(node["Node Type"] in ("Limit", "Aggregate", "Unique") for node in nodes(plan)):
        return None
    return statement.rows / statement.calls


def of_estimate(statement: Statement, plan: Plan, accesses: Collection[Access]) -> Iterator[Remedy]:
    """Statistics, where far more or fewer rows come than the planner expects."""
    came, expected, found = returned(statement, plan, accesses), plan["Plan Rows"], list(accesses)
    if came is None:
        return
    ratio = max(came, 1.0) / max(expected, 1.0)
    if 1 / MISESTIMATE < ratio < MISESTIMATE:
        return
    numbers = {"rows_expected": float(expected), "rows_returned": came}
    reason = f"the planner expects {expected} rows and {came:.0f} come"
    keys = {c.column: c.key for c in found[0].conditions if c.column and not c.is_join}
    table, columns, quoted = found[0].table, sorted(keys), [keys[name] for name in sorted(keys)]
    if len(columns) > 1:
        name = _NOT_PLAIN.sub("_", "_".join([table.name, *columns, "stats"]))[:60]
        sql = f'CREATE STATISTICS "{name}" ON {", ".join(quoted)} FROM {table.quoted}'
        yield Remedy("extended_statistics", statement.id, sql, f"{reason}: its columns depend on "
                     "each other", numbers)  # fmt: skip
    elif columns:
        sql = (f"ALTER TABLE {table.quoted} ALTER COLUMN {quoted[0]} "
               f"SET STATISTICS {STATISTICS_TARGET}")  # fmt: skip
        yield Remedy("statistics_target", statement.id, sql, f"{reason}: its values are more "
                     "uneven than the statistics can tell", numbers)  # fmt: skip


def of_access(access: Access, catalog: Catalog) -> Iterator[Remedy]:
    """What the conditions themselves need: another spelling, statistics, a vacuum, partitions."""
    for condition in access.conditions:
        yield from _spelling(access, condition, catalog)
    table = access.table
    if table.rows < 0 and table.kind in "rm":
        yield Remedy("analyze", access.statement, f"ANALYZE {table.quoted}",
                     "it was never analysed: the planner guesses")  # fmt: skip
    yield from _retention(access, catalog)


def _spelling(access: Access, c: Condition, catalog: Catalog) -> Iterator[Remedy]:
    column = catalog.column(access.table.oid, next(iter(c.columns), ""))
    found = better(c, column)
    if found is not None:
        yield Remedy(found.kind, access.statement, found.sql, found.reason)


def _retention(access: Access, catalog: Catalog) -> Iterator[Remedy]:
    if access.writes != "Delete" or access.table.rows <= 0 or access.table.kind == "p":
        return
    share = access.rows / access.table.rows
    for c in access.conditions:
        column = catalog.column(access.table.oid, c.column or "")
        in_time = column is not None and column.type in TIMES
        if in_time and c.kind == "range" and c.operator[0] == "<" and share >= RETENTION_SHARE:
            sql = f"PARTITION BY RANGE ({c.key})"
            yield Remedy("partitioning", access.statement, sql,
                    f"it removes {share:.0%} of the table at once: a partition that is dropped "
                    "leaves nothing to vacuum and needs no index", {"share": share})  # fmt: skip


def of_visibility(refused: Mapping[str, tuple[str, float]]) -> Iterator[Remedy]:
    """VACUUM, for tables (quoted -> statement, visible share) where an index-only scan would read
    the table all the same."""
    for table, (statement, share) in refused.items():
        yield Remedy("vacuum", statement, f"VACUUM {table}",
                     f"only {share:.0%} of its pages are all-visible (wanted: "
                     f"{LEAST_VISIBLE:.0%})", {"visible_share": share})  # fmt: skip
