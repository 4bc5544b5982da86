"""Failover: primaries that die, freeze, stop, or live on while another has been promoted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import asyncpg
import pytest

from conftest import DEFAULT_MAJOR, lacking, settings_for
from filban.cluster import Cluster, throwaway
from filban.errors import CommitUnknown, NoServer
from filban.pool.routing.router import connect
from filban.pool.routing.tokens import Standing
from routed import PATIENT, caught_up, connection, dsn_of, eventually, routed, run, value

ON_STANDBY = "SELECT pg_is_in_recovery()"
POOLED = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'filban%'"
    " AND backend_type = 'client backend'"
)
SOON_SECONDS = 0.2


@dataclass(frozen=True)
class Duo:
    """A primary and a standby."""

    a: Cluster
    b: Cluster


@dataclass(frozen=True)
class Trio(Duo):
    """And another standby."""

    c: Cluster


async def promote(new: Cluster, *followers: Cluster) -> None:
    await run(new, "SELECT pg_promote(true, 60)")
    for follower in followers:
        await follow(follower, new)


async def follow(standby: Cluster, primary: Cluster) -> None:
    standby.configure({"primary_conninfo": f"host=127.0.0.1 port={primary.port} user=postgres"})
    await standby.reload()


async def cut_off(standby: Cluster) -> None:
    """It receives nothing any more."""
    standby.configure({"primary_conninfo": ""})
    await standby.reload()
    async with connection(standby) as control:
        while await control.fetchval("SELECT count(*) FROM pg_stat_wal_receiver"):
            await asyncio.sleep(0.01)


@pytest.fixture
async def duo(majors) -> AsyncIterator[Duo]:
    if DEFAULT_MAJOR not in majors:
        lacking(f"PostgreSQL {DEFAULT_MAJOR}")
    binaries = majors[DEFAULT_MAJOR]
    settings = {**settings_for(binaries), "wal_retrieve_retry_interval": "100ms"}
    async with throwaway(binaries=binaries, settings=settings) as a:
        await run(a, "CREATE TABLE t(i int PRIMARY KEY)")
        yield Duo(a, await a.standby(name="b"))


@pytest.fixture
async def trio(duo: Duo) -> Trio:
    return Trio(duo.a, duo.b, await duo.a.standby(name="c"))


def address(cluster: Cluster) -> str:
    return f"127.0.0.1:{cluster.port}"


async def test_a_killed_primary_is_replaced_and_writes_wait_for_it(trio: Trio):
    async with routed(trio.a, trio.b, trio.c) as router:
        await router.execute("INSERT INTO t VALUES (1)")
        await caught_up(trio.a, trio.b)
        epoch = router.epoch
        await trio.a.kill()
        await eventually(lambda: router.primary is None)
        assert await router.fetchval("SELECT count(*) FROM t", after=None) == 1  # by a standby
        waiting = asyncio.create_task(router.execute("INSERT INTO t VALUES (2)"))
        await promote(trio.b, trio.c)
        await waiting
        assert router.primary == address(trio.b)
        assert router.epoch == epoch + 1
        assert await router.fetchval("SELECT count(*) FROM t") == 2


async def test_a_write_without_a_primary_ends_at_its_deadline(duo: Duo):
    async with routed(duo.a, duo.b) as router:
        await duo.a.kill()
        await eventually(lambda: router.primary is None)
        with pytest.raises(NoServer, match="no primary"):
            async with router.write(timeout=0.2):
                pass


async def test_nothing_stays_on_a_primary_that_does_not_know_that_it_was_replaced(trio: Trio):
    """SELECT 1 passes there, and so does INSERT: what is written there will be lost."""
    async with routed(trio.a, trio.b, trio.c) as router, connection(trio.a) as old:
        await asyncio.gather(*(router.execute("SELECT pg_sleep(0.1)", after=None) for _ in "1234"))
        async with router.write() as held:
            await held.execute("INSERT INTO t VALUES (1)")
            assert await old.fetchval(POOLED)
            await caught_up(trio.a, trio.b)
            await promote(trio.b, trio.c)
            await eventually(lambda: router.primary == address(trio.b))
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
                await held.execute("INSERT INTO t VALUES (2)")
        assert await old.fetchval("SELECT count(*) FROM t") == 1
        await old.execute("INSERT INTO t VALUES (100)")
        await router.execute("INSERT INTO t VALUES (3)")
        assert await router.fetchval("SELECT array_agg(i ORDER BY i) FROM t") == [1, 3]
        async with asyncio.timeout(60):  # but for a look at it now and then
            while await old.fetchval(POOLED):
                await asyncio.sleep(0.01)
        state = next(s for s in router.servers() if s.address == address(trio.a))
        assert "older generation" in state.out


async def test_a_primary_that_comes_back_as_it_was_is_not_used(duo: Duo):
    async with routed(duo.a, duo.b) as router:
        await router.execute("INSERT INTO t VALUES (1)")
        await caught_up(duo.a, duo.b)
        await duo.a.kill()
        await promote(duo.b)
        await eventually(lambda: router.primary == address(duo.b))
        await duo.a.start()
        assert await value(duo.a, "SELECT 1")
        await eventually(lambda: any("older generation" in state.out for state in router.servers()))
        await duo.b.stop()
        await eventually(lambda: router.primary is None)
        with pytest.raises(NoServer, match="older generation"):
            async with router.write(timeout=0.5):
                pass


async def test_news_of_a_timeline_in_a_token_are_enough(duo: Duo):
    """This router sees only the old primary; another process's token has news of the new one."""
    async with routed(duo.a) as blind, routed(duo.a, duo.b) as router:
        await blind.execute("INSERT INTO t VALUES (1)")
        await caught_up(duo.a, duo.b)
        await promote(duo.b)
        await eventually(lambda: router.primary == address(duo.b))
        assert blind.primary == address(duo.a)
        async with router.transaction() as transaction:
            await transaction.execute("INSERT INTO t VALUES (2)")
        token = await router.token()
        with pytest.raises(NoServer):
            async with blind.read(after=token, timeout=0.2):
                pass
        assert blind.primary is None


