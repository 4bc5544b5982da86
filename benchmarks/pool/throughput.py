"""Operations a second of a pool, as a ratio to asyncpg's: fetch a row by primary key.

Needs `pip install 'filban[bench]'` and PostgreSQL programs; starts its own server. The contestants
take turns in every round, so that what else the machine does hits all of them; medians of the
rounds' ratios. Cases: 50 and 8 tasks on 10 connections, and one task over a link of 2 ms;
then what leak detection costs an acquire.

Two bounds stand beside them: connections that are held without any pool, and a bare FIFO hand-off
that resets, checks and counts nothing. "us" is this process's own time of a processor per
operation: where the server is the slower of the two, a lower one buys no more operations.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import uvloop
from peers import POOLS, ROWS, Operation, bare_handoff, held, prepare, slow_link

from filban import Pool, create_pool
from filban.cluster import throwaway

sys.path.insert(0, str(Path(__file__).parent.parent))
from result import finish

CONNECTIONS = 10
ACQUIRES = 10_000  # of a run that times nothing else


@dataclass(frozen=True)
class Run:
    """rate: operations a second; cpu_us: processor time of this process an operation."""

    rate: float
    cpu_us: float


async def measure(operation: Operation, tasks: int, seconds: float) -> Run:
    """Task i asks for keys that are i modulo `tasks`."""
    deadline = time.perf_counter() + seconds
    done = 0

    async def work(first: int) -> None:
        nonlocal done
        key = first
        while time.perf_counter() < deadline:
            await operation(key)
            done += 1
            key = key + tasks if key + tasks <= ROWS else first

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work(i + 1) for i in range(tasks)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    return Run(done / elapsed, cpu / done * 1e6)


async def compare(dsn: str, tasks: int, rounds: int, seconds: float) -> dict[str, list[Run]]:
    """Each contestant's runs, round by round; `held` with as many connections as tasks can use."""
    results: dict[str, list[Run]] = defaultdict(list)
    async with contextlib.AsyncExitStack() as stack:
        operations = {
            name: await stack.enter_async_context(pool(dsn, CONNECTIONS))
            for name, pool in POOLS.items()
        }
        holders = min(tasks, CONNECTIONS)
        operations["bare hand-off"] = await stack.enter_async_context(
            bare_handoff(dsn, CONNECTIONS)
        )
        operations["held"] = await stack.enter_async_context(held(dsn, holders))
        for operation in operations.values():
            await measure(operation, holders, 0.3)
        for _ in range(rounds):
            for name, operation in operations.items():
                busy = holders if name == "held" else tasks
                results[name].append(await measure(operation, busy, seconds))
    return results


def ratio(results: dict[str, list[Run]], name: str, to: str) -> float:
    """Median over the rounds of the ratio within each."""
    pairs = zip(results[name], results[to], strict=True)
    return round(statistics.median(a.rate / b.rate for a, b in pairs), 2)


async def leak_detection(dsn: str, rounds: int) -> float:
    """Microseconds of processor time that `leak_threshold` adds to an acquire with its release,
    eight calls deep, as a request handler is. Median over the rounds of the difference."""
    async with (
        create_pool(dsn, min_size=1, max_size=1) as without,
        create_pool(dsn, min_size=1, max_size=1, leak_threshold=30.0) as watching,
    ):
        for pool in (without, watching):
            await _acquires(pool, depth=8)
        added = [
            await _acquires(watching, depth=8) - await _acquires(without, depth=8)
            for _ in range(rounds)
        ]
        return round(statistics.median(added) * 1e6, 2)


async def _acquires(pool: Pool, depth: int) -> float:
    """Seconds of processor time of one acquire and release."""
    if depth:
        return await _acquires(pool, depth - 1)
    started = time.process_time()
    for _ in range(ACQUIRES):
        async with pool.acquire():
            pass
    return (time.process_time() - started) / ACQUIRES


async def main(rounds: int, seconds: float) -> None:
    metrics: dict[str, float] = {}
    peers: dict[str, float] = {}
    async with throwaway(settings={"max_connections": 200}) as cluster:
        dsn = cluster.dsn("postgres")
        await prepare(dsn)
        async with slow_link(dsn, 0.002) as far:
            cases = (("50_tasks", dsn, 50), ("8_tasks", dsn, 8), ("1_task_2ms", far, 1))
            for case, where, tasks in cases:
                results = await compare(where, tasks, rounds, seconds)
                print(f"\n{case:<16} {'ops/s':>8} {'us':>6} {'x asyncpg':>10} {'x held':>7}")
                for name, runs in results.items():
                    rate = statistics.median(r.rate for r in runs)
                    cpu_us = statistics.median(r.cpu_us for r in runs)
                    to_asyncpg = ratio(results, name, "asyncpg")
                    to_held = ratio(results, name, "held")
                    print(
                        f"{name:<16} {rate:8.0f} {cpu_us:6.1f} {to_asyncpg:10.2f} {to_held:7.2f}",
                        flush=True,
                    )
                    kept = metrics if name.startswith("filban") else peers
                    kept[f"{case}_{name}_x_asyncpg"] = to_asyncpg
                    kept[f"{case}_{name}_x_held"] = to_held
                    kept[f"{case}_{name}_cpu_us"] = round(cpu_us, 1)
        metrics["leak_detection_us_an_acquire"] = await leak_detection(dsn, rounds)
    print(f"\nleak detection adds {metrics['leak_detection_us_an_acquire']} us to an acquire\n")
    finish("pool_throughput", metrics, peers, rounds=rounds, seconds=seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each contestant, a round")
    arguments = parser.parse_args()
    uvloop.run(main(arguments.rounds, arguments.seconds))
