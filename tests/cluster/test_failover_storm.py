"""Failovers under load, with synchronous replication: what was acknowledged is there and is seen.

Each task writes and reads its own write back, through the router, while primaries are killed or
frozen and standbys promoted. An error is allowed; a stale read, a lost write and a connection left
on an old primary are not.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from dataclasses import dataclass, field, replace

import pytest

from conftest import DEFAULT_MAJOR, lacking, settings_for
from filban.cluster import Cluster, throwaway
from filban.errors import FilbanError
from filban.pool.routing.failures import DRIVER_ERRORS
from routed import LONGEST_STORM_SECONDS, PATIENT, connection, eventually, routed, run, value

SYNCHRONOUS = {"synchronous_standby_names": "*", "wal_retrieve_retry_interval": "100ms"}
TASKS = 4


@dataclass
class Seen:
    acknowledged: list[int] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    errors: int = 0


async def pairs(router, task: int, seen: Seen) -> None:
    for number in range(task, 10**9, TASKS):
        with router.session():
            try:
                async with router.transaction() as transaction:
                    await transaction.execute("INSERT INTO t VALUES ($1)", number)
                seen.acknowledged.append(number)
                async with router.read() as leased:
                    if not await leased.fetchval("SELECT count(*) FROM t WHERE i = $1", number):
                        seen.stale.append(number)
            except (FilbanError, *DRIVER_ERRORS):
                seen.errors += 1
                await asyncio.sleep(0.01)


async def fail_over(primary: Cluster, standby: Cluster, how: str) -> tuple[Cluster, Cluster]:
    """The new primary, and a new standby where the old primary was."""
    port, data_dir, sockets = primary.port, primary.data_dir, primary.socket_dir
    if how == "killed":
        await primary.kill()
    else:
        primary.pause()
    await run(standby, "SELECT pg_promote(true, 60)")
    if how == "frozen":
        primary.resume()
        # Whose COMMIT waits for a synchronous standby does not look whether its client is there.
        async with connection(primary) as old:
            async with asyncio.timeout(60):
                while await old.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'filban%'"
                    " AND application_name <> 'filban router' AND wait_event <> 'SyncRep'"
                ):
                    await asyncio.sleep(0.01)
    await primary.remove()
    shutil.rmtree(sockets, ignore_errors=True)  # a killed server leaves its lock file there
    fresh = await standby.standby(data_dir)
    fresh.configure({"port": port})
    await fresh.restart()
    return standby, fresh


async def storm(majors, rounds: int, seed: int) -> None:
    if DEFAULT_MAJOR not in majors:
        lacking(f"PostgreSQL {DEFAULT_MAJOR}")
    binaries, chance, seen = majors[DEFAULT_MAJOR], random.Random(seed), Seen()
    policy = replace(PATIENT, probe_timeout=2.0, connect_timeout=2.0)
    settings = {**settings_for(binaries), "wal_retrieve_retry_interval": "100ms"}
    async with throwaway(binaries=binaries, settings=settings) as first:
        await run(first, "CREATE TABLE t(i int PRIMARY KEY)")
        primary, standby = first, await first.standby()
        first.configure(SYNCHRONOUS)
        await first.reload()
        async with connection(first) as control:
            while await control.fetchval("SHOW synchronous_standby_names") != "*":
                await asyncio.sleep(0.01)
        standby.configure(SYNCHRONOUS)
        await standby.reload()
        async with routed(primary, standby, policy=policy) as router:
            tasks = [asyncio.create_task(pairs(router, task, seen)) for task in range(TASKS)]
            try:
                for _ in range(rounds):
                    await more(seen, 50)
                    how = chance.choice(["killed", "frozen"])
                    primary, standby = await fail_over(primary, standby, how)
                    wanted = f"127.0.0.1:{primary.port}"
                    await eventually(lambda: router.primary == wanted)  # noqa: B023
                await more(seen, 50)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        assert not seen.stale
        there = set(await value(primary, "SELECT array_agg(i) FROM t"))
        assert not set(seen.acknowledged) - there


async def more(seen: Seen, pairs: int) -> None:
    """Return when so many more writes have been acknowledged."""
    wanted = len(seen.acknowledged) + pairs
    await eventually(lambda: len(seen.acknowledged) >= wanted)


async def test_a_storm_of_failovers(majors):
    await storm(majors, rounds=2, seed=1)


@pytest.mark.long
@pytest.mark.timeout(LONGEST_STORM_SECONDS)
@pytest.mark.parametrize("seed", range(3))
async def test_a_long_storm_of_failovers(majors, seed: int):
    await storm(majors, rounds=10, seed=seed)
