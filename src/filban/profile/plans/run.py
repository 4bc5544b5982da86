"""EXPLAIN of one statement on a server; with ANALYZE in a transaction that is rolled back."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace

import asyncpg

from filban.errors import RightsMissing, StatementFailed, UsageError
from filban.pg import Limits, Query, Target, connection
from filban.pg import parse as parse_dsn
from filban.pg.driver_errors import statement_errors
from filban.pg.session import fetch
from filban.profile.plans.model import Plan
from filban.profile.plans.parse import parse
from filban.profile.plans.rows import MemoryRow, StatisticsRow, TableRow
from filban.profile.plans.rules.common import Known, TableFacts
from filban.sql import Tree, session_effects
from filban.sql import parse as parse_sql

# A statement that nobody has measured yet must not run for an hour on a production server.
TIMEOUT_SECONDS = 30.0
_ANALYZE = "EXPLAIN (ANALYZE, BUFFERS, WAL, VERBOSE, SETTINGS, FORMAT JSON) "
_PLAIN = "EXPLAIN (VERBOSE, SETTINGS, FORMAT JSON) "
# What EXPLAIN takes (its manual page), as parsenodes.h names it.
_EXPLAINED = frozenset({
    "SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CreateTableAsStmt",
    "RefreshMatViewStmt", "DeclareCursorStmt",
})  # fmt: skip
# Their effect stays though the transaction is rolled back: other servers, files, replication,
# statistics, other sessions, locks of the session, sequences' values, large object files.
_LASTING = re.compile(
    r"dblink\w*|pg_(file|stat_reset|create|drop|replication|backup|wal_replay|copy)_\w+"
    r"|pg_(terminate|cancel)_backend|pg_stat_reset|pg_stat_statements_reset|pg_switch_wal"
    r"|pg_(start|stop)_backup|pg_(reload_conf|rotate_logfile|promote|log_backend_memory_contexts)"
    r"|pg_(try_)?advisory_lock(_shared)?|pg_advisory_unlock\w*|pg_logical_emit_message"
    r"|pg_logical_slot_get\w*|setval|lo_(import|export)|cron_\w+|http(_\w+)?"
)
_TABLES = Query(__package__, "table_facts")
_MEMORY = Query(__package__, "memory_settings")
_STATISTICS = Query(__package__, "extended_statistics")
# The kinds that correct the selectivity of several columns.
_CORRELATION = {"mcv", "dependencies"}


class OwnSession(Limits):
    """As the service's own session: search_path, JIT and styles stay the server's, or the plan
    would be another one."""

    def settings(self) -> dict[str, str]:
        kept = ("application_name", "statement_timeout", "lock_timeout", "client_encoding")
        return {name: value for name, value in super().settings().items() if name in kept}


def require_explainable(sql: str, *, analyze: bool) -> None:
    """Raises UsageError for what EXPLAIN does not take, and what a rollback would not undo."""
    tree = parse_sql(sql)
    _one_statement(tree)
    kind = tree.statements[0].kind
    if kind not in _EXPLAINED:
        name = kind.removesuffix("Stmt")
        hint = "SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES and CREATE TABLE AS have one"
        if kind == "ExplainStmt":
            hint = "leave EXPLAIN out; --analyze executes the statement"
        raise UsageError(f"{name} is a statement without a plan, and is not executed", hint=hint)
    if analyze and any(tree.find("ParamRef")):
        raise UsageError(
            "the statement has parameters ($1 …) without values, and cannot be executed",
            hint="put typical values in their places; without --analyze its generic plan is shown, "
            "which the server keeps for all values",
        )
    if analyze:
        _require_undone(sql)


def _one_statement(tree: Tree) -> None:
    if not tree.statements:
        raise UsageError("the statement is empty", hint="give one, such as 'SELECT 1'")
    if len(tree.statements) > 1:
        raise UsageError(
            f"{len(tree.statements)} statements were given; one can be explained",
            hint="take them one by one; to see them all, log them with auto_explain",
        )


def _require_undone(sql: str) -> None:
    lasting = sorted(f.name for f in session_effects(sql).functions if _LASTING.fullmatch(f.name))
    if lasting:
        raise UsageError(
            f"{lasting[0]}() has effects that a rollback does not undo: not executed",
            hint="without --analyze the plan is shown and nothing is executed",
        )


async def explain(
    sql: str,
    target: str | Target | None = None,
    *,
    analyze: bool = False,
    timeout: float = TIMEOUT_SECONDS,
) -> tuple[Plan, Known]:
    """The plan of one statement, and what the server knows about the tables in it.

    analyze: execute it, in a transaction that is rolled back. timeout: seconds, 0 for none.
    A statement with parameters ($1 …) gets its generic plan, made for all values.
    Raises UsageError (no plan, cannot be undone), StatementFailed, RightsMissing, ConnectError.
    """
    require_explainable(sql, analyze=analyze)
    resolved = target if isinstance(target, Target) else parse_dsn(target)
    limits = OwnSession(statement_timeout_ms=round(timeout * 1000), read_only=False)
    async with connection(resolved, limits) as opened:
        plan = replace(parse(await _rolled_back(opened, sql, analyze, timeout)), query=sql)
        return plan, await _known(opened, plan, sql)


async def _rolled_back(opened: asyncpg.Connection, sql: str, analyze: bool, timeout: float) -> str:
    transaction = opened.transaction()
    await transaction.start()
    try:
        with statement_errors("explaining the statement"):
            if any(parse_sql(sql).find("ParamRef")):
                return await _generic(opened, sql)
            return str(await opened.fetchval((_ANALYZE if analyze else _PLAIN) + sql))
    except StatementFailed as error:
        if error.sqlstate != "57014":  # query_canceled
            raise
        raise StatementFailed(
            f"the statement was cancelled after {timeout:g} s",
            sqlstate=error.sqlstate,
            hint="give it longer with --timeout; without --analyze it is not executed",
        ) from error
    except RightsMissing as error:
        raise RightsMissing(
            error.message, hint="EXPLAIN asks for the same rights as the statement itself"
        ) from error
    finally:
        if not opened.is_closed():
            await transaction.rollback()


async def _generic(opened: asyncpg.Connection, sql: str) -> str:
    """The generic plan. GENERIC_PLAN came with 16; a forced one of a prepared statement is the same
    on every version, and never looks at the values."""
    name = f"filban_{secrets.token_hex(4)}"
    await opened.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    await opened.execute(f"PREPARE {name} AS {sql}")
    count = await opened.fetchval(
        "SELECT cardinality(parameter_types) FROM pg_catalog.pg_prepared_statements "
        "WHERE name = $1",
        name,
    )
    nulls = ", ".join(["NULL"] * count)
    text = str(await opened.fetchval(f"{_PLAIN} EXECUTE {name}({nulls})"))
    await opened.execute(f"DEALLOCATE {name}")  # a rollback does not, and a pooler keeps it
    return text


async def _known(opened: asyncpg.Connection, plan: Plan, sql: str) -> Known:
    major = opened.get_server_version().major
    wanted = sorted({(node.schema, node.relation) for node in plan.nodes if node.relation})
    named = [s for s, _ in wanted], [n for _, n in wanted]
    rows = await fetch(opened, _TABLES.text(major), _TABLES.name, *named)
    tables = [TableRow(**dict(row)) for row in rows]
    rows = await fetch(opened, _STATISTICS.text(major), _STATISTICS.name, *named)
    statistics = [StatisticsRow(**dict(row)) for row in rows]
    memory = MemoryRow(**dict((await fetch(opened, _MEMORY.text(major), _MEMORY.name))[0]))
    return Known(
        tables={f"{t.schema}.{t.name}": _facts(t, statistics) for t in tables},
        work_mem_kb=memory.work_mem_kb,
        hash_mem_multiplier=memory.hash_mem_multiplier,
        sql=sql,
    )


def _facts(table: TableRow, statistics: list[StatisticsRow]) -> TableFacts:
    mine = tuple(
        (s.statistics, frozenset(s.columns))
        for s in statistics
        if (s.schema, s.name) == (table.schema, table.name) and _CORRELATION.intersection(s.kinds)
    )
    return TableFacts(table.analysed, table.rows, table.modified, mine, frozenset(table.texts))
