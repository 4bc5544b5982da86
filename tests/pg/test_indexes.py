"""`filban indexes`: what each index is worth, on every server of a cluster."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from conftest import Database
from filban.errors import UsageError
from filban.index.upkeep.thresholds import UsageThresholds
from filban.index.usage import Survey, only, survey
from filban.pg import session
from routed import caught_up, connection

AT_ONCE = UsageThresholds(unused_window_seconds=0.0, unused_minimum_bytes=0.0)
SCHEMA = (
    "CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY, who int, at int);"
    "INSERT INTO shop.orders SELECT g, g % 100, g FROM generate_series(1, 5000) g;"
    "CREATE INDEX by_who ON shop.orders (who); CREATE INDEX by_at ON shop.orders (at);"
)


async def look(*dsns: str) -> Survey:
    async with session(dsns[0]) as one:
        if len(dsns) == 1:
            return await survey([one], AT_ONCE)
        async with session(dsns[1]) as other:
            return await survey([one, other], AT_ONCE)


def unused(found: Survey) -> set[str]:
    return {f.subject for f in found.findings if f.code == "index.unused"}


async def scan(connection, column: str) -> None:
    await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    assert await connection.fetchval(f"SELECT count(*) FROM shop.orders WHERE {column} = 7")
    await connection.execute("SELECT 1")


async def eventually_scans(dsn: str, name: str) -> Survey:
    async with asyncio.timeout(60):
        while True:
            found = await look(dsn)
            if next(u for u in found.indexes if u.index.name == name).scans:
                return found
            await asyncio.sleep(0.05)


async def test_each_index_with_its_size_and_scans(every_db: Database):
    await every_db.execute(SCHEMA)
    await every_db.execute("VACUUM ANALYZE shop.orders")
    async with every_db.connection() as connection:
        await scan(connection, "who")
    found = await eventually_scans(every_db.dsn, "shop.by_who")
    by_name = {used.index.name: used for used in found.indexes}
    assert set(by_name) == {"shop.orders_pkey", "shop.by_who", "shop.by_at"}
    used = by_name["shop.by_who"]
    assert used.scans == 1
    assert used.uses[0].tuples_read == 50
    assert used.index.size_bytes > 0
    if every_db.cluster.binaries.major >= 16:
        assert used.last_scan is not None
    assert by_name["shop.by_at"].last_scan is None
    assert unused(found) == {"shop.by_at"}
    assert by_name["shop.by_at"].codes == ("index.unused",)


@pytest.fixture
async def both(primary_standby):
    primary, standby = primary_standby.primary, primary_standby.standby
    async with connection(primary) as opened:
        await opened.execute("DROP SCHEMA IF EXISTS shop CASCADE;" + SCHEMA)
        await opened.execute("VACUUM ANALYZE shop.orders")
        await caught_up(primary, standby)
        yield primary, standby
        await opened.execute("DROP SCHEMA shop CASCADE")


async def test_what_only_a_standby_reads_is_not_unused(both):
    primary, standby = both
    async with connection(standby) as opened:
        await scan(opened, "at")
    await eventually_scans(standby.dsn(), "shop.by_at")
    alone = await look(primary.dsn())
    assert unused(alone) == {"shop.by_who", "shop.by_at"}
    assert alone.uncounted == 1
    together = await look(standby.dsn(), primary.dsn())
    assert unused(together) == {"shop.by_who"}
    assert together.uncounted == 0
    assert [s.role for s in together.servers] == ["primary", "standby"]
    used = next(u for u in together.indexes if u.index.name == "shop.by_at")
    assert [use.scans for use in used.uses] == [0, 1]
    [finding] = [f for f in together.findings if f.code == "index.unused"]
    assert "1 standby are counted in" in finding.fix.caution


async def test_servers_that_do_not_belong_together(db, both):
    primary, _ = both
    with pytest.raises(UsageError, match="different clusters"):
        await look(db.cluster.dsn(), primary.dsn())
    with pytest.raises(UsageError, match="primaries"):
        await look(primary.dsn(), primary.dsn())
    with pytest.raises(UsageError, match="different databases"):
        await look(db.dsn, db.cluster.dsn())


async def test_one_table_of_many(db):
    await db.execute(SCHEMA + "CREATE TABLE other (i int PRIMARY KEY)")
    found = only(await look(db.dsn), "shop.orders")
    assert len(found.indexes) == 3
    with pytest.raises(UsageError, match="no index") as caught:
        only(found, "shop.order")
    assert "shop.orders" in caught.value.hint


async def filban(*args: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "filban", *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


async def test_the_command(db):
    await db.execute(SCHEMA + "CREATE INDEX again ON shop.orders (who)")
    await db.execute("VACUUM ANALYZE shop.orders")
    code, out, _ = await filban("indexes", db.dsn, "--json", "--fail-on", "warning")
    document = json.loads(out)
    assert {f["code"] for f in document["findings"]} == {"index.duplicate"}
    assert code == (1 if document["findings"][0]["severity"] == "warning" else 0)
    rows = document["facts"]["indexes"]
    assert {"index", "table", "method", "size_bytes", "scans", "codes"} <= set(rows[0])
    code, out, _ = await filban("indexes", db.dsn, "--table", "shop.orders")
    assert code == 0
    assert "shop.by_at" in out
    assert "index.duplicate" in out
    code, _, error = await filban("indexes", db.dsn, "--unused-after", "long")
    assert code == 2
    assert "Traceback" not in error
