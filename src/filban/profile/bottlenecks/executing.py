"""Parts of time on CPU -> findings. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from filban.finding import Finding, Fix, Quantity, Severity
from filban.profile.bottlenecks import lookups
from filban.profile.bottlenecks.interval import Interval, Statement
from filban.profile.bottlenecks.load import StatementLoad
from filban.profile.bottlenecks.parts import (
    dead_shares,
    planning_share,
    reads_pages,
    scan_shares,
)
from filban.profile.bottlenecks.rows import Table
from filban.profile.bottlenecks.words import (
    Held,
    found,
    name_of,
    one_line,
    setting,
    used_by,
)
from filban.units import count, number, size

# Statements that wait for a processor for a quarter as long as they run make everything a quarter
# slower: from there on the processors are what is short (filban's own).
QUEUEING_SHARE = 0.25
# How many times the largest spill a sort in memory takes: memory holds pointers and whole rows.
IN_MEMORY_FACTOR = 2.0
_MB = 1024**2


def saturated(interval: Interval) -> bool | None:
    """Whether sessions queue for the processors; None when the server's machine is not this one."""
    machine = interval.machine
    if machine is None:
        return None
    return machine.queueing > QUEUEING_SHARE * machine.executing > 0


def processors(interval: Interval) -> dict[str, Quantity]:
    """Evidence on the processors; without the machine only what the sessions tell."""
    machine = interval.machine
    seen = {"sessions_on_cpu": Quantity(round(interval.load.of("cpu"), 2), "count")}
    if machine is None:
        return seen | {"cores": Quantity("unknown")}
    return seen | {
        "cores": Quantity(machine.cores, "count"),
        "machine_busy": Quantity(round(100 * machine.busy, 1), "percent"),
        "executing": Quantity(round(machine.executing, 2), "count"),
        "queueing_for_cpu": Quantity(round(machine.queueing, 2), "count"),
    }


