"""What one snapshot of pg_stat_statements costs, against `SELECT * FROM pg_stat_statements`.

Needs PostgreSQL's server programs with contrib; a throwaway cluster is started and removed. The
table of statements is filled with --entries different ones of about --characters characters. Per
round, in a random order: a snapshot without texts (what `filban queries` does each time), the texts
of ten new statements (which reads the server's whole file of texts), the texts of all (the first
time), and the naive query with everything. Server milliseconds are pg_stat_statements' own, client
milliseconds the CPU time of this process; medians over --rounds. Then the history: milliseconds and
bytes of keeping one snapshot in which --busy statements were called.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1]))

from result import finish

from filban.cluster import find_all, throwaway
from filban.pg import Session, session
from filban.profile.statements import Snapshot, take, texts
from filban.profile.statements.history import opened

NAIVE = "SELECT * FROM public.pg_stat_statements"
COLUMNS = 14  # 2 ** 14 different lists of columns


async def fill(connection: asyncpg.Connection, entries: int, characters: int) -> None:
    """So many statements, each with other columns."""
    names = [f"c{n}" for n in range(COLUMNS)]
    await connection.execute(f"CREATE TABLE wide ({', '.join(f'{n} int' for n in names)})")
    padding = " ".join(["/*", "x" * max(0, characters - 120), "*/"])
    for number in range(1, entries + 1):
        chosen = ", ".join(n for bit, n in enumerate(names) if number >> bit & 1)
        await connection.execute(f"SELECT {chosen} {padding} FROM wide WHERE c0 > 10 LIMIT 1")


async def server_ms(connection: asyncpg.Connection) -> float:
    """Execution time of everything that reads pg_stat_statements, so far."""
    return float(
        await connection.fetchval(
            "SELECT coalesce(sum(total_exec_time), 0) FROM pg_stat_statements"
            " WHERE query LIKE '%pg_stat_statements%' AND query NOT LIKE '%coalesce(sum%'"
        )
    )


async def measure(
    connection: asyncpg.Connection, work: dict[str, Callable[[], Awaitable[Any]]], rounds: int
) -> dict[str, dict[str, float]]:
    server: dict[str, list[float]] = {name: [] for name in work}
    client: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name in random.sample(list(work), len(work)):
            before, cpu = await server_ms(connection), time.process_time()
            await work[name]()
            client[name].append(1000 * (time.process_time() - cpu))
            server[name].append(await server_ms(connection) - before)
    return {
        name: {
            "server_ms": round(statistics.median(server[name]), 2),
            "client_ms": round(statistics.median(client[name]), 2),
        }
        for name in work
    }


def later(snapshot: Snapshot, busy: int) -> Snapshot:
    """The snapshot a minute on, with `busy` statements called."""
    entries = dict(snapshot.entries)
    for key in random.sample(list(entries), busy):
        counts = entries[key]
        entries[key] = counts._replace(calls=counts.calls + 7, exec_ms=counts.exec_ms + 1.25)
    at = snapshot.info.taken_at + timedelta(minutes=1)
    info = type(snapshot.info)(
        snapshot.info.epoch, 0, snapshot.info.max_entries, at, snapshot.info.started_at
    )
    return Snapshot(snapshot.cluster, info, entries, 0)


def keeping(snapshot: Snapshot, busy: int, rounds: int) -> dict[str, float]:
    """Milliseconds and bytes of a snapshot in the history."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "history.sqlite"
        times = []
        with opened(file) as history:
            history.add(snapshot)
            size = _pages(history)
            for _ in range(rounds):
                snapshot = later(snapshot, busy)
                started = time.perf_counter()
                history.add(snapshot)
                times.append(1000 * (time.perf_counter() - started))
            grown = _pages(history) - size
    return {"keep_ms": round(statistics.median(times), 2), "keep_bytes": round(grown / rounds)}


def _pages(history: Any) -> int:
    [count] = history._db.execute("PRAGMA page_count").fetchone()
    [size] = history._db.execute("PRAGMA page_size").fetchone()
    return int(count) * int(size)


async def run(options: argparse.Namespace) -> None:
    found = [b for b in find_all() if b.is_server and b.has_library("pg_stat_statements")]
    if not found:
        sys.exit("this needs PostgreSQL's server programs with pg_stat_statements")
    settings = {
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.max": 2 * options.entries,
    }
    async with throwaway(binaries=found[0], settings=settings) as cluster:
        connection = await asyncpg.connect(cluster.dsn())
        await connection.execute("CREATE EXTENSION pg_stat_statements")
        await fill(connection, options.entries, options.characters)
        async with session(cluster.dsn()) as server:
            await compare(server, connection, options, str(found[0].major))
        await connection.close()


async def compare(
    server: Session, connection: asyncpg.Connection, options: argparse.Namespace, version: str
) -> None:
    snapshot = await take(server)
    ids = [key.query_id for key in snapshot.entries]
    measured = await measure(
        connection,
        {
            "snapshot": lambda: take(server),
            "ten_texts": lambda: texts(server, ids[:10]),
            "all_texts": lambda: texts(server, ids),
            "select_star": lambda: server.connection.fetch(NAIVE),
        },
        options.rounds,
    )
    for name, values in measured.items():
        print(
            f"{name:12} server {values['server_ms']:7.2f} ms  client {values['client_ms']:7.2f} ms"
        )
    ours, naive = sum(measured["snapshot"].values()), sum(measured["select_star"].values())
    finish(
        "profile.statements",
        {
            "entries": len(snapshot.entries),
            **{f"{n}_{k}": v for n, values in measured.items() for k, v in values.items()},
            **keeping(snapshot, options.busy, options.rounds),
        },
        {"select_star": {"ratio": round(ours / naive, 3)}},
        postgresql=version,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=5000)
    parser.add_argument("--characters", type=int, default=500)
    parser.add_argument("--busy", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=15)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
