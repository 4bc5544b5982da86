"""Connecting to real servers: what goes wrong is one clear sentence with what to do."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import asyncpg
import pytest

from conftest import running
from filban import pg
from filban.errors import (
    ConnectError,
    ConnectionLost,
    NotSupported,
    RightsMissing,
    StatementFailed,
)
from filban.pg import Cap, Limits
from filban.pg.connect import open_connection
from filban.pg.session import fetch
from pooler import bouncer


@contextlib.asynccontextmanager
async def listener(answer: bytes | None):
    """A TCP server that is no PostgreSQL: it answers with `answer`, or never (None)."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        if answer is not None:
            writer.write(answer)
            await writer.drain()
            writer.close()
        else:
            await asyncio.sleep(30)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def refused(dsn: str, *, timeout: float = 5.0) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        async with pg.session(dsn, timeout=timeout):
            pass
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_nobody_listens():
    error = await refused(f"postgresql://u@127.0.0.1:{free_port()}/d")
    assert error.reason == "unreachable"
    assert "nobody listens there (Connection refused)" in error.message


async def test_a_socket_directory_without_a_server(tmp_path):
    error = await refused(f"host={tmp_path} user=u dbname=d")
    assert error.reason == "unreachable"
    assert "no such socket" in error.message
    assert "running" in error.hint


async def test_a_host_name_that_does_not_exist():
    assert (await refused("postgresql://u@no-such-host.invalid/d")).reason == "unreachable"


async def test_a_server_that_never_answers_costs_one_deadline_not_more():
    async with listener(None) as port:
        error = await refused(f"postgresql://u@127.0.0.1:{port}/d?sslmode=disable", timeout=0.3)
    assert error.reason == "unreachable"
    assert "no answer within 0.3 s" in error.message


async def test_something_that_is_not_postgresql():
    async with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        for mode in ("disable", "prefer", "require"):
            error = await refused(f"postgresql://u@127.0.0.1:{port}/d?sslmode={mode}", timeout=2)
            assert error.reason in {"other", "unreachable", "tls"}
            assert ("not a PostgreSQL server" in error.message) == (mode == "prefer")


async def test_wrong_password_and_none(scram_cluster):
    base = scram_cluster.dsn("postgres")
    wrong = pg.Target(**{**_parts(base), "password": "not it"})
    error = await refused_target(wrong)
    assert error.reason == "authentication"
    assert "the password given is wrong" in error.hint
    assert "not it" not in error.message + error.hint
    error = await refused_target(pg.Target(**{**_parts(base), "passfile": "/nonexistent"}))
    assert error.reason == "authentication"
    assert "no password was given" in error.hint
    right = pg.Target(**{**_parts(base), "password": 'it\'s a "pass" word'})
    async with pg.session(right) as session:
        assert session.server.rights == "superuser"


def _parts(dsn: str) -> dict:
    target = pg.parse(dsn, {"HOME": "/nonexistent"})
    return {"addresses": target.addresses, "user": target.user, "database": target.database}


async def refused_target(target: pg.Target) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        async with pg.session(target):
            pass
    return caught.value


@pytest.fixture(scope="module")
def scram_cluster():
    hba = ("host all all 127.0.0.1/32 scram-sha-256", "local all all trust")
    with running(hba=hba) as cluster:
        asyncio.run(_set_password(cluster.dsn_socket("postgres")))
        yield cluster


