"""Known load, and everything that happens to counters: nothing lost that the server kept.

Whoever tests it counts the calls that were made; the history must have as many, less those that
the server itself dropped after the last snapshot, which are counted as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from conftest import lacking, server_binaries
from filban.cluster import Cluster, throwaway
from filban.pg import session
from filban.profile.statements import Delta, take
from filban.profile.statements.history import History, opened
from filban.profile.statements.learn import learn

MAJORS = [m for m, b in server_binaries().items() if b.has_library("pg_stat_statements")] or [15]
STATEMENTS = 6
SETTINGS = {"shared_preload_libraries": "pg_stat_statements"}


class World:
    """A cluster under load, the calls that were made, and the history of its snapshots."""

    def __init__(self, cluster: Cluster, history: History, seed: int) -> None:
        self.cluster = cluster
        self.history = history
        self.random = random.Random(seed)
        self.made: Counter[int] = Counter()
        self.fresh: Counter[int] = Counter()  # since the last snapshot of this server
        self.lost: Counter[int] = Counter()
        self.keys: dict[int, tuple[int, int]] = {}

    async def load(self) -> None:
        """Calls of several statements over several connections at once."""
        plans = [
            [self.random.randrange(STATEMENTS) for _ in range(self.random.randint(1, 25))]
            for _ in range(4)
        ]
        await asyncio.gather(*(self._calls(plan) for plan in plans))
        made = Counter(n for plan in plans for n in plan)
        self.made += made
        self.fresh += made

    async def _calls(self, plan: list[int]) -> None:
        connection = await asyncpg.connect(self.cluster.dsn())
        try:
            for n in plan:
                await connection.fetch(f"SELECT x{n} FROM marked WHERE x{n} > $1", 0)
        finally:
            await connection.close()

    async def snapshot(self) -> Delta:
        async with session(self.cluster.dsn()) as server:
            taken = await take(server)
            change = self.history.add(taken)
            await learn(server, self.history, taken)
        self.fresh.clear()
        return change

    def server_drops(self, *statements: int) -> None:
        """The server is about to lose what it counted since the last snapshot."""
        for n in statements or range(STATEMENTS):
            self.lost[n] += self.fresh.pop(n, 0)

    def counted(self) -> Counter[int]:
        [cluster] = {row[0] for row in self.history._db.execute("SELECT cluster FROM run")}
        known = self.history.statements(cluster)
        counts: Counter[int] = Counter()
        for key, sums in self.history.totals(self.history.spans(cluster)).items():
            text = known[key.database_id, key.query_id].query
            if "FROM marked" in text:
                counts[int(text.removeprefix("SELECT x")[0])] += sums.calls
        return counts

    async def execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self.cluster.dsn())
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    # What can happen. Each leaves the server running.

    async def restart(self) -> None:
        await self.cluster.restart()

    async def restart_without_saving(self) -> None:
        await self._set_save("off")
        self.server_drops()
        await self.cluster.restart()
        await self._set_save("on")

    async def _set_save(self, value: str) -> None:
        """The postmaster has taken it over when a new backend has it."""
        await self.execute(f"ALTER SYSTEM SET pg_stat_statements.save = {value}")
        await self.cluster.reload()
        while True:
            connection = await asyncpg.connect(self.cluster.dsn())
            found = await connection.fetchval("SHOW pg_stat_statements.save")
            await connection.close()
            if found == value:
                return
            await asyncio.sleep(0.01)

    async def reset(self) -> None:
        self.server_drops()
        await self.execute("SELECT pg_stat_statements_reset()")

    async def reset_one(self) -> None:
        """Right after a snapshot: before 17 an entry that overtakes itself cannot be told."""
        n = self.random.randrange(STATEMENTS)
        await self.snapshot()
        await self.execute(
            "SELECT pg_stat_statements_reset(userid, dbid, queryid) FROM pg_stat_statements"
            f" WHERE query LIKE 'SELECT x{n} FROM marked%'"
        )
        await self.snapshot()

    async def backend_crash(self) -> None:
        """All backends start again with shared memory made anew; the postmaster stays."""
        self.server_drops()
        victim = await asyncpg.connect(self.cluster.dsn())
        os.kill(victim.get_server_pid(), signal.SIGKILL)
        for _ in range(600):
            await asyncio.sleep(0.05)
            with contextlib.suppress(asyncpg.PostgresError, OSError):
                if await (other := await asyncpg.connect(self.cluster.dsn())).fetchval(
                    "SELECT true"
                ):
                    await other.close()
                    break
        victim.terminate()

    async def failover(self) -> None:
        """A standby that already serves reads is promoted; the old primary is gone."""
        old, standby = self.cluster, await self.cluster.standby()
        await self.snapshot()
        self.cluster = standby
        await self.load()
        if self.random.random() < 0.5:
            await self.snapshot()
        await old.stop("immediate")
        await self.execute("SELECT pg_promote(true, 60)")


EVENTS = (
    World.restart, World.restart_without_saving, World.reset, World.reset_one,
    World.backend_crash, World.failover,
)  # fmt: skip


@contextlib.asynccontextmanager
async def world(major: int, tmp_path: Path, seed: int, **settings: object) -> AsyncIterator[World]:
    found = server_binaries().get(major)
    if found is None or not found.has_library("pg_stat_statements"):
        lacking(f"pg_stat_statements for PostgreSQL {major}")
    async with throwaway(binaries=found, settings={**SETTINGS, **settings}) as cluster:
        with opened(tmp_path / "history.sqlite") as history:
            made = World(cluster, history, seed)
            columns = ", ".join(f"x{n} int" for n in range(STATEMENTS))
            await made.execute(
                f"CREATE EXTENSION pg_stat_statements; CREATE TABLE marked ({columns})"
            )
            yield made


async def happens(one: World, events: list) -> None:
    await one.snapshot()
    for event in events:
        await one.load()
        if one.random.random() < 0.5:
            await one.snapshot()
            await one.load()
        await event(one)
        await one.load()
        await one.snapshot()
        assert one.counted() == one.made - one.lost, event.__name__
    assert sum(one.made.values()) > 0


@pytest.mark.parametrize("major", MAJORS)
async def test_sums_are_exact_whatever_happens_to_the_counters(major: int, tmp_path: Path):
    async with world(major, tmp_path, seed=major) as one:
        await happens(one, list(EVENTS))
        assert sum(one.lost.values()) > 0  # of what only the server could have kept


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
async def test_sums_are_exact_in_any_order(seed: int, tmp_path: Path):
    major = MAJORS[seed % len(MAJORS)]
    async with world(major, tmp_path, seed=seed) as one:
        await happens(one, one.random.choices(EVENTS, k=8))


@pytest.mark.parametrize("major", MAJORS)
async def test_what_an_eviction_lost_is_said_as_a_number(major: int, tmp_path: Path):
    settings = {"pg_stat_statements.max": 100}
    async with world(major, tmp_path, seed=1, **settings) as one:
        for _ in range(5):
            await one.load()
        await one.snapshot()
        connection = await asyncpg.connect(one.cluster.dsn())
        for n in range(400):  # each a statement of its own, called once
            await connection.execute(
                f"SELECT 1 AS rare WHERE 1 IN ({', '.join('1' * (n + 1))})"
                if major < 18
                else f"CREATE TEMP TABLE rare{n} ()"
            )
        await connection.close()
        await one.load()
        change = await one.snapshot()
        async with session(one.cluster.dsn()) as server:
            info = (await take(server)).info
        texts = one.history.statements(change.cluster)
        rare = sum(
            counts.calls
            for key, counts in change.entries.items()
            if "rare" in texts[key.database_id, key.query_id].query
        )
        assert info.evictions >= 30
        assert change.evicted >= 300
        assert 400 - rare <= change.evicted  # filban's own statements are evicted as well
        assert rare < 100
        assert one.counted() == one.made  # those that are in use stay, and nothing of them is lost
