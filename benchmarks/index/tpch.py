"""Choosing indexes for TPC-H, estimated: the workload's cost at four budgets, and plans asked for.

Needs `pip install 'filban[bench]'`, PostgreSQL with HypoPG, and 3 GB of disk at --scale 1. A
throwaway server is filled (primary keys only). Budgets are shares of the tables' bytes, in which
HypoPG's own sizes count, as in the published numbers beside which ours stand: Extend, DB2Advis and
the sketch of pairs at index width 2 on the same 19 queries, scale 1, PostgreSQL 15. The peers are
not run here: they are programs for a server of their own, of which no package is to be had.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

sys.path.insert(0, str(Path(__file__).parent.parent))
from result import finish

from filban.cluster import throwaway
from filban.index.advice import Given, candidates, workload_of
from filban.index.choice import Limits, hypothetical, market
from filban.pg import session

HERE = Path(__file__).parent
TABLES = ("region", "nation", "part", "supplier", "partsupp", "customer", "orders", "lineitem")
BUDGETS = (0.10, 0.25, 0.50, 1.00)
# Workload cost relative to no index (planner calls), as published for scale 1.
PUBLISHED = {
    "Extend": ((0.929, 614), (0.795, 1256), (0.620, 2518), (0.526, 5609)),
    "DB2Advis": ((0.987, 38), (0.926, 38), (0.839, 38), (0.675, 38)),
    "pairs (sketch)": ((0.927, 841), (0.744, 841), (0.613, 841), (0.522, 841)),
}


def queries() -> list[Given]:
    parts = re.split(r"^-- Q\d+\n", (HERE / "tpch.sql").read_text(), flags=re.MULTILINE)
    return [Given(part.strip()) for part in parts[1:]]


async def fill(dsn: str, scale: float, folder: Path) -> int:
    """Load the tables; their bytes without indexes."""
    generator = shutil.which("tpchgen-cli") or str(Path(sys.executable).with_name("tpchgen-cli"))
    subprocess.run(
        [generator, "csv", "-s", str(scale), f"--output-dir={folder}"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE EXTENSION hypopg")
    await connection.execute((HERE / "tpch_schema.sql").read_text())
    for table in TABLES:
        file = folder / f"{table}.csv"
        await connection.copy_to_table(table, source=file, format="csv", header=True)
        file.unlink()
    await connection.execute("VACUUM ANALYZE")
    size = await connection.fetchval(
        "SELECT sum(pg_table_size(name::regclass))::int8 FROM unnest($1::text[]) name", TABLES
    )
    await connection.close()
    return int(size)


async def main(scale: float, seed: int) -> None:
    metrics: dict[str, float] = {}
    async with throwaway(settings={"shared_buffers": "512MB", "max_wal_size": "4GB"}) as cluster:
        with tempfile.TemporaryDirectory() as folder:
            tables = await fill(cluster.dsn(), scale, Path(folder))
        print(f"{tables / 1e6:,.0f} MB of tables, {len(queries())} queries", flush=True)
        async with session(cluster.dsn()) as opened:
            started = time.monotonic()
            workload = await workload_of(opened, queries())
            found = await candidates(opened, workload)
            print(f"{len(found.candidates)} candidates, {len(found.unread)} unread", flush=True)
            async with hypothetical(opened, workload.search_path) as what_if:
                sizes = {c.spec: await what_if.bytes(c.spec) for c in found.candidates}
                asked = await market(what_if, workload, found.candidates, sizes)
                for share in BUDGETS:
                    chosen = await asked.choose(Limits(bytes=int(tables * share)), seed)
                    metrics[f"cost_{share:.2f}"] = round(chosen.ratio, 3)
                    metrics[f"calls_{share:.2f}"] = chosen.asked
                    print(
                        f"{share:5.0%}: {chosen.ratio:.3f}, {len(chosen.specs)} indexes,"
                        f" {chosen.bytes / 1e6:,.0f} MB, {chosen.asked} plans so far",
                        flush=True,
                    )
            metrics["seconds"] = round(time.monotonic() - started, 1)
    for name, row in PUBLISHED.items():
        print(f"{name:<16}" + "".join(f"{cost:8.3f} ({calls:>5})" for cost, calls in row))
    peers = {
        f"{name} {b:.2f}": r[0]
        for name, row in PUBLISHED.items()
        for b, r in zip(BUDGETS, row, strict=True)
    }
    finish("index_tpch", metrics, peers, scale=scale, seed=seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.scale, arguments.seed))
