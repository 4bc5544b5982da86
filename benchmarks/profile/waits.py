"""What one sample of `filban waits` costs the server, with --connections sessions at work.

Needs PostgreSQL's server programs; a throwaway cluster is started and removed. Half of the sessions
sleep in a statement; the others idle in a transaction; with --waiters some of them queue for one
row. Each contender has a connection of its own and asks --samples times, in turn with the others in
a random order, so that noise of the machine hits all alike. Its cost is the processor time of its
server process (schedstat, nanoseconds) over all samples; "percent of a core" is that at one sample
a second. Linux only.

Peers: pg_activity's three reads are like the two statements here written from what such tools ask:
everything of pg_stat_activity, and pg_locks joined to itself for who blocks whom, each time.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1]))

from result import finish

from filban.cluster import Cluster, throwaway
from filban.pg import Session, session
from filban.profile.waits import sample

ACTIVITY = "SELECT * FROM pg_stat_activity"
BLOCKING = """
SELECT w.pid, h.pid AS blocker, w.locktype, w.mode, a.query, b.query AS blocker_query
FROM pg_locks w
JOIN pg_locks h ON h.granted AND h.pid <> w.pid AND h.locktype = w.locktype
  AND (h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid::text, h.classid,
       h.objid, h.objsubid)
  IS NOT DISTINCT FROM (w.database, w.relation, w.page, w.tuple, w.virtualxid,
       w.transactionid::text, w.classid, w.objid, w.objsubid)
JOIN pg_stat_activity a ON a.pid = w.pid
JOIN pg_stat_activity b ON b.pid = h.pid
WHERE NOT w.granted
"""
SETTLE_SECONDS = 1.0
WARM_UP = 5


def spent(pid: int) -> int:
    """Nanoseconds that a process has had of a processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


async def crowd(cluster: Cluster, connections: int, waiters: int) -> list[asyncpg.Connection]:
    opened = [await asyncpg.connect(cluster.dsn()) for _ in range(connections)]
    await opened[0].execute(
        "CREATE TABLE t (i int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)"
    )
    await opened[0].execute("BEGIN; UPDATE t SET v = 2")
    for number, connection in enumerate(opened[1:], 1):
        if number <= waiters:
            asyncio.create_task(_run(connection, "UPDATE t SET v = 3"))  # noqa: RUF006
        elif number % 2:
            asyncio.create_task(_run(connection, "SELECT pg_sleep(3600)"))  # noqa: RUF006
        else:
            await connection.execute("BEGIN; SELECT * FROM t")
    await asyncio.sleep(SETTLE_SECONDS)
    return opened


async def _run(connection: asyncpg.Connection, sql: str) -> None:
    try:
        await connection.execute(sql)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return  # it is ended with the crowd


async def measure(cluster: Cluster, samples: int) -> dict[str, float]:
    """Milliseconds of server time a sample, by contender."""
    async with (
        session(cluster.dsn()) as ours,
        session(cluster.dsn()) as peer,
        session(cluster.dsn()) as joined,
    ):
        contenders: dict[str, tuple[Session, Callable[[], Awaitable[object]]]] = {
            "filban": (ours, lambda: sample(ours)),
            "select_star": (peer, lambda: peer.connection.fetch(ACTIVITY)),
            "select_star_and_locks": (joined, lambda: _both(joined)),
        }
        for _, ask in contenders.values():
            for _ in range(WARM_UP):
                await ask()
        pids = {name: s.connection.get_server_pid() for name, (s, _) in contenders.items()}
        before = {name: spent(pid) for name, pid in pids.items()}
        order = list(contenders)
        for _ in range(samples):
            random.shuffle(order)
            for name in order:
                await contenders[name][1]()
        return {n: (spent(pid) - before[n]) / 1e6 / samples for n, pid in pids.items()}


async def _both(opened: Session) -> None:
    await opened.connection.fetch(ACTIVITY)
    await opened.connection.fetch(BLOCKING)


async def main(connections: int, samples: int, waiters: int, seed: int) -> None:
    random.seed(seed)
    found = {}
    for queue in (0, waiters):
        async with throwaway(settings={"max_connections": connections + 20}) as cluster:
            opened = await crowd(cluster, connections, queue)
            found[queue] = await measure(cluster, samples)
            for connection in opened:
                connection.terminate()
    metrics: dict[str, float] = {}
    peers: dict[str, float] = {}
    for queue, costs in found.items():
        for name, ms in costs.items():
            print(f"{queue:>3} waiters  {name:<22} {ms:6.3f} ms a sample", flush=True)
        label = f"waiters_{queue}"
        ours = costs.pop("filban")
        metrics[f"{label}_server_ms"] = round(ours, 3)
        metrics[f"{label}_percent_of_a_core_at_1_hz"] = round(ours / 10, 4)
        peers |= {f"{label}_{name}_ratio": round(ours / ms, 3) for name, ms in costs.items()}
    finish("profile.waits", metrics, peers, connections=connections, samples=samples, seed=seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--waiters", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    asyncio.run(main(given.connections, given.samples, given.waiters, given.seed))
