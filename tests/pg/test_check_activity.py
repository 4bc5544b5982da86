"""Sessions, transactions, locks: each fault planted, found, fixed as printed, and gone."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import pytest
from planted import apply, eventually, find, run, verdicts

from filban.cluster import throwaway
from filban.finding import Severity
from filban.health.activity import CHECKS


@contextlib.asynccontextmanager
async def connections(db, count: int, role: str | None = None):
    opened = [await db.connect(role) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            with contextlib.suppress(Exception):
                await connection.close(timeout=5)


async def pid_of(connection: asyncpg.Connection) -> int:
    return await connection.fetchval("SELECT pg_backend_pid()")


async def ended(task: asyncio.Task) -> None:
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await task


async def test_connections_near_a_databases_limit_idle_ones_are_ended(every_db):
    name = every_db.name
    await every_db.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 5")
    await every_db.execute("GRANT CONNECT ON DATABASE " + name + " TO plain")
    async with connections(every_db, 4, "plain"):
        [found] = await find(
            every_db.dsn, CHECKS, "connections.near_limit", idle_connection_seconds=0
        )
        assert (found.subject, found.severity) == (f"database {name}", Severity.warning)
        assert found.evidence["used"].value == 4
        assert found.evidence["idle"].value == 4
        assert "pg_terminate_backend" in found.fix.sql
        await apply(every_db.cluster, every_db.dsn, found.fix)
        assert not await find(every_db.dsn, CHECKS, "connections.near_limit")


@pytest.mark.parametrize("scope", ["database", "role"])
async def test_connections_at_work_need_a_higher_limit(db, scope):
    await db.execute("DROP ROLE IF EXISTS limited")
    await db.execute("CREATE ROLE limited LOGIN CONNECTION LIMIT 4")
    subject = "role limited"
    if scope == "database":
        await db.execute("ALTER ROLE limited CONNECTION LIMIT -1")
        await db.execute(f"ALTER DATABASE {db.name} CONNECTION LIMIT 4")
        subject = f"database {db.name}"
    try:
        async with connections(db, 4, "limited"):
            [found] = await find(db.dsn, CHECKS, "connections.near_limit")
            assert (found.subject, found.severity) == (subject, Severity.critical)
            assert "CONNECTION LIMIT" in found.fix.sql
            await apply(db.cluster, db.dsn, found.fix)
            assert not await find(db.dsn, CHECKS, "connections.near_limit")
    finally:
        await db.execute("DROP ROLE limited")


async def test_connections_near_the_servers_limit(majors):
    settings = {"max_connections": 12, "superuser_reserved_connections": 2, "max_wal_senders": 0}
    async with throwaway(binaries=majors[15], settings=settings) as cluster:
        opened = [await asyncpg.connect(cluster.dsn()) for _ in range(8)]
        [found] = await find(cluster.dsn(), CHECKS, "connections.near_limit")
        assert found.subject == "server"
        assert found.evidence["allowed"].value == 10
        for connection in opened:
            await connection.close()
        await apply(cluster, cluster.dsn(), found.fix)
        await cluster.restart()
        opened = [await asyncpg.connect(cluster.dsn()) for _ in range(8)]
        assert not await find(cluster.dsn(), CHECKS, "connections.near_limit")
        for connection in opened:
            await connection.close()


async def test_filbans_own_connections_are_not_counted(db):
    await db.execute(f"ALTER DATABASE {db.name} CONNECTION LIMIT 2")
    own = await db.connect(server_settings={"application_name": "filban"})
    try:
        assert not await find(db.dsn, CHECKS, "connections.near_limit")
    finally:
        await own.close()


async def test_idle_in_transaction(every_db):
    async with connections(every_db, 1) as [idle]:
        pid = await pid_of(idle)
        await idle.execute("BEGIN; CREATE TABLE t (a int)")
        limits = {"idle_in_transaction_seconds": 0.0}
        [found] = await find(every_db.dsn, CHECKS, "connection.idle_in_transaction", **limits)
        assert (found.subject, found.severity) == (f"pid {pid}", Severity.warning)
        assert "CREATE TABLE t" in found.why
        later = {"idle_in_transaction_info_seconds": 600.0}
        assert not await find(every_db.dsn, CHECKS, "connection.idle_in_transaction", **later)
        assert not await find(
            every_db.dsn, CHECKS, "transaction.long", long_transaction_seconds=0.0
        )
        await apply(every_db.cluster, every_db.dsn, found.fix)

        async def gone():
            return not await find(every_db.dsn, CHECKS, found.code, **limits)

        await eventually(gone)


async def test_a_long_transaction_is_cancelled(every_db):
    async with connections(every_db, 1) as [busy]:
        pid = await pid_of(busy)
        task = asyncio.create_task(busy.execute("SELECT pg_sleep(600)"))

        async def seen():
            return await find(
                every_db.dsn, CHECKS, "transaction.long", long_transaction_seconds=0.0
            )

        [found] = await eventually(seen)
        assert found.subject == f"pid {pid}"
        assert found.evidence["xmin_age"].value >= 0
        await apply(every_db.cluster, every_db.dsn, found.fix)
        await ended(task)
        assert not await seen()


async def test_a_dump_is_worth_knowing_only(db):
    dump = await db.connect(server_settings={"application_name": "pg_dump"})
    task = asyncio.create_task(dump.execute("SELECT pg_sleep(600)"))

    async def seen():
        return await find(db.dsn, CHECKS, "transaction.long", long_transaction_seconds=0.0)

    [found] = await eventually(seen)
    assert found.severity == Severity.info
    await apply(db.cluster, db.dsn, found.fix)
    await ended(task)
    await dump.close()


async def test_a_slot_that_holds_the_horizon(primary_standby):
    primary = primary_standby.primary
    connection = await asyncpg.connect(primary.dsn())
    await connection.execute("CREATE TABLE IF NOT EXISTS held (a int)")
    feedback = {"hot_standby_feedback": True, "primary_slot_name": "holder"}
    await connection.execute("SELECT pg_create_physical_replication_slot('holder')")
    primary_standby.standby.configure({**feedback, "wal_receiver_status_interval": "1s"})
    await primary_standby.standby.restart()

    async def held():
        return await connection.fetchval(
            "SELECT xmin FROM pg_replication_slots WHERE slot_name = 'holder'"
        )

    await eventually(held)
    await primary_standby.standby.stop()
    for _ in range(5):
        await connection.execute("INSERT INTO held VALUES (1)")
    limits = {"horizon_warning_xids": 3.0}
    [found] = await find(primary.dsn(), CHECKS, "transaction.long", **limits)
    assert (found.subject, found.severity) == ("slot holder", Severity.warning)
    assert found.evidence["xmin_age"].value >= 3
    await apply(primary, primary.dsn(), found.fix)
    assert not await find(primary.dsn(), CHECKS, "transaction.long", **limits)
    await connection.close()
    primary_standby.standby.configure({"primary_slot_name": None})
    await primary_standby.standby.start()


@pytest.fixture
async def two_phase(majors):
    """A server that allows prepared transactions."""
    settings = {"max_prepared_transactions": 5}
    async with throwaway(binaries=majors[15], settings=settings) as cluster:
        yield cluster


async def test_a_prepared_transaction_left_behind_and_those_it_blocks(two_phase):
    dsn = two_phase.dsn()
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    await connection.execute("BEGIN; UPDATE t SET a = 2; PREPARE TRANSACTION 'it''s left'")
    waiter = asyncio.create_task(connection.execute("UPDATE t SET a = 3"))
    limits = {"prepared_transaction_seconds": 0.0, "blocked_warning_seconds": 0.0}

    async def waiting():
        return await find(dsn, CHECKS, "lock.blocked", **limits)

    [blocked] = await eventually(waiting)
    assert blocked.subject == "prepared it's left"
    assert blocked.fix.sql == "ROLLBACK PREPARED 'it''s left';"
    [orphan] = await find(dsn, CHECKS, "prepared.orphaned", **limits)
    assert (orphan.subject, orphan.severity) == ("it's left", Severity.warning)
    assert orphan.evidence["locks"].value >= 1
    await apply(two_phase, dsn, orphan.fix)
    await waiter
    assert not await find(dsn, CHECKS, "prepared.orphaned", **limits)
    assert not await waiting()
    await connection.close()


async def test_blocked_sessions_as_a_tree_with_its_root(every_db):
    """Root <- two waiters, one of which blocks two more by another row: three levels."""
    db = every_db
    await db.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
    one, two = "SELECT FROM t WHERE id = 1 FOR UPDATE", "SELECT FROM t WHERE id = 2 FOR UPDATE"
    async with connections(db, 5) as (root, middle, *leaves):
        await root.execute(f"BEGIN; {one}")
        await middle.execute(f"BEGIN; {two}")
        tasks = [asyncio.create_task(middle.execute(one))]
        tasks += [asyncio.create_task(leaf.execute(two)) for leaf in leaves[:2]]
        tasks += [asyncio.create_task(leaves[2].execute(one))]

        async def waiting():
            found = await find(db.dsn, CHECKS, "lock.blocked", blocked_warning_seconds=0.0)
            return [f for f in found if f.evidence["blocked_sessions"].value == 4]

        [found] = await eventually(waiting)
        pid = await pid_of(root)
        assert found.subject == f"pid {pid}"
        assert len(await find(db.dsn, CHECKS, "lock.blocked", blocked_warning_seconds=0.0)) == 1
        tree = found.why.splitlines()[1:]
        depths = [(len(line) - len(line.lstrip())) // 3 + ("└─" in line) for line in tree]
        assert depths[0] == 0
        assert max(depths) >= 2
        assert len(tree) == 5
        assert "idle in transaction" in tree[0]
        assert "row of public.t" in found.why
        assert not await find(db.dsn, CHECKS, "lock.blocked", blocked_warning_seconds=600.0)
        await apply(db.cluster, db.dsn, found.fix)
        await tasks[0]
        await middle.execute("COMMIT")
        await asyncio.gather(*tasks)
        assert not await waiting()


async def test_a_table_lock_with_a_queue_behind_it(db):
    """A migration waits for a reader, and every later reader for the migration."""
    await db.execute("CREATE TABLE t (id int)")
    async with connections(db, 4) as (reader, migration, *later):
        await reader.execute("BEGIN; SELECT FROM t")
        tasks = [asyncio.create_task(migration.execute("ALTER TABLE t ADD COLUMN b int"))]

        async def blocked(count: int):
            found = await find(db.dsn, CHECKS, "lock.blocked", blocked_warning_seconds=0.0)
            return [f for f in found if f.evidence["blocked_sessions"].value == count]

        await eventually(lambda: blocked(1))
        tasks += [asyncio.create_task(c.execute("SELECT FROM t")) for c in later]
        [found] = await eventually(lambda: blocked(3))
        tree = found.why.splitlines()[1:]
        migrating = await pid_of_waiter(db, "ALTER TABLE")
        assert tree[1].startswith(f"└─ pid {migrating}")
        assert all(line.startswith("   └─ pid") for line in tree[2:])
        assert "AccessExclusiveLock on relation public.t" in tree[1]
        await apply(db.cluster, db.dsn, found.fix)
        await asyncio.gather(*tasks)


async def pid_of_waiter(db, query: str) -> int:
    return await db.fetchval("SELECT pid FROM pg_stat_activity WHERE query LIKE $1", query + "%")


async def test_a_role_without_rights_sees_the_queue_and_is_told_what_is_hidden(db, plain_dsn):
    await db.execute("CREATE TABLE t (id int)")
    async with connections(db, 2) as (holder, waiter):
        await holder.execute("BEGIN; LOCK TABLE t")
        task = asyncio.create_task(waiter.execute("SELECT FROM t"))

        async def waiting():
            return await find(plain_dsn, CHECKS, "lock.blocked", blocked_warning_seconds=0.0)

        [found] = await eventually(waiting)
        assert found.subject == f"pid {await pid_of(holder)}"
        assert "not visible to this role" in found.why
        assert "LOCK TABLE" not in found.why
        findings, hidden = await run(plain_dsn, CHECKS, idle_in_transaction_seconds=0.0)
        assert "connection.idle_in_transaction" not in {f.code for f in findings}
        assert any("other roles' sessions" in h.what for h in hidden)
        await apply(db.cluster, db.dsn, found.fix)
        await task


async def test_statements_of_a_database_in_another_encoding(db):
    """Its text is not valid in ours: it is left out, and everything else is said."""
    latin = type(db)(db.cluster, f"{db.name}_latin")
    await db.execute(
        f"CREATE DATABASE {latin.name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
    )
    try:
        async with connections(latin, 2) as (holder, waiter):
            await holder.execute("CREATE TABLE t (a text)")
            await holder.execute("BEGIN; LOCK TABLE t; SELECT 'é'")
            task = asyncio.create_task(waiter.execute("SELECT 'é' FROM t"))

            async def waiting():
                return await find(db.dsn, CHECKS, "lock.blocked", blocked_warning_seconds=0.0)

            [blocked] = await eventually(waiting)
            assert f"of database {latin.name}" in blocked.why
            [idle] = await find(
                db.dsn, CHECKS, "connection.idle_in_transaction", idle_in_transaction_seconds=0.0
            )
            assert latin.name in idle.why
            await apply(db.cluster, db.dsn, idle.fix)
            await task
    finally:
        await db.execute(f"DROP DATABASE {latin.name} WITH (FORCE)")


async def test_a_standby_has_sessions_too(primary_standby):
    standby = primary_standby.standby
    limits = {"idle_in_transaction_seconds": 0.0}
    reader = await asyncpg.connect(standby.dsn())
    await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
    [found] = await find(standby.dsn(), CHECKS, "connection.idle_in_transaction", **limits)
    assert found.evidence["xmin_age"].value >= 0
    await apply(standby, standby.dsn(), found.fix)

    async def gone():
        return not await find(standby.dsn(), CHECKS, found.code, **limits)

    await eventually(gone)


async def test_a_quiet_database_and_a_standby_have_no_verdict(db, primary_standby):
    assert await verdicts(db.dsn, CHECKS) == set()
    assert await verdicts(primary_standby.standby.dsn(), CHECKS) == set()
