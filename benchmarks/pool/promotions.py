"""Promotions of a standby under load: what fails, for how long, and who stays behind.

    python benchmarks/pool/promotions.py [--rounds 50] [--seed 1]

Needs PostgreSQL's server programs; starts a primary and a standby of its own. In each round the
primary is killed, frozen, stopped or left alive (isolated), half a second later the standby is
promoted, and a new standby is made. Meanwhile a Router writes and reads all the time, and so does
asyncpg's own pool over the same hosts (target_session_attrs=primary, one try after each error).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

sys.path.insert(0, str(Path(__file__).parents[1]))
from result import finish

from filban.cluster import Cluster, throwaway
from filban.errors import CommitUnknown, FilbanError
from filban.pool.routing import Policy, Router, connect

WRITERS, READERS = 4, 8
ENDS = ("killed", "stopped", "frozen", "isolated")
PROMOTED_AFTER_SECONDS = 0.5
SETTLED_SECONDS = 0.7
LONGEST_SECONDS = 6.0
FAILURES = (FilbanError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError,
            asyncpg.InternalClientError)  # fmt: skip
PEER = "asyncpg"
POLICY = Policy(probe_timeout=1.0, connect_timeout=1.0)


@dataclass
class Tally:
    """What one contestant has done."""

    writes: int = 0
    reads: int = 0
    failed_writes: int = 0
    unknown_commits: int = 0
    failed_reads: int = 0
    acknowledged: set[int] = field(default_factory=set)
    last_write: float = 0.0  # when the last one that succeeded was begun
    reasons: Counter[str] = field(default_factory=Counter)
    to_first_write: list[float] = field(default_factory=list)
    left_behind: list[int] = field(default_factory=list)
    lost: int = 0


async def writing(put: Callable[[int], Awaitable[Any]], numbers: range, tally: Tally) -> None:
    for number in numbers:
        begun = time.monotonic()
        try:
            await put(number)
        except FAILURES as error:
            tally.unknown_commits += isinstance(error, CommitUnknown)
            tally.failed_writes += 1
            tally.reasons[f"write: {type(error).__name__}"] += 1
            await asyncio.sleep(0.01)
        else:
            tally.writes += 1
            tally.acknowledged.add(number)
            tally.last_write = begun
        await asyncio.sleep(0)


async def reading(look: Callable[[], Awaitable[Any]], tally: Tally) -> None:
    while True:
        try:
            await look()
        except FAILURES as error:
            tally.failed_reads += 1
            tally.reasons[f"read: {type(error).__name__}"] += 1
            await asyncio.sleep(0.01)
        else:
            tally.reads += 1
        await asyncio.sleep(0.001)


def load_of_router(router: Router, tally: Tally) -> list[Any]:
    async def put(number: int) -> None:
        async with router.transaction() as transaction:
            await transaction.execute("INSERT INTO rows VALUES ($1)", number)

    async def look() -> None:
        await router.fetchval("SELECT count(*) FROM rows WHERE i = 1", after=None)

    return [
        *(writing(put, range(w, 10**9, 2 * WRITERS), tally) for w in range(WRITERS)),
        *(reading(look, tally) for _ in range(READERS)),
    ]


def load_of_peer(pool: asyncpg.Pool, tally: Tally) -> list[Any]:
    async def put(number: int) -> None:
        async with pool.acquire(timeout=5) as connection, connection.transaction():
            await connection.execute("INSERT INTO rows VALUES ($1)", number, timeout=5)

    async def look() -> None:
        async with pool.acquire(timeout=5) as connection:
            await connection.fetchval("SELECT count(*) FROM rows WHERE i = 1", timeout=5)

    return [
        *(writing(put, range(WRITERS + w, 10**9, 2 * WRITERS), tally) for w in range(WRITERS)),
        *(reading(look, tally) for _ in range(READERS)),
    ]


async def one_round(
    primary: Cluster, standby: Cluster, how: str, tallies: dict[str, Tally]
) -> tuple[Cluster, Cluster]:
    """End the primary, promote the standby, count, make a new standby in the old one's place."""
    port, data_dir, sockets = primary.port, primary.data_dir, primary.socket_dir
    ended = time.monotonic()
    await {"killed": primary.kill, "stopped": primary.stop}.get(how, nothing)()
    if how == "frozen":
        primary.pause()
    await asyncio.sleep(PROMOTED_AFTER_SECONDS)
    await sql(standby, "SELECT pg_promote(true, 60)")
    promoted = time.monotonic()
    await first_writes(promoted, ended, tallies)
    await asyncio.sleep(SETTLED_SECONDS)
    if how == "frozen":
        primary.resume()
        await asyncio.sleep(SETTLED_SECONDS)
    if how in {"frozen", "isolated"}:
        for name, tally in tallies.items():
            tally.left_behind.append(await left_on(primary, name))
    for tally in tallies.values():
        await count_lost(standby, tally)
    with contextlib.suppress(ProcessLookupError):
        await primary.remove()
    shutil.rmtree(sockets, ignore_errors=True)  # a killed server leaves its lock file there
    fresh = await standby.standby(data_dir)
    fresh.configure({"port": port})
    await fresh.restart()
    await asyncio.sleep(SETTLED_SECONDS)
    return standby, fresh


