"""The fixtures that every other test stands on."""

from __future__ import annotations

import asyncpg
import pytest


async def test_a_fresh_database_with_a_superuser(db, conn):
    assert await conn.fetchval("SELECT current_database()") == db.name
    assert await conn.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")


async def test_a_role_without_rights(plain_dsn):
    connection = await asyncpg.connect(plain_dsn)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT pg_read_file('postgresql.conf')")
    finally:
        await connection.close()


async def test_an_odd_name_survives_the_dsn(odd_db):
    assert await odd_db.fetchval("SELECT current_database()") == odd_db.name


async def test_every_major_is_its_own_version(every_db):
    version = await every_db.fetchval("SELECT current_setting('server_version_num')::int / 10000")
    assert version == every_db.cluster.binaries.major


async def test_statements_are_counted(conn):
    await conn.execute("CREATE EXTENSION pg_stat_statements")
    assert await conn.fetchval("SELECT count(*) FROM pg_stat_statements") > 0


async def test_a_standby_streams(primary_standby):
    primary = await asyncpg.connect(primary_standby.primary.dsn())
    standby = await asyncpg.connect(primary_standby.standby.dsn())
    try:
        assert await standby.fetchval("SELECT pg_is_in_recovery()")
        assert await primary.fetchval("SELECT state FROM pg_stat_replication") == "streaming"
    finally:
        await primary.close()
        await standby.close()
