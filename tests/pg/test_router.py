"""The router on a real primary and standby: roles, lag, read-your-writes."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from filban.errors import ConnectError, NoServer, PoolClosed, UsageError
from filban.pg.lsn import parse_lsn
from filban.pool.routing.router import connect
from filban.pool.routing.tokens import Standing, Token
from routed import (
    LONGEST_STORM_SECONDS,
    PATIENT,
    caught_up,
    connection,
    eventually,
    replay_paused,
    routed,
    run,
    value,
)

ON_STANDBY = "SELECT pg_is_in_recovery()"


@pytest.fixture
def primary(primary_standby):
    return primary_standby.primary


@pytest.fixture
def standby(primary_standby):
    return primary_standby.standby


@pytest.fixture
async def table(primary, standby):
    """A table `t(i)` that both have."""
    await run(primary, "DROP TABLE IF EXISTS t; CREATE TABLE t(i int, note text)")
    await caught_up(primary, standby)


@pytest.fixture
async def router(primary, standby, table):
    async with routed(primary, standby, policy=replace(PATIENT, fresh_wait=20.0)) as opened:
        yield opened


# Roles


async def test_writes_go_to_the_primary_and_reads_to_the_standby(router, primary, standby):
    assert router.primary == f"127.0.0.1:{primary.port}"
    async with router.write() as connection:
        assert not await connection.fetchval(ON_STANDBY)
    async with router.read(after=None) as connection:
        assert await connection.fetchval(ON_STANDBY)
    roles = {server.address: server.role for server in router.servers()}
    assert roles == {f"127.0.0.1:{primary.port}": "primary", f"127.0.0.1:{standby.port}": "standby"}


async def test_statements_go_where_they_may_run(router):
    assert await router.fetchval(ON_STANDBY)
    assert await router.execute("INSERT INTO t VALUES ($1)", 5) == "INSERT 0 1"
    assert await router.fetch("SELECT i FROM t") == [(5,)]
    assert (await router.fetchrow("SELECT i FROM t WHERE i = $1", 5))["i"] == 5
    assert not await router.fetchval(
        "WITH w AS (INSERT INTO t VALUES (6)) SELECT pg_is_in_recovery()"
    )


async def test_a_function_that_writes_is_run_once_on_the_primary(router, primary, standby):
    """The text is a plain SELECT; the operator behind it writes, and a standby refuses it."""
    await run(
        primary,
        """
        CREATE OR REPLACE FUNCTION put(a box, b box) RETURNS bool LANGUAGE plpgsql AS
          'BEGIN INSERT INTO t VALUES (77); RETURN true; END';
        DROP OPERATOR IF EXISTS <<<< (box, box);
        CREATE OPERATOR <<<< (FUNCTION = put, LEFTARG = box, RIGHTARG = box)
        """,
    )
    await caught_up(primary, standby)
    assert await router.fetchval("SELECT '(0,0),(1,1)'::box <<<< '(0,0),(1,1)'::box")
    assert await router.fetchval("SELECT count(*) FROM t WHERE i = 77") == 1


async def test_a_write_in_a_read_lease_is_no_fault_of_its_standby(router, standby):
    node = next(n for n in router._fleet.nodes.values() if n.address.port == standby.port)
    before = node.generation
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with router.read(after=None) as leased:
            await leased.execute("INSERT INTO t VALUES (1)")
    assert (node.out, node.generation) == ("", before)


async def test_without_a_standby_the_primary_answers_reads(primary, table):
    async with routed(primary) as router:
        assert not await router.fetchval(ON_STANDBY)


async def test_a_standby_alone_answers_reads_and_a_write_says_what_is_missing(standby, table):
    async with routed(standby) as router:
        assert await router.fetchval(ON_STANDBY)
        with pytest.raises(NoServer, match=f"127.0.0.1:{standby.port}: standby"):
            async with router.write(timeout=0.1):
                pass


async def test_no_server_at_all_is_said_at_once_with_each_of_them():
    with pytest.raises(ConnectError, match=r"1:1\b.*nobody.*1:2\b.*nobody") as caught:
        await connect("postgresql://postgres@127.0.0.1:1,127.0.0.1:2/postgres")
    assert caught.value.reason == "unreachable"


async def test_a_wrong_database_is_said_as_such(primary):
    with pytest.raises(ConnectError) as caught:
        await connect(primary.dsn("no_such_database"))
    assert caught.value.reason == "database"


async def test_a_closed_router_says_so(primary):
    async with routed(primary) as router:
        pass
    with pytest.raises(PoolClosed):
        await router.fetchval("SELECT 1")


async def test_closing_waits_for_leases_and_leaves_no_connection_behind(primary, standby, table):
    async with routed(primary, standby) as router:
        await asyncio.gather(*(router.fetchval("SELECT pg_sleep(0.05)") for _ in range(4)))
        await router.execute("INSERT INTO t VALUES (1)")
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'filban%'"
    for cluster in (primary, standby):
        async with connection(cluster) as control:
            async with asyncio.timeout(60):
                while await control.fetchval(ours):
                    await asyncio.sleep(0.01)


async def test_a_role_without_rights_has_tokens_and_replicas_too(primary, standby, table):
    await run(primary, "GRANT ALL ON t TO plain")
    policy = replace(PATIENT, fresh_wait=20.0)
    async with routed(primary, standby, user="plain", policy=policy) as router:
        async with router.transaction() as transaction:
            await transaction.execute("INSERT INTO t VALUES (1)")
        async with router.read() as replica:
            assert await replica.fetchval(ON_STANDBY)
            assert await replica.fetchval("SELECT count(*) FROM t") == 1


# Tokens


async def test_the_token_of_a_transaction_is_past_its_commit_and_costs_no_statement(
    router, primary
):
    async with router.write() as leased:
        before = leased._con.queries
        async with leased.transaction():
            await leased.execute("INSERT INTO t VALUES (1)")
        assert leased._con.queries - before == 3  # BEGIN, INSERT, COMMIT
        token = leased._con.written
    assert await router.token() == token
    # the end of the last commit record, as the server's own log has it
    flushed = await value(primary, "SELECT pg_current_wal_flush_lsn()::text")
    assert token.lsn <= parse_lsn(flushed)
    assert token.timeline == 1
    assert token.system == await value(primary, "SELECT system_identifier FROM pg_control_system()")


async def test_the_name_of_the_session_stays_readable(primary, table):
    async with routed(primary, server_settings={"application_name": "khabar web"}) as router:
        for _ in range(3):
            async with router.transaction() as transaction:
                await transaction.execute("INSERT INTO t VALUES (1)")
                name = await transaction.fetchval("SHOW application_name")
                assert name.startswith("khabar web")
                assert len(name) < 63


async def test_a_transaction_that_only_reads_leaves_no_token(router):
    async with router.transaction() as transaction:
        await transaction.fetch("SELECT * FROM t")
        raw = transaction._con
    assert raw.written is None


async def test_a_transaction_whose_error_was_swallowed_rolls_back_as_ever(router):
    async with router.write() as leased:
        async with leased.transaction():
            await leased.execute("INSERT INTO t VALUES (99)")
            with pytest.raises(asyncpg.DivisionByZeroError):
                await leased.execute("SELECT 1/0")
        assert not leased.is_in_transaction()
        assert leased._con.written is None
        assert await leased.fetchval("SELECT count(*) FROM t WHERE i = 99") == 0


async def test_a_deferred_constraint_fails_at_commit_as_itself(router, primary, standby):
    await run(primary, "CREATE TABLE u(i int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    try:
        with pytest.raises(asyncpg.UniqueViolationError):
            async with router.transaction() as transaction:
                await transaction.execute("INSERT INTO u VALUES (1), (1)")
    finally:
        await run(primary, "DROP TABLE u")


async def write(router, number: int, how: str) -> None:
    if how == "autocommit":
        await router.execute("INSERT INTO t VALUES ($1)", number)
        return
    async with router.transaction() as transaction:
        if how == "asynchronous commit":
            await transaction.execute("SET LOCAL synchronous_commit = off")
        await transaction.execute("INSERT INTO t VALUES ($1)", number)


HOW = ["transaction", "autocommit", "asynchronous commit"]


@pytest.mark.parametrize("how", HOW)
async def test_a_read_after_a_write_is_never_stale(router, how: str):
    for number in range(5 if how == "asynchronous commit" else 30):
        with router.session():
            await write(router, number, how)
            async with router.read() as leased:
                assert await leased.fetchval("SELECT count(*) FROM t WHERE i = $1", number) == 1


@pytest.mark.parametrize("how", HOW)
async def test_with_replay_paused_the_primary_answers_for_whoever_wrote(
    primary, standby, table, how: str
):
    async with routed(primary, standby) as router, replay_paused(standby):
        await write(router, 1, how)
        async with router.read() as leased:
            assert not await leased.fetchval(ON_STANDBY)
            assert await leased.fetchval("SELECT count(*) FROM t") == 1
        async with router.read(after=None) as leased:  # another user's
            assert await leased.fetchval(ON_STANDBY)
            assert await leased.fetchval("SELECT count(*) FROM t") == 0


async def test_a_replica_answers_as_soon_as_it_has_replayed_the_token(router, standby):
    async with replay_paused(standby):
        await write(router, 1, "transaction")
        # it does not know of the pause yet, or it would not wait
        for node in router._fleet.nodes.values():
            node.position = replace(node.position, replay_paused=False)
        waiting = asyncio.create_task(router.fetchval(ON_STANDBY))
        await asyncio.sleep(0)
    await waiting


async def test_a_write_in_a_child_task_is_seen_by_its_parent(router):
    with router.session():
        await asyncio.gather(*(write(router, number, "transaction") for number in range(5)))
        assert await router.fetchval("SELECT count(*) FROM t") == 5


async def test_a_token_of_another_session_is_honoured(primary, standby, table):
    async with routed(primary, standby) as router, replay_paused(standby):
        with router.session():
            await write(router, 1, "transaction")
            token = await router.token()
        with router.session():
            assert await router.token() is None
            assert await router.fetchval("SELECT count(*) FROM t", after=token) == 1
        with router.session(Token.parse(str(token))):
            assert await router.fetchval("SELECT count(*) FROM t") == 1
        said = router.standing(token)
        assert said[f"127.0.0.1:{standby.port}"] is Standing.BEHIND
        assert said[f"127.0.0.1:{primary.port}"] is Standing.SEEN


async def test_what_is_no_token_is_refused(router):
    with pytest.raises(UsageError):
        await router.fetchval("SELECT 1", after="0/3000148")


async def test_a_token_of_another_system_is_answered_by_the_primary(router):
    async with router.read(after=Token(1, 9, 5)) as leased:
        assert not await leased.fetchval(ON_STANDBY)
    assert router.primary  # and its timeline means nothing here


async def test_with_replay_paused_at_random_no_read_is_stale(primary, standby, table):
    await storm(primary, standby, pairs=300, seed=1)


@pytest.mark.long
@pytest.mark.timeout(LONGEST_STORM_SECONDS)
@pytest.mark.parametrize("seed", range(3))
async def test_with_replay_paused_at_random_no_read_is_stale_at_length(
    primary, standby, table, seed: int
):
    await storm(primary, standby, pairs=5000, seed=seed)


async def storm(primary, standby, *, pairs: int, seed: int) -> None:
    """Writers of all three kinds, each of whom reads what it wrote, while replay stops and goes."""
    chance = random.Random(seed)
    answered = {True: 0, False: 0}

    async def pausing(router) -> None:
        async with connection(standby) as control:
            try:
                while True:
                    await control.execute("SELECT pg_wal_replay_pause()")
                    await asyncio.sleep(chance.random() * 0.05)
                    await control.execute("SELECT pg_wal_replay_resume()")
                    await asyncio.sleep(chance.random() * 0.05)
            finally:
                await control.execute("SELECT pg_wal_replay_resume()")

    async def pair(router, number: int) -> None:
        with router.session():
            await write(router, number, chance.choice(HOW))
            async with router.read() as leased:
                row = await leased.fetchrow(
                    "SELECT pg_is_in_recovery(), count(*) FROM t WHERE i = $1", number
                )
            answered[row[0]] += 1
            assert row[1] == 1, f"stale: {number}"

    async with routed(primary, standby, policy=replace(PATIENT, fresh_wait=0.02)) as router:
        task = asyncio.create_task(pausing(router))
        try:
            for begin in range(0, pairs, 4):
                await asyncio.gather(*(pair(router, number) for number in range(begin, begin + 4)))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert answered[True]  # or nothing was tested


async def test_a_check_inside_the_read_itself_would_be_passed_by_a_stale_read(
    primary, standby, table
):
    """Why the position is asked for before: the snapshot is older than the expressions."""
    async with connection(primary) as writer, connection(standby) as reader:
        stale = asyncio.create_task(
            reader.fetchrow(
                "SELECT (SELECT count(*) FROM t) AS seen, pg_sleep(2),"
                " pg_last_wal_replay_lsn()::text AS replayed"
            )
        )
        await asyncio.sleep(0.3)
        await writer.execute("INSERT INTO t VALUES (1)")
        token = parse_lsn(await writer.fetchval("SELECT pg_current_wal_flush_lsn()::text"))
        row = await stale
        assert row["seen"] == 0
        assert parse_lsn(row["replayed"]) >= token


async def test_the_end_of_the_log_at_a_page_boundary_is_reached_by_an_idle_standby(
    primary, standby, router
):
    """pg_current_wal_insert_lsn() then points past a header that is not there: the trap itself is
    made here, byte by byte."""
    async with connection(primary) as control:
        for _ in range(200):
            left = await control.fetchval(
                "SELECT 8192 - (pg_current_wal_insert_lsn() - '0/0')::bigint % 8192"
            )
            # a record of n bytes of message is 54 bytes longer, aligned to 8
            size = (left - 56) if left > 120 else 100
            await control.fetchval(
                "SELECT pg_logical_emit_message(false, '', repeat('x', $1::int))", size
            )
            offset = await control.fetchval(
                "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint % 8192"
            )
            if offset == 24:
                break
        else:
            pytest.fail("no page boundary was hit")
        raw = await control.fetchval("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        # an autocommit write's token is taken from there
        with router.session() as session:
            session.wrote_outside(router._fleet.primary, 1, time.monotonic())
            token = await router.token()
    assert token.lsn == raw - 24
    await eventually(lambda: router.standing(token)[f"127.0.0.1:{standby.port}"] is Standing.SEEN)


# Lag


async def lag_of(router, cluster):
    return next(s for s in router.servers() if s.address == f"127.0.0.1:{cluster.port}")


async def test_an_idle_primary_has_no_lag(router, primary, standby):
    await run(primary, "SELECT pg_switch_wal()")
    await caught_up(primary, standby)
    await asyncio.sleep(0.3)
    state = await lag_of(router, standby)
    assert (state.lag_bytes, state.lag_seconds) == (0, 0.0)


async def test_the_lag_of_a_paused_replica_grows_with_the_clock(router, primary, standby):
    async with replay_paused(standby):
        begun = time.monotonic()
        await run(primary, "INSERT INTO t VALUES (1)")
        await asyncio.sleep(0.5)
        state = await lag_of(router, standby)
        assert state.lag_bytes > 0
        elapsed = time.monotonic() - begun
        assert 0.4 <= state.lag_seconds <= elapsed + 10 * PATIENT.probe_interval + 5.0
    await eventually(lambda: router.servers()[0].lag_bytes == router.servers()[1].lag_bytes == 0)


async def test_max_lag_sends_a_read_to_the_primary(router, primary, standby):
    async with router.read(max_lag=timedelta(seconds=30)) as leased:
        assert await leased.fetchval(ON_STANDBY)
    async with replay_paused(standby):
        await run(primary, "INSERT INTO t VALUES (1)")
        await asyncio.sleep(0.5)
        async with router.read(max_lag=0.3, after=None) as leased:
            assert not await leased.fetchval(ON_STANDBY)
            assert await leased.fetchval("SELECT count(*) FROM t") == 1
        async with router.read(max_lag=3600, after=None) as leased:
            assert await leased.fetchval(ON_STANDBY)