async def _set_password(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("ALTER ROLE postgres PASSWORD 'it''s a \"pass\" word'")
    await connection.close()


async def test_a_database_that_does_not_exist(db):
    error = await refused_target(pg.parse(db.dsn).in_database('no "such" database'))
    assert error.reason == "database"
    assert 'no "such" database' in error.message


async def test_a_role_that_does_not_exist(db):
    target = pg.parse(db.dsn)
    error = await refused_target(
        pg.Target(addresses=target.addresses, user="nobody here", database=target.database)
    )
    assert error.reason == "authentication"


async def test_tls_asked_for_and_not_offered(db):
    assert (await refused(db.dsn + "?sslmode=require")).reason == "tls"


async def test_a_database_name_with_spaces_and_quotes(odd_db):
    async with pg.session(odd_db.dsn) as session:
        assert session.server.database == odd_db.name


async def test_the_first_host_that_answers_is_used_and_each_failure_is_named(db):
    address = pg.parse(db.dsn).addresses[0]
    dead = free_port()
    dsn = f"postgresql://postgres@127.0.0.1:{dead},{address}/{pg.parse(db.dsn).database}"
    async with pg.session(dsn) as session:
        assert session.server.kind == "primary"
    error = await refused(f"postgresql://u@127.0.0.1:{dead},127.0.0.1:{free_port()}/d")
    assert "none of 2 hosts could be used" in error.message
    assert str(dead) in error.message


async def test_target_session_attrs(primary_standby):
    pair = (primary_standby.primary, primary_standby.standby)
    primary, standby = (pg.parse(c.dsn("postgres")).addresses[0] for c in pair)
    hosts = f"postgresql://postgres@{primary},{standby}/postgres?target_session_attrs="
    for wanted, kind in (
        ("standby", "standby"), ("prefer-standby", "standby"), ("read-only", "standby"),
        ("primary", "primary"), ("read-write", "primary"), ("any", "primary"),
    ):  # fmt: skip
        async with pg.session(hosts + wanted) as session:
            assert session.server.kind == kind, wanted
    only = f"postgresql://postgres@{primary}/postgres?target_session_attrs=standby"
    assert (await refused(only)).reason == "role"


async def test_too_many_connections(pg_small):
    target = pg.parse(pg_small.dsn("postgres"))
    plain = pg.Target(addresses=target.addresses, user="plain", database="postgres")
    async with contextlib.AsyncExitStack() as held:
        with pytest.raises(ConnectError) as caught:
            await take_all(held, plain)
    assert caught.value.reason == "too_many"


async def take_all(held: contextlib.AsyncExitStack, target: pg.Target) -> None:
    for _ in range(20):
        held.push_async_callback((await open_connection(target)).close)


@pytest.fixture
async def pg_small():
    from filban.cluster import throwaway

    async with throwaway(settings={"max_connections": 6}) as cluster:
        connection = await asyncpg.connect(cluster.dsn("postgres"))
        await connection.execute("CREATE ROLE plain LOGIN")
        await connection.close()
        yield cluster


async def test_our_sessions_are_named_bounded_and_read_only(db):
    async with pg.session(db.dsn) as session:
        read = lambda name: session.connection.fetchval(f"SHOW {name}")  # noqa: E731
        assert await read("application_name") == "filban"
        assert await read("statement_timeout") == "30s"
        assert await read("lock_timeout") == "2s"
        assert await read("search_path") == "pg_catalog"
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await session.connection.execute("CREATE TABLE t()")


async def test_a_planted_function_is_not_found_before_the_servers_own(db):
    """CVE-2018-1058: an owner's lower(varchar) in public must not run with our rights."""
    await db.execute("CREATE TABLE public.ran (); GRANT ALL ON SCHEMA public TO public")
    await db.execute(
        "CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'planted code ran'; END $$"
    )
    async with pg.session(db.dsn) as session:
        assert session.server.extensions["plpgsql"].schema_quoted == "pg_catalog"


async def test_what_a_plain_role_may_see(db, plain_dsn):
    async with pg.session(plain_dsn) as session:
        assert session.server.rights == "plain"
        assert not session.server.has(Cap.READ_ALL_STATS)
        assert not session.server.has(Cap.SUPERUSER)
    async with pg.session(db.dsn) as session:
        assert session.server.rights == "superuser"
        assert session.server.has(Cap.READ_ALL_STATS)


async def test_the_server_dies_in_the_middle(db):
    other = await asyncpg.connect(db.dsn)
    try:
        async with pg.session(db.dsn) as session:
            pid = session.connection.get_server_pid()
            asyncio.get_running_loop().call_later(
                0.2,
                lambda: asyncio.ensure_future(other.execute(f"SELECT pg_terminate_backend({pid})")),
            )
            with pytest.raises(ConnectionLost) as caught:
                await fetch(session.connection, "SELECT pg_sleep(20)", "a_long_thing")
            assert "while reading a long thing" in caught.value.message
    finally:
        await other.close()


async def test_no_rights_and_a_statement_that_takes_too_long(db, plain_dsn):
    async with pg.session(plain_dsn) as session:
        with pytest.raises(RightsMissing):
            await fetch(session.connection, "SELECT * FROM pg_authid", "pg_authid")
    async with pg.session(db.dsn, Limits(statement_timeout_ms=50)) as session:
        with pytest.raises(StatementFailed) as caught:
            await fetch(session.connection, "SELECT pg_sleep(5)", "sleep")
        assert caught.value.sqlstate == "57014"


async def test_every_major_is_probed(every_major):
    async with pg.session(every_major.dsn("postgres")) as session:
        server = session.server
        assert server.major == every_major.binaries.major
        assert server.kind == "primary"
        assert server.system_identifier
        assert server.timeline == 1
        assert server.has(Cap.GENERIC_PLAN) == (server.major >= 16)
        assert server.setting("shared_buffers").bytes() > 0
        assert server.setting("checkpoint_timeout").seconds() >= 30


class _OldServer:
    """Only what probe() asks before anything else: no PostgreSQL 13 can be had here."""

    def get_server_version(self) -> asyncpg.types.ServerVersion:
        return asyncpg.types.ServerVersion(13, 0, 22, "final", 0)


async def test_postgresql_13_is_refused_in_a_sentence():
    with pytest.raises(NotSupported) as caught:
        await pg.probe(_OldServer())
    assert "PostgreSQL 13" in caught.value.message
    assert "14 to 18" in caught.value.hint


async def test_through_pgbouncer_in_transaction_mode(db):
    """It refuses our startup parameters; each query then carries its limits in its transaction."""
    port = pg.parse(db.dsn).addresses[0].port
    async with (
        bouncer(port, "admin_users=postgres") as listen,
        pg.session(f"postgresql://postgres@127.0.0.1:{listen}/{db.name}") as session,
    ):
        assert session.server.pooled
        read = await fetch(session.connection, "SHOW search_path", "search_path")
        assert read[0][0] == "pg_catalog"
        with pytest.raises(StatementFailed) as caught:
            await fetch(session.connection, "CREATE TABLE t()", "a write")
        assert caught.value.sqlstate == "25006"
        assert await session.connection.fetchval("SHOW search_path") != "pg_catalog"
        with pytest.raises(NotSupported, match="PgBouncer's own console"):
            async with pg.session(f"postgresql://postgres@127.0.0.1:{listen}/pgbouncer"):
                pass