async def test_a_switchover_turns_the_old_primary_into_a_standby(duo: Duo):
    async with routed(duo.a, duo.b, policy=replace(PATIENT, fresh_wait=60.0)) as router:
        await router.execute("INSERT INTO t VALUES (1)")
        await duo.a.stop()  # a fast stop sends all it has
        await promote(duo.b)
        (duo.a.data_dir / "standby.signal").touch()
        await follow_stopped(duo.a, duo.b)
        await duo.a.start()
        await eventually(lambda: router.primary == address(duo.b))
        await router.execute("INSERT INTO t VALUES (2)")
        await eventually(
            lambda: (
                {s.address: s.role for s in router.servers() if not s.out}
                == {address(duo.a): "standby", address(duo.b): "primary"}
            )
        )
        await caught_up(duo.b, duo.a)
        async with router.read() as leased:
            assert await leased.fetchval(ON_STANDBY)
            assert await leased.fetchval("SELECT count(*) FROM t") == 2


async def follow_stopped(standby: Cluster, primary: Cluster) -> None:
    standby.configure({"primary_conninfo": f"host=127.0.0.1 port={primary.port} user=postgres"})


# What is lost


@pytest.mark.parametrize("user", ["postgres", "app"])
async def test_a_token_of_a_write_that_was_lost_is_answered_at_once(trio: Trio, user: str):
    """As a superuser by the history file, else by what was seen of the standby before."""
    await run(trio.a, "CREATE ROLE app LOGIN; GRANT ALL ON t TO app; GRANT pg_monitor TO app")
    await caught_up(trio.a, trio.b)
    patient = replace(PATIENT, fresh_wait=60.0)
    async with routed(trio.a, trio.b, trio.c, user=user, policy=patient) as router:
        kept = await token_of(router, 1)
        await caught_up(trio.a, trio.b)
        await caught_up(trio.a, trio.c)
        await eventually(lambda: Standing.BEHIND not in router.standing(kept).values())
        await cut_off(trio.b)
        await cut_off(trio.c)
        lost = await token_of(router, 2)
        await trio.a.kill()
        await promote(trio.b, trio.c)
        await eventually(lambda: router.primary == address(trio.b))
        await eventually(lambda: sum(not server.out for server in router.servers()) == 2)
        async with router.read(after=lost) as leased:
            assert not await leased.fetchval(ON_STANDBY)  # the primary: nobody else can tell
            assert await leased.fetchval("SELECT count(*) FROM t WHERE i = 2") == 0
        async with router.read(after=kept) as leased:
            assert await leased.fetchval(ON_STANDBY)
        said = router.standing(lost)
        expected = Standing.LOST if user == "postgres" else Standing.UNSURE
        assert said[address(trio.b)] is said[address(trio.c)] is expected


