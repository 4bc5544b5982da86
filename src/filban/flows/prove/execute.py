"""One statement on the clone: time, CPU, blocks and WAL, and everything rolled back."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from filban.flows.prove.rows import Built, Execution, Plan
from filban.index.advice.planning import nodes
from filban.pg import Session
from filban.pg.driver_errors import statement_errors

_EXECUTE = "EXPLAIN (ANALYZE, BUFFERS, WAL, TIMING OFF, SUMMARY, FORMAT JSON) "
_PLAN = "EXPLAIN (FORMAT JSON) "


class Runner:
    """Executes on one session of the clone. `executed` counts."""

    def __init__(self, opened: Session, postmaster_pid: int | None, timeout_ms: int) -> None:
        self.session = opened
        self.executed = 0
        self._connection = opened.connection
        self._pid = opened.connection.get_server_pid()
        self._postmaster = postmaster_pid
        self._timeout_ms = timeout_ms

    @contextlib.asynccontextmanager
    async def without(self, indexes: Iterable[str]) -> AsyncIterator[None]:
        """Indexes (names as SQL has them) are not there during the block; nothing of it stays."""
        transaction = self._connection.transaction()
        with statement_errors("hiding indexes on the clone"):
            await transaction.start()
            try:
                for index in indexes:
                    await self._connection.execute(f"DROP INDEX {index}")
            except BaseException:
                await transaction.rollback()
                raise
        try:
            yield
        finally:
            if not self._connection.is_closed():
                await transaction.rollback()

    @contextlib.asynccontextmanager
    async def unchecked(self) -> AsyncIterator[None]:
        """Foreign keys and triggers do not act during the block: made-up values need not fit."""
        with statement_errors("preparing a session on the clone"):
            await self._connection.execute("SET session_replication_role = replica")
        try:
            yield
        finally:
            if not self._connection.is_closed():
                await self._connection.execute("RESET session_replication_role")

    async def plan(self, sql: str) -> Plan:
        """The plan's top node; nothing is executed. Raises StatementFailed …"""
        with statement_errors("planning a statement on the clone"):
            answer = await self._connection.fetchval(_PLAN + sql)
        plan: Plan = json.loads(answer)[0]["Plan"]
        return plan

    async def execute(self, sql: str) -> Execution:
        """Execute it once, inside a savepoint that is rolled back. Raises StatementFailed …

        It is planned before: the first plan after an index came or went reads the catalogue anew,
        which is not the statement's.
        """
        await self.plan(sql)
        self.executed += 1
        workers_before, cpu_before = self._children_cpu_ms(), self._cpu_ms()
        inside = self._connection.transaction()  # a savepoint
        await inside.start()
        try:
            with statement_errors("executing a statement on the clone"):
                answer = json.loads(await self._connection.fetchval(_EXECUTE + sql))[0]
        finally:
            cpu_after, workers_after = self._cpu_ms(), self._children_cpu_ms()
            if not self._connection.is_closed():
                await inside.rollback()
        top = answer["Plan"]
        cpu = None if cpu_before is None or cpu_after is None else cpu_after - cpu_before
        if cpu is not None and launched(top):
            cpu += (workers_after or 0.0) - (workers_before or 0.0)
        return Execution(
            ms=answer["Planning Time"] + answer["Execution Time"],
            cpu_ms=cpu,
            blocks=top.get("Shared Hit Blocks", 0) + top.get("Shared Read Blocks", 0),
            read_blocks=top.get("Shared Read Blocks", 0),
            wal_bytes=top.get("WAL Bytes", 0),
            plan=top,
        )

    def timed_out(self, plan: Plan) -> Execution:
        """What stands for an execution that was ended."""
        ms = float(self._timeout_ms)
        return Execution(ms, ms, 0, 0, 0, plan, timed_out=True)

    def _cpu_ms(self) -> float | None:
        """CPU of the backend until now; exact while it waits for us. Linux only."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(Path(f"/proc/{self._pid}/schedstat").read_text().split()[0]) / 1e6
        return None

    def _children_cpu_ms(self) -> float | None:
        """CPU of the postmaster's children that have ended: parallel workers are reaped before
        their leader goes on (WaitForParallelWorkersToExit). In ticks of 10 ms, and parallel plans
        take far longer."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = Path(f"/proc/{self._postmaster}/stat").read_text()
            fields = text.rpartition(")")[2].split()
            ticks = int(fields[13]) + int(fields[14])  # cutime, cstime: proc(5)
            return 1000 * ticks / os.sysconf("SC_CLK_TCK")
        return None


def launched(plan: Plan) -> bool:
    """Whether parallel workers took part."""
    return any(node.get("Workers Launched") for node in nodes(plan))


def members(plan: Plan, built: Iterable[Built]) -> frozenset[str]:
    """Of these indexes the names of those that a plan reads, if only a partition's part."""
    seen = used(plan)
    return frozenset(b.name for b in built if not seen.isdisjoint(b.names))


def used(plan: Plan) -> set[str]:
    """The names of the indexes that a plan reads."""
    return {node["Index Name"] for node in nodes(plan) if "Index Name" in node}
