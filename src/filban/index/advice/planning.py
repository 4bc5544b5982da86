"""EXPLAIN, and nothing but EXPLAIN: how the server would run a statement.

The planner may evaluate stable functions of the statement for its estimates, in our read-only
transaction; nothing of the statement itself is executed.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg

from filban.errors import NotSupported, RightsMissing, StatementFailed
from filban.pg import Session
from filban.pg.connect import Limits, is_pooled
from filban.pg.driver_errors import statement_errors

Plan = dict[str, Any]
_OPTIONS = "VERBOSE, FORMAT JSON"
_PREPARED = "filban_generic"
# What a statement of the workload may answer instead of a plan; a lost connection is another thing.
REFUSALS = (StatementFailed, RightsMissing, NotSupported)


def nodes(plan: Plan) -> Iterator[Plan]:
    """Every node of a plan, the top one first."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def printed_name(qualified: str) -> str:
    """An index's name, quoted and with its schema, as plans have it."""
    quoted = re.search(r'"((?:[^"]|"")*)"$', qualified)
    return quoted[1].replace('""', '"') if quoted else qualified.rpartition(".")[2]


class Planner:
    """Asks one server for plans. `asked` counts the questions."""

    def __init__(self, session: Session, search_path: str) -> None:
        self._session = session
        self._search_path = search_path
        self.asked = 0

    async def plan(self, sql: str, *, generic: bool = False) -> Plan:
        """The plan's top node. sql: one statement that can be explained; generic: for any values of
        its parameters.

        Raises REFUSALS, ConnectionLost.
        """
        try:
            return await self._plan(sql, generic)
        except asyncpg.InterfaceError as error:  # a parameter that nobody has given a value
            raise StatementFailed(
                f"a parameter of the statement has no value: {error.args[0]}", sqlstate="42P02"
            ) from error

    async def _plan(self, sql: str, generic: bool) -> Plan:
        self.asked += 1
        connection = self._session.connection
        ask = self._generic if generic else self._explain
        with statement_errors("planning a statement of the workload"):
            if not is_pooled(connection):
                answer = await ask(sql)
            else:
                async with connection.transaction(readonly=True):
                    limits = Limits()
                    await connection.execute(
                        f"SET LOCAL statement_timeout = {limits.statement_timeout_ms};"
                        f"SET LOCAL lock_timeout = {limits.lock_timeout_ms};"
                        f"SET LOCAL search_path = {self._search_path}"
                    )
                    answer = await ask(sql)
        plan: Plan = json.loads(answer)[0]["Plan"]
        return plan

    async def _explain(self, sql: str) -> str:
        return str(await self._session.connection.fetchval(f"EXPLAIN ({_OPTIONS}) {sql}"))

    async def _generic(self, sql: str) -> str:
        """The plan for any values. Not by EXPLAIN (GENERIC_PLAN), which 14 and 15 do not have and
        which the extended protocol gives values all the same."""
        connection = self._session.connection
        # not by `execute`: that would take several statements
        await connection.fetch(f"PREPARE {_PREPARED} AS {sql}")
        try:
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            count = await connection.fetchval(
                "SELECT cardinality(parameter_types) FROM pg_catalog.pg_prepared_statements"
                " WHERE name = $1", _PREPARED,
            )  # fmt: skip
            nulls = f"({', '.join(['NULL'] * count)})" if count else ""
            return await self._explain(f"EXECUTE {_PREPARED}{nulls}")
        finally:
            with contextlib.suppress(asyncpg.InFailedSQLTransactionError):
                await connection.execute(f"RESET plan_cache_mode; DEALLOCATE {_PREPARED}")

    async def refusal(self, sql: str, *, generic: bool = False) -> str:
        """Why the server does not plan it, or ""."""
        try:
            await self.plan(sql, generic=generic)
        except REFUSALS as error:
            return error.message
        return ""

    async def types(self, sql: str) -> tuple[str, ...]:
        """The types of the parameters $1, $2, …; () where the server cannot tell."""
        with contextlib.suppress(*REFUSALS):
            with statement_errors("reading the types of a statement's parameters"):
                statement = await self._session.connection.prepare(sql)
            return tuple(p.name for p in statement.get_parameters())
        return ()


@contextlib.asynccontextmanager
async def planner(session: Session, search_path: str) -> AsyncIterator[Planner]:
    """A planner that finds names as the workload does; afterwards the session is as before."""
    connection = session.connection
    if is_pooled(connection):
        yield Planner(session, search_path)
        return
    with statement_errors("setting search_path"):
        await connection.execute(f"SET search_path = {search_path}")
    try:
        yield Planner(session, search_path)
    finally:
        if not connection.is_closed():
            with statement_errors("resetting search_path"):
                await connection.execute("SET search_path = pg_catalog")
