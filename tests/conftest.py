"""Real servers for the tests: one cluster a session and major version, a fresh database a test.

Session and module fixtures that start servers are synchronous and run their own event loop, so that
no test has to care which loop a server was started in. What the machine lacks is a skip that names
it; with CI=true or FILBAN_CI=1 it is a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import asyncpg
import pytest
from hypothesis import settings

from filban.cluster import Binaries, Cluster, find_all, throwaway

# What CI has to have; whatever else the machine has is tested as well.
REQUIRED_MAJORS = (15, 18)
# Quotes of both kinds, spaces, percent, slash, question mark, ampersand, equals, not ASCII.
ODD_NAME = "odd \"db\" 'é' %41/?&= فارسی"
PLAIN_ROLE = "plain"

TEST_SETTINGS = {
    "wal_level": "replica",
    "max_connections": 100,
    "max_prepared_transactions": 5,
    "track_io_timing": True,
    "shared_preload_libraries": "pg_stat_statements",
}

# One library of contrib stands for all of it.
CONTRIB = "pg_stat_statements"

_numbers = itertools.count(1)
T = TypeVar("T")


def lacking(what: str) -> NoReturn:
    """Skip the test because the machine has no `what`; fail on CI."""
    if os.environ.get("CI") == "true" or os.environ.get("FILBAN_CI") == "1":
        pytest.fail(f"CI has to have {what}", pytrace=False)
    pytest.skip(f"this machine has no {what}")


@contextlib.contextmanager
def elsewhere() -> Iterator[Callable[[Coroutine[Any, Any, T]], T]]:
    """An event loop in a thread of its own: also for who is inside one already."""
    runner = asyncio.Runner()
    with ThreadPoolExecutor(1) as thread:
        try:
            yield lambda work: thread.submit(runner.run, work).result()
        finally:
            thread.submit(runner.close).result()


@contextlib.contextmanager
def running(**kwargs: Any) -> Iterator[Cluster]:
    """`throwaway` for synchronous fixtures."""
    manager = throwaway(**kwargs)
    with elsewhere() as run:
        cluster = run(manager.__aenter__())
        try:
            yield cluster
        finally:
            run(manager.__aexit__(None, None, None))


@functools.cache
def server_binaries() -> dict[int, Binaries]:
    """Per major the installation to test with: with contrib, if there is one."""
    best: dict[int, Binaries] = {}
    for binaries in (b for b in find_all() if b.is_server):
        known = best.setdefault(binaries.major, binaries)
        if binaries.has_library(CONTRIB) and not known.has_library(CONTRIB):
            best[binaries.major] = binaries
    return best


def _default_major() -> int:
    """15, or where that is missing the oldest that is here with contrib."""
    if named := os.environ.get("FILBAN_TEST_MAJOR"):
        return int(named)
    here = server_binaries()
    with_contrib = [major for major, b in here.items() if b.has_library(CONTRIB)]
    return 15 if 15 in here else min(with_contrib, default=15)


DEFAULT_MAJOR = _default_major()


def settings_for(binaries: Binaries) -> dict[str, Any]:
    """TEST_SETTINGS, without the library that this installation lacks."""
    if binaries.has_library("pg_stat_statements"):
        return dict(TEST_SETTINGS)
    return {**TEST_SETTINGS, "shared_preload_libraries": ""}


# The same examples in every run of the default suite: what is red was made so by a change. New ones
# are looked for by `make test-long` (HYPOTHESIS_PROFILE=search), which prints how to repeat them.
settings.register_profile("repeat", derandomize=True, database=None, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


@dataclass(frozen=True)
class Database:
    """A database of a test. `dsn` is a superuser's."""

    cluster: Cluster
    name: str

    @property
    def dsn(self) -> str:
        return self.cluster.dsn(self.name)

    def dsn_as(self, role: str) -> str:
        return self.cluster.dsn(self.name, role)

    async def connect(self, role: str | None = None, **kwargs: Any) -> asyncpg.Connection:
        """A raw asyncpg connection; the test closes it."""
        return await asyncpg.connect(self.cluster.dsn(self.name, role), **kwargs)

    @contextlib.asynccontextmanager
    async def connection(self, role: str | None = None) -> AsyncIterator[asyncpg.Connection]:
        connection = await self.connect(role)
        try:
            yield connection
        finally:
            await connection.close(timeout=10)

    async def execute(self, sql: str, *args: Any) -> str:
        async with self.connection() as connection:
            return await connection.execute(sql, *args)

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        async with self.connection() as connection:
            return await connection.fetch(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        async with self.connection() as connection:
            return await connection.fetchval(sql, *args)


@contextlib.asynccontextmanager
async def fresh_database(cluster: Cluster, name: str | None = None) -> AsyncIterator[Database]:
    """Create a database (and the role without rights), drop it at the end."""
    database = Database(cluster, name or f"test_{next(_numbers)}")
    postgres = Database(cluster, "postgres")
    quoted = '"' + database.name.replace('"', '""') + '"'
    await postgres.execute(f"CREATE DATABASE {quoted}")
    try:
        yield database
    finally:
        await postgres.execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")


async def _create_plain_role(cluster: Cluster) -> None:
    await Database(cluster, "postgres").execute(f"CREATE ROLE {PLAIN_ROLE} LOGIN")


class Majors(dict[int, Binaries]):
    """Major -> the programs that the tests use; asking for one that is not here skips the test."""

    def __missing__(self, major: int) -> NoReturn:
        lacking(f"PostgreSQL {major}")


@pytest.fixture(scope="session")
def majors() -> dict[int, Binaries]:
    """Installed majors -> the programs that the tests use."""
    return Majors(server_binaries())


@pytest.fixture(scope="session")
def cluster_of(majors: dict[int, Binaries]) -> Iterator[Callable[[int], Cluster]]:
    """major -> the session's cluster of that major, started when first asked for."""
    started: dict[int, Cluster] = {}
    with contextlib.ExitStack() as stack:

        def get(major: int) -> Cluster:
            if major not in majors:
                lacking(f"PostgreSQL {major}")
            if major not in started:
                binaries = majors[major]
                cluster = stack.enter_context(
                    running(binaries=binaries, settings=settings_for(binaries))
                )
                with elsewhere() as run:
                    run(_create_plain_role(cluster))
                started[major] = cluster
            return started[major]

        yield get


@pytest.fixture(scope="session")
def pg(cluster_of: Callable[[int], Cluster]) -> Cluster:
    """The session's cluster of the default major."""
    return cluster_of(DEFAULT_MAJOR)


@pytest.fixture
async def db(pg: Cluster) -> AsyncIterator[Database]:
    """A fresh database."""
    async with fresh_database(pg) as database:
        yield database


@pytest.fixture
async def odd_db(pg: Cluster) -> AsyncIterator[Database]:
    """A fresh database with quotes, spaces, percent signs and Persian in its name."""
    async with fresh_database(pg, ODD_NAME) as database:
        yield database


@pytest.fixture
async def conn(db: Database) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to `db`."""
    async with db.connection() as connection:
        yield connection


@pytest.fixture
def plain_dsn(db: Database) -> str:
    """`db` as a role without any rights."""
    return db.dsn_as(PLAIN_ROLE)


def majors_with(*libraries: str) -> list[int]:
    """What tests of several majors run on: the required ones, which have everything, and whatever
    else the machine has with these libraries."""
    here = server_binaries().items()
    able = {major for major, b in here if all(map(b.has_library, libraries))}
    return sorted({*REQUIRED_MAJORS, *able})


@pytest.fixture(scope="session", params=majors_with(), ids=lambda major: f"pg{major}")
def every_major(request: pytest.FixtureRequest, cluster_of: Callable[[int], Cluster]) -> Cluster:
    """The test runs once on a cluster of every PostgreSQL major of this machine."""
    return cluster_of(request.param)


@pytest.fixture
async def every_db(every_major: Cluster) -> AsyncIterator[Database]:
    """A fresh database on every major."""
    async with fresh_database(every_major) as database:
        yield database


@pytest.fixture(scope="session", params=majors_with(CONTRIB), ids=lambda major: f"pg{major}")
def contrib_major(request: pytest.FixtureRequest, cluster_of: Callable[[int], Cluster]) -> Cluster:
    """As every_major, where contrib is installed."""
    return cluster_of(request.param)


@pytest.fixture
async def contrib_db(contrib_major: Cluster) -> AsyncIterator[Database]:
    """A fresh database on every major that has contrib."""
    if not contrib_major.binaries.has_library(CONTRIB):
        lacking(f"{CONTRIB} for PostgreSQL {contrib_major.binaries.major}")
    async with fresh_database(contrib_major) as database:
        yield database


@pytest.fixture(scope="session")
def control_cluster(majors: dict[int, Binaries]) -> Iterator[Cluster]:
    """A cluster as one would run it: nothing that a check finds fault with."""
    if DEFAULT_MAJOR not in majors:
        lacking(f"PostgreSQL {DEFAULT_MAJOR}")
    binaries = majors[DEFAULT_MAJOR]
    settings = {**settings_for(binaries), "fsync": True, "shared_buffers": "128MB"}
    with running(binaries=binaries, settings=settings) as cluster:
        asyncio.run(_create_plain_role(cluster))
        yield cluster


@pytest.fixture
async def control(control_cluster: Cluster) -> AsyncIterator[Database]:
    """A fresh database on the healthy control cluster."""
    async with fresh_database(control_cluster) as database:
        yield database


@dataclass(frozen=True)
class Pair:
    """A primary and its streaming standby."""

    primary: Cluster
    standby: Cluster


@pytest.fixture(scope="module")
def primary_standby(majors: dict[int, Binaries]) -> Iterator[Pair]:
    """A primary and a streaming standby for one module, which may do to them what it likes."""
    if DEFAULT_MAJOR not in majors:
        lacking(f"PostgreSQL {DEFAULT_MAJOR}")
    binaries = majors[DEFAULT_MAJOR]
    with running(binaries=binaries, settings=settings_for(binaries)) as primary:
        asyncio.run(_create_plain_role(primary))
        yield Pair(primary, asyncio.run(primary.standby()))
