"""Run by test_failover_network.py in a network namespace of its own: a host whose packets vanish.

Starts servers, drops all packets to the primary, and says in one JSON line what the router did.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

import asyncpg

from filban.cluster import throwaway
from filban.errors import CommitUnknown
from filban.pool.routing import Policy, connect
from filban.pool.routing.probing import limit_silence

POLICY = Policy(probe_timeout=2.0, connect_timeout=2.0, tcp_user_timeout=2.0)


def drop(port: int) -> None:
    for command in (
        "add table inet hole",
        "add chain inet hole output { type filter hook output priority 0; }",
        f"add rule inet hole output tcp dport {port} drop",
        f"add rule inet hole output tcp sport {port} drop",
    ):
        subprocess.run(["nft", *command.split()], check=True)


async def alone(port: int) -> float:
    """A connection that nobody watches: seconds until the kernel gives it up."""
    connection = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres")
    limit_silence(connection, POLICY.tcp_user_timeout)
    drop(port)
    begun = time.monotonic()
    try:
        await connection.execute("SELECT 1")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return time.monotonic() - begun
    raise AssertionError("the statement was answered")


async def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    async with throwaway() as third:
        kernel = await alone(third.port)
    async with throwaway() as primary:
        standby = await primary.standby()
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        dsn = f"postgresql://postgres@{hosts}/postgres"
        async with connect(dsn, policy=POLICY, max_size=2) as router:
            await router.execute("CREATE TABLE t(i int)")
            subprocess.run(["nft", "delete", "table", "inet", "hole"], check=True)
            held = router.write()
            connection = await held.__aenter__()
            drop(primary.port)
            begun = time.monotonic()
            try:
                await connection.execute("INSERT INTO t VALUES (1)")
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, CommitUnknown):
                noticed = time.monotonic() - begun
            await held.__aexit__(None, None, None)
            read = await router.fetchval("SELECT pg_is_in_recovery()", after=None)
            other = await asyncpg.connect(standby.dsn())
            await other.fetchval("SELECT pg_promote(true, 60)")
            await other.close()
            await router.execute("INSERT INTO t VALUES (2)")
            rows = await router.fetchval("SELECT count(*) FROM t")
        print(json.dumps({"kernel": kernel, "noticed": noticed, "read": read, "rows": rows}))


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
