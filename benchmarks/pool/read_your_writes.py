"""Write-then-read pairs while replay stops and goes: is any read stale, and what does it cost?

    python benchmarks/pool/read_your_writes.py [--pairs 100000] [--seed 1]

Needs PostgreSQL's server programs; starts a primary and a standby of its own. Each pair writes a
row (in a transaction; some by a plain statement, or with synchronous_commit=off) and reads it back.
Now and then the same row is read without its token, on a replica as it comes: what a naive service
sees, and what the token adds to the time of a read.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1]))
from result import finish

from filban.cluster import Cluster, throwaway
from filban.pool.routing import Router, connect

TASKS = 8
# Share of pairs that write so; the rest in transactions.
AUTOCOMMIT, ASYNCHRONOUS = 0.1, 0.05
NAIVE_EVERY = 10
# Replay is paused for up to this, then runs for up to four times as long.
LONGEST_PAUSE_SECONDS = 0.2
LOOK = "SELECT pg_is_in_recovery() AS standby, count(*) AS n FROM pairs WHERE i = $1"


@dataclass
class Tally:
    """Seconds, and how many reads of what kind."""

    with_token: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    stale: int = 0
    naive_stale: int = 0
    by_replica: int = 0


async def pausing(standby: Cluster, chance: random.Random) -> None:
    control = await asyncpg.connect(standby.dsn())
    try:
        while True:
            await control.execute("SELECT pg_wal_replay_pause()")
            await asyncio.sleep(chance.random() * LONGEST_PAUSE_SECONDS)
            await control.execute("SELECT pg_wal_replay_resume()")
            await asyncio.sleep(chance.random() * LONGEST_PAUSE_SECONDS * 4)
    finally:
        await control.execute("SELECT pg_wal_replay_resume()")
        await control.close()


async def write(router: Router, number: int, how: float) -> None:
    if how < AUTOCOMMIT:
        await router.execute("INSERT INTO pairs VALUES ($1)", number)
        return
    async with router.transaction() as transaction:
        if how < AUTOCOMMIT + ASYNCHRONOUS:
            await transaction.execute("SET LOCAL synchronous_commit = off")
        await transaction.execute("INSERT INTO pairs VALUES ($1)", number)


async def timed_read(router: Router, number: int, times: list[float], **how: Any) -> Any:
    begun = time.perf_counter()
    async with router.read(**how) as connection:
        row = await connection.fetchrow(LOOK, number)
    times.append(time.perf_counter() - begun)
    return row


async def pairs(router: Router, numbers: range, chance: random.Random, tally: Tally) -> None:
    for number in numbers:
        with router.session():
            begun = time.perf_counter()
            await write(router, number, chance.random())
            tally.writes.append(time.perf_counter() - begun)
            if number // TASKS % NAIVE_EVERY == 0:
                row = await timed_read(router, number, tally.without, after=None)
                tally.naive_stale += row["n"] != 1
            row = await timed_read(router, number, tally.with_token)
            tally.stale += row["n"] != 1
            tally.by_replica += row["standby"]


async def measure(count: int, seed: int) -> Tally:
    tally, chance = Tally(), random.Random(seed)
    async with throwaway() as primary:
        setup = await asyncpg.connect(primary.dsn())
        await setup.execute("CREATE TABLE pairs(i int PRIMARY KEY)")
        await setup.close()
        standby = await primary.standby()
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        async with connect(f"postgresql://postgres@{hosts}/postgres", max_size=TASKS) as router:
            while sum(not server.out for server in router.servers()) < 2:
                await asyncio.sleep(0.05)
            disturbing = asyncio.create_task(pausing(standby, random.Random(seed + 1)))
            await asyncio.gather(
                *(pairs(router, range(task, count, TASKS), chance, tally) for task in range(TASKS))
            )
            disturbing.cancel()
            await asyncio.gather(disturbing, return_exceptions=True)
    return tally


def p50_ms(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1000, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.perf_counter()
    tally = asyncio.run(measure(options.pairs, options.seed))
    metrics = {
        "pairs": len(tally.with_token),
        "stale": tally.stale,
        "by_replica_ratio": round(tally.by_replica / len(tally.with_token), 4),
        "read_p50_ms": p50_ms(tally.with_token),
        "read_without_token_p50_ms": p50_ms(tally.without),
        "added_p50_ms": round(p50_ms(tally.with_token) - p50_ms(tally.without), 3),
        "write_p50_ms": p50_ms(tally.writes),
        "seed": options.seed,
        "seconds": round(time.perf_counter() - begun, 1),
    }
    peers = {"naive": {"stale_ratio": round(tally.naive_stale / len(tally.without), 4)}}
    for name, value in metrics.items():
        print(f"{name:28} {value}")
    print(f"{'naive stale ratio':28} {peers['naive']['stale_ratio']}")
    finish("pool.read_your_writes", metrics, peers)
    sys.exit(1 if tally.stale else 0)


if __name__ == "__main__":
    main()
