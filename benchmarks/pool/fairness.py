"""Who gets how much of a crowded pool: 500 tasks on 10 connections.

Jain's index over the tasks' counts of operations (1: all the same, 1/n: one has everything), and
the waits for a connection: median, 99th percentile and longest. Needs `pip install 'filban[bench]'`
and PostgreSQL programs; starts its own server. The contestants take turns; medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

import uvloop
from peers import POOLS, Operation, prepare

from filban.cluster import throwaway

sys.path.insert(0, str(Path(__file__).parent.parent))
from result import finish

CONNECTIONS, TASKS = 10, 500
NAMES = ("filban", "asyncpg", "psycopg_pool", "sqlalchemy")


async def measure(operation: Operation, seconds: float) -> dict[str, float]:
    """Jain's index, and the time of an operation (nearly all of it is waiting) in ms."""
    deadline = time.perf_counter() + seconds
    counts = [0] * TASKS
    waits: list[float] = []

    async def work(task: int) -> None:
        while (started := time.perf_counter()) < deadline:
            await operation(task + 1)
            ended = time.perf_counter()
            if ended <= deadline:
                counts[task] += 1
            waits.append(ended - started)

    await asyncio.gather(*(work(task) for task in range(TASKS)))
    waits.sort()
    squares = sum(count * count for count in counts)
    p99 = waits[int(len(waits) * 0.99)]
    return {
        "jain": sum(counts) ** 2 / (TASKS * squares) if squares else 0.0,
        "p50_ms": waits[len(waits) // 2] * 1000,
        "p99_ms": p99 * 1000,
        "max_ms": waits[-1] * 1000,
        "max_to_p99": waits[-1] / p99,
    }


async def main(rounds: int, seconds: float) -> None:
    results: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in NAMES}
    async with throwaway(settings={"max_connections": 200}) as cluster:
        dsn = cluster.dsn("postgres")
        await prepare(dsn)
        for _ in range(rounds):
            for name in NAMES:
                async with POOLS[name](dsn, CONNECTIONS) as operation:
                    await asyncio.gather(*(operation(i + 1) for i in range(CONNECTIONS)))
                    for key, value in (await measure(operation, seconds)).items():
                        results[name][key].append(value)
    medians = {
        name: {key: round(statistics.median(values), 3) for key, values in of.items()}
        for name, of in results.items()
    }
    print(f"{'':<14} {'Jain':>7} {'p50 ms':>9} {'p99 ms':>9} {'max ms':>9} {'max/p99':>8}")
    for name, m in medians.items():
        print(
            f"{name:<14} {m['jain']:7.3f} {m['p50_ms']:9.1f} {m['p99_ms']:9.1f} "
            f"{m['max_ms']:9.1f} {m['max_to_p99']:8.2f}"
        )
    ours = medians.pop("filban")
    finish("pool_fairness", ours, medians, rounds=rounds, seconds=seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each contestant, a round")
    arguments = parser.parse_args()
    uvloop.run(main(arguments.rounds, arguments.seconds))
