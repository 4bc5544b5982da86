"""What the tests of the router share: routers over throwaway servers, waiting, pausing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg

from filban.cluster import Cluster
from filban.pool.routing.policy import Policy
from filban.pool.routing.router import Router, connect

# A storm that is still going on after this hangs, however slow the machine is.
LONGEST_STORM_SECONDS = 1800
# Generous: a loaded machine makes a test slow, not wrong.
PATIENT = Policy(probe_interval=0.05, probe_timeout=20.0, connect_timeout=20.0, write_timeout=60.0)


def dsn_of(*clusters: Cluster, database: str = "postgres", user: str = "postgres") -> str:
    hosts = ",".join(f"127.0.0.1:{cluster.port}" for cluster in clusters)
    return f"postgresql://{user}@{hosts}/{database}"


@contextlib.asynccontextmanager
async def routed(
    *clusters: Cluster, user: str = "postgres", **kwargs: Any
) -> AsyncIterator[Router]:
    """A router that has seen all of them."""
    kwargs = {"policy": PATIENT, "max_size": 4, **kwargs}
    async with connect(dsn_of(*clusters, user=user), **kwargs) as router:
        await eventually(lambda: all(server.role != "unknown" for server in router.servers()))
        yield router


async def eventually(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def connection(cluster: Cluster) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(cluster.dsn())
    try:
        yield opened
    finally:
        await opened.close(timeout=10)


async def run(cluster: Cluster, sql: str) -> None:
    async with connection(cluster) as opened:
        await opened.execute(sql)


async def value(cluster: Cluster, sql: str) -> Any:
    async with connection(cluster) as opened:
        return await opened.fetchval(sql)


@contextlib.asynccontextmanager
async def replay_paused(standby: Cluster) -> AsyncIterator[None]:
    """WAL is received and not replayed, and really so when the block begins."""
    async with connection(standby) as control:
        await control.execute("SELECT pg_wal_replay_pause()")
        try:
            while await control.fetchval("SELECT pg_get_wal_replay_pause_state()") != "paused":
                await asyncio.sleep(0.01)
            yield
        finally:
            await control.execute("SELECT pg_wal_replay_resume()")


async def caught_up(primary: Cluster, standby: Cluster) -> None:
    lsn = await value(primary, "SELECT pg_current_wal_flush_lsn()::text")
    async with connection(standby) as control:
        while not await control.fetchval(
            "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", lsn
        ):
            await asyncio.sleep(0.01)