def cpu(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.cpu, one for each of the statements that take most of it."""
    short = saturated(interval)
    for statement in _by_cpu(interval)[:3]:
        yield found(
            held,
            name_of(statement),
            f"{held.part.sessions:.1f} sessions execute at a time{_cores(interval)}",
            _why_cpu(interval) + f" Most of it takes: {one_line(statement.query)}",
            Fix(
                advice="Look at this statement's plan first (filban explain --analyze): half of "
                "its work is worth half of what it takes here. More processors only after that.",
            ),
            {**processors(interval), **used_by(interval, statement)},
            severity=Severity.info if short is False else None,
        )


def _cores(interval: Interval) -> str:
    machine = interval.machine
    return "" if machine is None else f" on {count(round(machine.cores), 'core')}"


def _why_cpu(interval: Interval) -> str:
    match saturated(interval):
        case True:
            return "Statements queue for the processors: each takes longer than it would alone."
        case False:
            return "The processors have room: only statements that do less become faster."
        case _:
            return (
                "They are on a processor or wait for one; which, only the server's machine can "
                "tell: with fewer cores than that, they queue."
            )


def _by_cpu(interval: Interval) -> list[StatementLoad]:
    seen = [s for s in interval.load.statements if s.sessions.get("cpu", 0.0) > 0]
    return sorted(seen, key=lambda s: -s.sessions["cpu"])


def seq_scan(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.seq_scan, one a table."""
    for table, share in scan_shares(interval)[:3]:
        statement = _reader(interval, table)
        columns = lookups.columns(statement.query, table.name) if statement else ()
        yield found(
            held,
            table.name,
            f"{number(round(table.rows_in_scans / table.seq_scans))} rows of {table.name} are read "
            f"by each of {number(round(table.seq_scans))} sequential scans",
            "Whoever wants a few of these rows pays for all of them."
            + (f" Most of it takes: {one_line(statement.query)}" if statement else ""),
            _fix_scan(table, columns),
            {
                "seq_scans": Quantity(round(table.seq_scans / interval.seconds, 2), "per_second"),
                "rows_in_scans": Quantity(round(table.rows_in_scans), "rows"),
                "of_all_rows_read": Quantity(round(100 * min(share, 1.0), 1), "percent"),
                **used_by(interval, statement),
                **processors(interval),
            },
        )


def _reader(interval: Interval, table: Table) -> StatementLoad | None:
    """The busiest statement that reads pages and names the table."""
    short = table.name.rpartition(".")[2]
    for statement in _by_cpu(interval):
        known = interval.statement(statement.query_id)
        if short in statement.query and (known is None or reads_pages(known)):
            return statement
    return None


def _fix_scan(table: Table, columns: tuple[str, ...]) -> Fix:
    if not columns:
        return Fix(
            advice="If its WHERE keeps few of the rows, give it an index (filban explain --analyze "
            "shows how many); if it needs them all, keep the sum beside the rows (a materialised "
            "view, a counter), or let it run elsewhere: on a replica, at night.",
        )
    return Fix(
        sql=f"CREATE INDEX CONCURRENTLY ON {table.quoted} ({', '.join(columns)});",
        lock="SHARE UPDATE EXCLUSIVE",
        caution="Worth it where the condition keeps few rows: see the plan before and after. Each "
        "write keeps one index more up to date; CONCURRENTLY not inside a transaction.",
    )


def planning(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.planning, one a statement."""
    for statement in _by_cpu(interval)[:3]:
        known = interval.statement(statement.query_id)
        if known is None or not (share := planning_share(interval, known, statement)):
            continue
        yield found(
            held,
            name_of(statement),
            f"Planning takes {100 * share:.0f} % of a statement's time",
            "It is planned anew for each execution, and has many joins or partitions to look at: "
            f"{one_line(statement.query)}",
            Fix(
                advice="Prepare it (asyncpg does by itself; behind PgBouncer from 1.21 with "
                "max_prepared_statements), so that the server may keep its plan. Let its "
                "conditions name the partition key; fewer partitions; join fewer tables, or "
                "lower join_collapse_limit for it."
            ),
            {
                "planning": Quantity(round(100 * share, 1), "percent"),
                "measured": Quantity("track_planning" if known.plan_ms else "samples"),
                **used_by(interval, statement),
                **processors(interval),
            },
        )


def jit(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.jit: one finding."""
    used = [s for s in interval.statements or () if s.jit_ms]
    compiling = sum(s.jit_ms or 0.0 for s in used)
    share = compiling / (sum(s.exec_ms for s in used) or 1.0)
    top = max(used, key=lambda s: s.jit_ms or 0.0, default=None)
    seen = next((s for s in _by_cpu(interval) if top and s.query_id == top.query_id), None)
    yield found(
        held,
        name_of(seen),
        f"JIT compiles for {100 * share:.0f} % of the time of the statements that it should speed "
        "up",
        "Their estimated cost is above jit_above_cost, and they are too short to win the compiling "
        f"back{': ' + one_line(seen.query) if seen else '.'}",
        setting(
            interval,
            "jit",
            "off",
            "For new and running sessions. Where long analytic statements win by JIT, raise "
            f"jit_above_cost (now {number(interval.limits.jit_above_cost)}) instead.",
        ),
        {
            "compiling": Quantity(round(compiling), "ms"),
            "of_execution": Quantity(round(100 * share, 1), "percent"),
            **used_by(interval, seen),
        },
    )


def vacuum(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.vacuum, one a table."""
    for table, share in dead_shares(interval)[:3]:
        yield found(
            held,
            table.name,
            f"{number(round(table.dead_rows))} dead rows of {table.name} are read with its "
            f"{number(round(table.live_rows))} live ones",
            "Autovacuum has not kept up with the table, or is off for it, or an old snapshot keeps "
            "the rows alive (filban check names the transaction or slot).",
            Fix(
                sql=f"VACUUM (ANALYZE) {table.quoted};",
                lock="SHARE UPDATE EXCLUSIVE",
                caution="Removes the rows; the file keeps its size. So that it does not come back: "
                "ALTER TABLE … SET (autovacuum_vacuum_scale_factor = 0.02), and no "
                "autovacuum_enabled = off.",
            ),
            {
                "dead_rows": Quantity(round(table.dead_rows), "rows"),
                "live_rows": Quantity(round(table.live_rows), "rows"),
                "autovacuum_from": Quantity(round(table.vacuum_at), "rows"),
                "of_all_blocks_read": Quantity(round(100 * share, 1), "percent"),
                "autovacuum_workers": Quantity(round(interval.load.workers, 2), "count"),
            },
        )


def temp(interval: Interval, held: Held) -> Iterator[Finding]:
    """bottleneck.temp: one finding."""
    spilling = sorted(
        (s for s in interval.statements or () if s.temp_blocks), key=lambda s: -s.temp_blocks
    )
    top = spilling[0] if spilling else None
    seen = next((s for s in interval.load.statements if top and s.query_id == top.query_id), None)
    wanted = _wanted_work_mem(interval, top)
    yield found(
        held,
        name_of(seen),
        f"{size(interval.database.temp_bytes)} went through temporary files in "
        f"{interval.seconds:.0f} s",
        f"Sorts, hashes or results did not fit into work_mem "
        f"({size(interval.limits.work_mem_bytes)})"
        + (f"; most of it wrote: {one_line(seen.query)}" if seen else "."),
        Fix(
            sql=f"SET LOCAL work_mem = '{wanted}MB';",
            caution="In the transaction of this statement. Each sort and hash of each session may "
            "take as much: for all sessions (ALTER SYSTEM) only with memory to spare. An index in "
            "the wanted order, or fewer columns, spill nothing at all.",
        ),
        {
            "temp_files": Quantity(round(interval.database.temp_files), "count"),
            "temp_written": Quantity(round(interval.database.temp_bytes), "bytes"),
            "work_mem": Quantity(interval.limits.work_mem_bytes, "bytes"),
            "waits_for_temp_files": Quantity(round(interval.load.of("temp_io"), 2), "count"),
            **used_by(interval, seen),
        },
    )


def _wanted_work_mem(interval: Interval, top: Statement | None) -> int:
    """Megabytes that would have held the mean spill of the statement, or of a file."""
    if top is not None:
        spilled = top.temp_blocks * interval.limits.block_bytes / top.calls
    else:
        spilled = interval.database.temp_bytes / max(interval.database.temp_files, 1.0)
    return max(1, math.ceil(spilled * IN_MEMORY_FACTOR / _MB))