async def token_of(router, number: int):
    with router.session():
        async with router.transaction() as transaction:
            await transaction.execute("INSERT INTO t VALUES ($1)", number)
        return await router.token()


async def test_a_replayed_commit_that_its_standby_does_not_show_yet(majors):
    """A COMMIT waits for the standby to come. The base backup's checkpoint lies after the commit
    record and counts the transaction among the running ones: the standby has replayed it, and does
    not show it before the next transaction ends."""
    if DEFAULT_MAJOR not in majors:
        lacking(f"PostgreSQL {DEFAULT_MAJOR}")
    binaries = majors[DEFAULT_MAJOR]
    async with throwaway(binaries=binaries, settings=settings_for(binaries)) as primary:
        await run(primary, "CREATE TABLE t(i int)")
        primary.configure({"synchronous_standby_names": "late"})
        await primary.reload()
        async with routed(primary) as router:
            writing = asyncio.create_task(token_of(router, 1))
            async with connection(primary) as control:
                while not await control.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                ):
                    await asyncio.sleep(0.01)
            standby = await primary.standby(name="late")
            token = await writing
        async with routed(primary, standby) as router:
            for _ in range(20):
                async with router.read(after=token) as leased:
                    assert await leased.fetchval("SELECT count(*) FROM t") == 1
            await run(primary, "INSERT INTO t VALUES (2)")
            await eventually(lambda: router.standing(token)[address(standby)] is Standing.SEEN)


async def test_a_write_whose_position_was_not_asked_for_in_time_is_answered_too(duo: Duo):
    async with routed(duo.a, duo.b) as router:
        with router.session():
            await router.execute("INSERT INTO t VALUES (1)")
            await caught_up(duo.a, duo.b)
            await duo.a.kill()
            await promote(duo.b)
            assert await router.fetchval("SELECT count(*) FROM t") == 1
            async with router.read() as leased:
                assert not await leased.fetchval(ON_STANDBY)


# Commits of which nobody knows


@contextlib.asynccontextmanager
async def hanging_commits(primary: Cluster) -> AsyncIterator[None]:
    """A COMMIT is applied and not acknowledged: it waits for a standby that does not exist."""
    primary.configure({"synchronous_standby_names": "nobody"})
    await primary.reload()
    async with connection(primary) as control:
        while await control.fetchval("SHOW synchronous_standby_names") != "nobody":
            await asyncio.sleep(0.01)
        yield


async def commit_hangs(primary: Cluster) -> None:
    async with connection(primary) as control:
        while not await control.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        ):
            await asyncio.sleep(0.01)


async def unknown_commit(router, primary: Cluster, number: int) -> CommitUnknown:
    async def write() -> None:
        async with router.transaction(fate=True) as transaction:
            await transaction.execute("INSERT INTO t VALUES ($1)", number)

    async with hanging_commits(primary):
        writing = asyncio.create_task(write())
        await commit_hangs(primary)
    await primary.kill()
    with pytest.raises(CommitUnknown) as caught:
        await writing
    return caught.value


