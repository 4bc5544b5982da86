"""A plan as a migration, run by the program that it is written for."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from django.db.migrations import Migration
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from filban.errors import UsageError
from filban.index.apply import Plan, Step, migration

PLAN = Plan(
    (
        Step("CREATE INDEX CONCURRENTLY t_a ON public.t USING btree (a)", 'for "a" \\ and """b"""'),
        Step(
            'CREATE INDEX CONCURRENTLY "t\'b" ON public.t USING btree (lower(b)) '
            "WHERE b <> 'x:y 100%'::text"
        ),
        Step("DROP INDEX CONCURRENTLY public.old", "not needed"),
    )
)


@pytest.fixture
async def table(db):
    await db.execute("CREATE TABLE t (a int, b text); CREATE INDEX old ON t (a)")
    return db


async def indexes(db) -> set[str]:
    rows = await db.fetch("SELECT indexname FROM pg_indexes WHERE tablename = 't'")
    return {row["indexname"] for row in rows}


def module(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "migration"}
    exec(compile(text, "migration.py", "exec"), names)
    return names


async def test_alembic_up_and_down(table):
    text = migration(PLAN, "alembic", after="3f1c")
    engine = create_async_engine(table.dsn.replace("postgresql://", "postgresql+asyncpg://"))

    def run(connection: Connection, direction: str) -> None:
        context = MigrationContext.configure(connection)
        with Operations.context(context), context.begin_transaction(_per_migration=True):
            module(text)[direction]()

    try:
        for direction, expected in (("upgrade", {"t_a", "t'b"}), ("downgrade", set())):
            async with engine.connect() as connection:
                await connection.run_sync(run, direction)
            assert await indexes(table) == expected
    finally:
        await engine.dispose()
    assert module(text)["down_revision"] == "3f1c"
    assert "x:y 100%" not in await indexes(table)


async def test_alembic_keeps_what_stands_in_a_literal(table):
    text = migration(PLAN, "alembic")
    engine = create_async_engine(table.dsn.replace("postgresql://", "postgresql+asyncpg://"))

    def run(connection: Connection) -> None:
        context = MigrationContext.configure(connection)
        with Operations.context(context), context.begin_transaction(_per_migration=True):
            module(text)["upgrade"]()

    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()
    definition = await table.fetchval("SELECT pg_get_indexdef('\"t''b\"'::regclass)")
    assert "'x:y 100%'" in definition


async def test_django_up_and_down(table):
    made = module(migration(PLAN, "django", after="0007_articles", app="news"))["Migration"]
    assert issubclass(made, Migration)
    assert made.atomic is False
    assert made.dependencies == [("news", "0007_articles")]
    for operation in made.operations:
        await table.execute(operation.sql)
    assert await indexes(table) == {"t_a", "t'b"}
    for operation in reversed(made.operations):
        if operation.reversible:
            await table.execute(operation.reverse_sql)
    assert await indexes(table) == set()
    assert not made.operations[-1].reversible  # what was dropped, the plan does not know


async def test_plain_sql(table):
    text = migration(PLAN, "sql")
    statements = [line for line in text.splitlines() if line and not line.startswith("--")]
    for statement in statements:
        await table.execute(statement)
    assert await indexes(table) == {"t_a", "t'b"}


def test_what_cannot_be_written():
    with pytest.raises(UsageError, match="flyway"):
        migration(PLAN, "flyway")
    with pytest.raises(UsageError, match="needs its app"):
        migration(PLAN, "django", after="0001")
