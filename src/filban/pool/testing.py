"""For the tests of a service: a pool whose every change is gone after the test.

    from filban.pool.testing import filban_pool  # in conftest.py, with a fixture `filban_dsn`

    async def test_publish(filban_pool): await publish(filban_pool, "title")

All leases share one connection in one transaction, which is rolled back at the end. The code under
test may open, commit and roll back transactions: they are savepoints. What it cannot see is another
session, and `now()` stands still.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from filban.errors import ExtraMissing
from filban.pool.pool import Pool, create_pool

try:
    import pytest
except ImportError as error:
    raise ExtraMissing("pytest", "dev") from error


class RollingConnection(asyncpg.Connection):
    """A connection within one transaction that it never commits.

    A statement outside of a transaction of the code's own gets a savepoint: elsewhere an error in
    it would leave nothing behind, and so it must be here.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._begun = False
        self._savepoints: list[str] = []  # those of the code under test that are open

    async def begin(self) -> None:
        await self.transaction().start()
        self._begun = True

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        if not self._begun or self._is_savepoint(query):
            return await super().execute(query, *args, timeout=timeout)
        async with self._protected():
            return await super().execute(query, *args, timeout=timeout)

    async def _execute(self, *args: Any, **kwargs: Any) -> Any:
        async with self._protected():
            return await super()._execute(*args, **kwargs)  # type: ignore[misc]

    async def _executemany(self, *args: Any, **kwargs: Any) -> Any:
        async with self._protected():
            return await super()._executemany(*args, **kwargs)  # type: ignore[misc]

    def _is_savepoint(self, query: str) -> bool:
        """asyncpg's nested transactions are savepoints: note which are open."""
        words = query.rstrip(";").split()
        if words[:1] == ["SAVEPOINT"]:
            self._savepoints.append(words[-1])
        elif words[:2] in (["RELEASE", "SAVEPOINT"], ["ROLLBACK", "TO"]):
            self._savepoints.remove(words[-1])
        else:
            return False
        return True

    @contextlib.asynccontextmanager
    async def _protected(self) -> AsyncIterator[None]:
        if not self._begun or self._savepoints:
            yield
            return
        async with self.transaction():
            yield

    async def _reset(self) -> None:
        """At the end of a lease: what asyncpg does, but for the end of the transaction."""
        if self._savepoints:  # one that was left open is rolled back, as the pool would do
            await super().execute(f"ROLLBACK TO {self._savepoints[0]}")
            self._savepoints.clear()


async def _nothing(_: Any) -> None:
    """The reset between leases: the session is that of the test."""


@contextlib.asynccontextmanager
async def rolled_back(dsn: str | None = None, **options: Any) -> AsyncIterator[Pool]:
    """A pool of one connection, within one transaction that is rolled back at the end.

    A task that acquires while another one holds the connection waits for it, as in any full pool.
    `options` as of `create_pool`.
    """

    async def begin(connection: RollingConnection) -> None:
        await connection.begin()

    pool = create_pool(
        dsn,
        min_size=1,
        max_size=1,
        connection_class=RollingConnection,
        init=begin,
        reset=_nothing,
        **options,
    )
    async with pool:
        try:
            yield pool
        finally:
            pool.terminate()  # the server rolls back


@pytest.fixture
async def filban_pool(filban_dsn: str) -> AsyncIterator[Pool]:
    """`rolled_back` over the fixture `filban_dsn`, which is the service's own to define."""
    async with rolled_back(filban_dsn) as pool:
        yield pool


__all__ = ["RollingConnection", "filban_pool", "rolled_back"]