async def test_a_commit_that_was_cut_is_unknown_and_its_fate_can_be_asked(duo: Duo):
    async with routed(duo.a, duo.b) as router:
        error = await unknown_commit(router, duo.a, 1)
        duo.a.configure({"synchronous_standby_names": ""})
        await duo.a.start()
        assert await router.fate(error) == "committed"
        assert await router.fetchval("SELECT count(*) FROM t") == 1


async def test_the_fate_of_a_commit_that_reached_the_new_primary(duo: Duo):
    async with routed(duo.a, duo.b) as router:
        error = await unknown_commit(router, duo.a, 1)
        async with connection(duo.b) as control:  # it has replayed all, and the router knows
            while not await control.fetchval("SELECT count(*) FROM t"):
                await asyncio.sleep(0.01)
        await asyncio.sleep(5 * PATIENT.probe_interval)
        await promote(duo.b)
        assert await router.fate(error) == "committed"


async def test_the_fate_of_a_lost_commit_is_not_that_of_another_with_its_id(duo: Duo):
    """The new primary has given the same transaction id to somebody else."""
    async with routed(duo.a, duo.b) as router:
        await caught_up(duo.a, duo.b)
        await cut_off(duo.b)
        error = await unknown_commit(router, duo.a, 1)
        await promote(duo.b)
        await eventually(lambda: router.primary == address(duo.b))
        assert await router.fate(error) == "aborted"  # "is in the future" there
        while await value(duo.b, "SELECT pg_current_xact_id()::text::int8") < error.xid + 2:
            pass
        assert await value(duo.b, f"SELECT pg_xact_status('{error.xid}')") == "committed"
        assert await router.fate(error) != "committed"
        assert await value(duo.b, "SELECT count(*) FROM t") == 0


async def write_and_cut(router) -> None:
    async with router.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (1)")
        transaction._con.terminate()


async def test_a_connection_that_was_gone_before_commit_is_no_unknown_commit(duo: Duo):
    async with routed(duo.a) as router:
        with pytest.raises(asyncpg.InterfaceError, match="closed"):
            await write_and_cut(router)
        assert await router.fetchval("SELECT count(*) FROM t") == 0


# Retries


async def test_a_read_is_tried_once_elsewhere_when_its_replica_dies(duo: Duo):
    async with routed(duo.a, duo.b) as router:
        reading = asyncio.create_task(
            router.fetchval(
                "SELECT CASE WHEN pg_is_in_recovery() THEN pg_sleep(60)::text ELSE 'p' END"
            )
        )
        async with connection(duo.b) as control:
            while not await control.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            ):
                await asyncio.sleep(0.01)
        await duo.b.kill()
        assert await reading == "p"


async def test_a_read_that_stands_in_the_way_of_replay_is_tried_once_elsewhere(duo: Duo):
    await run(duo.a, "INSERT INTO t SELECT generate_series(1, 1000)")
    duo.b.configure({"max_standby_streaming_delay": 0})
    await duo.b.reload()
    await caught_up(duo.a, duo.b)
    async with routed(duo.a, duo.b) as router:
        reading = asyncio.create_task(
            router.fetchval(
                "SELECT count(CASE WHEN pg_is_in_recovery() THEN pg_sleep(60)::text END) FROM t"
            )
        )
        async with connection(duo.b) as control:
            while not await control.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            ):
                await asyncio.sleep(0.01)
        await run(duo.a, "DELETE FROM t")
        await run(duo.a, "VACUUM t")
        assert await reading == 0
        assert all(not server.out for server in router.servers())  # it is healthy


