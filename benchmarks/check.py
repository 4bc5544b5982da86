"""How long `filban check` takes: a small database, and one with 1,000 tables and 5,000 indexes.

Needs the PostgreSQL server programs; a throwaway cluster is started and removed. The command is
timed as a person types it, with the start of Python, interleaved over databases and roles; medians
over --runs. Limits of the house: 1 s and 5 s. Beside it, where psql is there: connecting with it
and one trivial query, which is what no tool can go below.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import asyncpg
from result import finish

from filban.cluster import Cluster, find_all, throwaway

LIMITS = {"small": 1.0, "large": 5.0}
# Of each kind some, so that every rule has work: plain, ordered, partial, expression, included.
SPECS = (
    "(b)", "(c DESC)", "(d) WHERE d > 10", "(lower(e))", "(b, c) INCLUDE (d)",
    "(c, d)", "(e text_pattern_ops)", "(b)", "USING hash (d)", "(parent)",
)  # fmt: skip


def tables(count: int, seed: int) -> Iterator[str]:
    """Statements for `count` tables with five indexes each; the same for the same seed."""
    chosen = random.Random(seed)
    for n in range(count):
        parent = chosen.randrange(n) if n else 0
        yield (
            f"CREATE TABLE t{n} (id int PRIMARY KEY, parent int REFERENCES t{parent} (id),"
            " b int, c int, d int, e text, UNIQUE (b, id));"
        )
        for spec in chosen.sample(SPECS, 3):
            yield f"CREATE INDEX ON t{n} {spec};"


async def create(cluster: Cluster, name: str, count: int, seed: int) -> None:
    admin = await asyncpg.connect(cluster.dsn())
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    connection = await asyncpg.connect(cluster.dsn(name))
    statements = list(tables(count, seed))
    for start in range(0, len(statements), 200):  # few enough for max_locks_per_transaction
        await connection.execute("".join(statements[start : start + 200]))
    for n in range(count):
        await connection.execute(
            f"INSERT INTO t{n} SELECT i, NULL, i, i, i, i::text FROM generate_series(1, 20) i"
        )
    await connection.execute("ANALYZE")
    await connection.close()


def timed(*command: str) -> tuple[float, str]:
    started = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if run.returncode not in (0, 1):
        raise SystemExit(run.stderr)
    return seconds, run.stdout


def check(dsn: str) -> tuple[float, int]:
    """Seconds, and how many findings there were."""
    seconds, output = timed(sys.executable, "-m", "filban", "check", dsn, "--json")
    return seconds, len(json.loads(output)["findings"])


async def measure(runs: int, count: int, seed: int) -> None:
    psql = next((str(b.program("psql")) for b in find_all() if b.has("psql")), None)
    async with throwaway() as cluster:
        await create(cluster, "small", 10, seed)
        await create(cluster, "large", count, seed)
        admin = await asyncpg.connect(cluster.dsn())
        await admin.execute("CREATE ROLE plain LOGIN")
        indexes = len([s for s in tables(count, seed) if "CREATE INDEX" in s]) + 2 * count
        await admin.close()
        samples: dict[str, list[float]] = {}
        findings: dict[str, int] = {}
        for _ in range(runs + 1):
            for name in LIMITS:
                for role in ("postgres", "plain"):
                    key = f"{name}_{'superuser' if role == 'postgres' else role}"
                    seconds, findings[key] = check(cluster.dsn(name, role))
                    samples.setdefault(key, []).append(seconds)
            if psql:
                seconds, _ = timed(psql, "-X", "-c", "SELECT 1", "-d", cluster.dsn("large"))
                samples.setdefault("psql", []).append(seconds)
    report({k: statistics.median(s[1:]) for k, s in samples.items()}, findings, indexes, runs)


def report(medians: dict[str, float], findings: dict[str, int], indexes: int, runs: int) -> None:
    baseline = medians.pop("psql", None)
    for name, seconds in medians.items():
        limit = LIMITS[name.partition("_")[0]]
        print(f"{name:<16} {seconds:6.2f} s (limit {limit:.0f})  {findings[name]:5,} findings")
    peers = {} if baseline is None else {"psql_select_1_s": round(baseline, 3)}
    metrics = {f"{name}_s": round(seconds, 2) for name, seconds in medians.items()}
    finish("check", metrics | {"large_indexes": indexes, "findings": findings}, peers, runs=runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    asyncio.run(measure(given.runs, given.tables, given.seed))


if __name__ == "__main__":
    main()