async def nothing() -> None:
    pass


async def first_writes(promoted: float, ended: float, tallies: dict[str, Tally]) -> None:
    """Seconds from the end of the old primary to the first write that was begun after the promotion
    and succeeded; a contestant that needs longer than we wait counts as that."""
    waiting = dict(tallies)
    while waiting and time.monotonic() - ended < LONGEST_SECONDS:
        for name, tally in list(waiting.items()):
            if tally.last_write > promoted:
                tally.to_first_write.append(time.monotonic() - ended)
                del waiting[name]
        await asyncio.sleep(0.005)
    for tally in waiting.values():
        tally.to_first_write.append(LONGEST_SECONDS)


async def sql(cluster: Cluster, text: str, *args: Any) -> Any:
    connection = await asyncpg.connect(cluster.dsn(), timeout=30)
    try:
        return await connection.fetchval(text, *args)
    finally:
        await connection.close(timeout=10)


async def left_on(primary: Cluster, name: str) -> int:
    """Connections that could still take a write there. The router's own look at an old primary, a
    read-only session now and then, is not one of them."""
    count: int = await sql(
        primary,
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE $1"
        " AND application_name <> 'filban router'",
        f"{name}%",
    )
    return count


async def count_lost(primary: Cluster, tally: Tally) -> None:
    """Acknowledged before the promotion and not there: asynchronous replication may lose some."""
    claimed = list(tally.acknowledged)
    tally.acknowledged.clear()
    missing: int = await sql(
        primary,
        "SELECT count(*) FROM unnest($1::int[]) AS claimed(i) WHERE NOT EXISTS"
        " (SELECT FROM rows WHERE rows.i = claimed.i)",
        claimed,
    )
    tally.lost += missing


async def measure(rounds: int, seed: int) -> dict[str, Tally]:
    chance = random.Random(seed)
    tallies = {"filban": Tally(), PEER: Tally()}
    async with throwaway(settings={"max_connections": 100}) as first:
        await sql(first, "CREATE TABLE rows(i int PRIMARY KEY)")
        primary, standby = first, await first.standby()
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        dsn = f"postgresql://postgres@{hosts}/postgres"
        peer = asyncpg.create_pool(
            dsn, min_size=0, max_size=12, timeout=3, target_session_attrs=SessionAttribute.primary,
            server_settings={"application_name": PEER},
        )  # fmt: skip
        async with connect(dsn, policy=POLICY, max_size=12) as router, peer as pool:
            loads = [
                *load_of_router(router, tallies["filban"]),
                *load_of_peer(pool, tallies[PEER]),
            ]
            tasks = [asyncio.create_task(load) for load in loads]
            await asyncio.sleep(SETTLED_SECONDS)
            for number in range(rounds):
                how = chance.choice(ENDS)
                primary, standby = await one_round(primary, standby, how, tallies)
                taken = {n: round(t.to_first_write[-1], 2) for n, t in tallies.items()}
                print(f"round {number + 1:3} {how:9} first write after {taken}", flush=True)
                if over := [task for task in tasks if task.done()]:
                    over[0].result()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            pool.terminate()
    return tallies


def told(tally: Tally) -> dict[str, Any]:
    return {
        "writes": tally.writes,
        "failed_writes": tally.failed_writes,
        "of_these_unknown_commits": tally.unknown_commits,
        "reads": tally.reads,
        "failed_reads": tally.failed_reads,
        "to_first_write_p50_seconds": round(statistics.median(tally.to_first_write), 3),
        "to_first_write_max_seconds": round(max(tally.to_first_write), 3),
        "left_on_old_primary_max_connections": max(tally.left_behind, default=0),
        "acknowledged_and_lost": tally.lost,
        "reasons": dict(tally.reasons.most_common()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tallies = asyncio.run(measure(options.rounds, options.seed))
    results = {name: told(tally) for name, tally in tallies.items()}
    for name, result in results.items():
        print(name)
        for key, value in result.items():
            print(f"  {key:38} {value}")
    ours = results["filban"] | {"rounds": options.rounds, "seed": options.seed}
    finish("pool.promotions", ours, {PEER: results[PEER]})
    sys.exit(1 if ours["left_on_old_primary_max_connections"] else 0)


if __name__ == "__main__":
    main()
