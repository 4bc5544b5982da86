"""A drill of a good backup passes, under writes, and says what it has measured."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import pytest
from shelves import world

from filban.config import Assertion
from filban.flows.drill.rows import Options
from filban.flows.drill.run import drill
from filban.pg import parse

TABLES = (
    "CREATE TABLE public.account (id int PRIMARY KEY, balance numeric, note text)",
    'CREATE SCHEMA "odd ""name"',
    'CREATE TABLE "odd ""name"."t.x" (t int, filban text)',
    "INSERT INTO public.account SELECT g, g, repeat('x', g % 50) FROM generate_series(1, 5000) g",
    'INSERT INTO "odd ""name"."t.x" SELECT g, \'é\' FROM generate_series(1, 100) g',
    "CREATE UNLOGGED TABLE public.scratch AS SELECT 1 AS one",
)


@contextlib.asynccontextmanager
async def writers(dsn: str, count: int = 3):
    """Transfers that never stop while the block runs."""
    stop = asyncio.Event()

    async def work(number: int) -> int:
        connection = await asyncpg.connect(dsn)
        done = 0
        try:
            while not stop.is_set():
                await connection.execute(
                    "UPDATE public.account SET balance = balance + 1 WHERE id = $1",
                    1 + (done * 7 + number) % 5000,
                )
                done += 1
        finally:
            await connection.close()
        return done

    tasks = [asyncio.ensure_future(work(n)) for n in range(count)]
    try:
        yield
    finally:
        stop.set()
        assert all(n > 0 for n in await asyncio.gather(*tasks))


@pytest.mark.parametrize("major", [15, 18])
async def test_a_good_backup_is_equal_to_the_primary_under_writes(majors, major):
    async with world(majors[major]) as here:
        await here.execute(*TABLES)
        await here.backup("B1", "--compress=gzip:1")
        async with writers(here.dsn):
            result = await drill(
                here.shelf,
                parse(here.dsn),
                Options(
                    equality="full",
                    deep=True,
                    assertions=(
                        Assertion("all there", "SELECT count(*) = 5000 FROM public.account"),
                    ),
                ),
            )
    assert result.passed, result.facts()
    assert result.backup == "B1"
    assert result.tables_compared == 2
    assert result.rows_compared == 5100
    assert result.archive_seconds is not None
    assert {s.name for s in result.steps} >= {"archive", "files", "replay", "equality", "dump"}
    made = {s.name for s in result.steps if s.ok}
    assert {"equality", "dump", "checksums", "manifest", "assertion all there"} <= made
