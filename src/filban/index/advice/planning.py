"""EXPLAIN, and nothing but EXPLAIN: how the server would run a statement.

The planner may evaluate stable functions of the statement for its estimates, in our read-only
transaction; nothing of the statement itself is executed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from filban.errors import RightsMissing, StatementFailed
from filban.pg import Session
from filban.pg.connect import Limits, is_pooled
from filban.pg.driver_errors import statement_errors

Plan = dict[str, Any]


class Planner:
    """Asks one server for plans. `asked` counts the questions."""

    def __init__(self, session: Session, search_path: str) -> None:
        self._session = session
        self._search_path = search_path
        self.asked = 0

    async def plan(self, sql: str, *, generic: bool = False) -> Plan:
        """The plan's top node. sql: one statement that can be explained.

        Raises StatementFailed, RightsMissing, ConnectionLost.
        """
        options = "VERBOSE, FORMAT JSON" + (", GENERIC_PLAN" if generic else "")
        self.asked += 1
        connection = self._session.connection
        text = f"EXPLAIN ({options}) {sql}"
        with statement_errors("planning a statement of the workload"):
            if not is_pooled(connection):
                answer = await connection.fetchval(text)
            else:
                async with connection.transaction(readonly=True):
                    limits = Limits()
                    await connection.execute(
                        f"SET LOCAL statement_timeout = {limits.statement_timeout_ms};"
                        f"SET LOCAL lock_timeout = {limits.lock_timeout_ms};"
                        f"SET LOCAL search_path = {self._search_path}"
                    )
                    answer = await connection.fetchval(text)
        plan: Plan = json.loads(answer)[0]["Plan"]
        return plan

    async def types(self, sql: str) -> tuple[str, ...]:
        """The types of the parameters $1, $2, …; () where the server cannot tell."""
        with contextlib.suppress(StatementFailed, RightsMissing):
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