async def test_a_write_is_never_sent_twice(duo: Duo):
    await run(duo.a, "CREATE SEQUENCE tries")
    async with routed(duo.a, duo.b) as router:
        writing = asyncio.create_task(
            router.execute("INSERT INTO t SELECT nextval('tries') FROM pg_sleep(60)")
        )
        async with connection(duo.a) as control:
            while not (pid := await control.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            )):  # fmt: skip
                await asyncio.sleep(0.01)
            await control.fetchval("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await writing
        assert await value(duo.a, "SELECT is_called FROM tries") is False
        assert await router.execute("INSERT INTO t VALUES (1)") == "INSERT 0 1"


async def test_a_read_only_transaction_of_ones_own_is_no_failover(duo: Duo):
    async with routed(duo.a) as router:
        epoch = router.epoch
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with router.transaction(readonly=True) as transaction:
                await transaction.execute("INSERT INTO t VALUES (1)")
        assert all(not server.out for server in router.servers())
        assert router.epoch == epoch


# Frozen and silent servers


def node_of(router, cluster: Cluster):
    return next(n for n in router._fleet.nodes.values() if str(n) == address(cluster))


@contextlib.contextmanager
def frozen(router, cluster: Cluster):
    """Its silence is noticed soon, and only its own: the others may be as slow as the machine."""
    node = node_of(router, cluster)
    cluster.pause()
    node.policy = replace(PATIENT, probe_timeout=SOON_SECONDS, connect_timeout=SOON_SECONDS)
    try:
        yield
    finally:
        node.policy = PATIENT
        cluster.resume()


async def test_a_frozen_replica_is_left_and_taken_back_gradually(duo: Duo):
    async with routed(duo.a, duo.b) as router:
        async with router.read() as leased:
            assert await leased.fetchval(ON_STANDBY)
        with frozen(router, duo.b):
            assert await router.fetchval("SELECT 1") == 1  # hangs until it is found out
            assert not await router.fetchval(ON_STANDBY)
        node = node_of(router, duo.b)
        await eventually(lambda: node.usable)
        assert node.load(0.0, time.monotonic()).share < 1.0


async def test_a_frozen_primary_is_replaced_and_closing_does_not_hang(duo: Duo):
    async with routed(duo.a, duo.b) as router:
        await router.execute("INSERT INTO t VALUES (1)")
        await caught_up(duo.a, duo.b)
        async with contextlib.AsyncExitStack() as stack:
            async with router.write() as held:
                stack.enter_context(frozen(router, duo.a))
                with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
                    await held.execute("INSERT INTO t VALUES (2)")  # no timeout of its own
            await promote(duo.b)
            await router.execute("INSERT INTO t VALUES (3)")
            assert await value(duo.b, "SELECT array_agg(i ORDER BY i) FROM t") == [1, 3]
            async with asyncio.timeout(30):
                await router.close()


async def test_a_server_that_falls_silent_while_a_connection_is_opened_is_not_waited_for(duo: Duo):
    """That is the server's silence, not the end of the caller's own time: another one answers."""
    async with routed(duo.a, duo.b, policy=replace(PATIENT, probe_interval=60.0)) as router:
        node_of(router, duo.b).policy = replace(PATIENT, probe_timeout=0.0)
        async with router.read(after=None) as leased:
            assert not await leased.fetchval(ON_STANDBY)


async def test_a_frozen_first_host_does_not_hold_up_the_others(duo: Duo):
    duo.b.pause()
    try:
        async with asyncio.timeout(60), routed_now(duo.b, duo.a) as router:
            assert router.primary == address(duo.a)
            assert not await router.fetchval(ON_STANDBY)
    finally:
        duo.b.resume()


@contextlib.asynccontextmanager
async def routed_now(*clusters: Cluster):

    opened = connect(dsn_of(*clusters), policy=PATIENT, max_size=2)
    async with opened as router:
        yield router


async def test_connections_that_an_administrator_ends_are_replaced(duo: Duo):
    async with routed(duo.a, duo.b) as router:
        await asyncio.gather(*(router.execute("SELECT pg_sleep(0.1) FOR UPDATE") for _ in "1234"))
        await run(
            duo.a,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'filban%'",
        )
        for number in range(8):
            await asyncio.sleep(0)
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
                await router.execute("INSERT INTO t VALUES ($1)", number)
        assert await router.execute("INSERT INTO t VALUES (100)") == "INSERT 0 1"
