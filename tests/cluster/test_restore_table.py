"""A dropped or emptied table is found in the WAL and brought back, alone or with its cluster."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from shelves import World, world

from conftest import elsewhere
from filban.backup.restore.targets import from_options
from filban.errors import NotGood, UsageError
from filban.flows.drill.rows import Options
from filban.flows.drill.run import drill
from filban.flows.restore import look
from filban.flows.restore.drop import find_drop
from filban.flows.restore.table import restore_table
from filban.pg import parse

ROWS = 1000


@pytest.fixture(scope="module")
def here(majors):
    """public.gone was rewritten, then dropped; public.emptied was truncated and filled again."""

    async def make(here: World) -> World:
        await here.execute(
            f"CREATE TABLE public.gone AS SELECT g AS n FROM generate_series(1, {ROWS}) g",
            f"CREATE TABLE public.emptied AS SELECT g AS n FROM generate_series(1, {ROWS}) g",
            "CREATE TABLE public.stays AS SELECT 1 AS n",
        )
        await here.backup("B1", "--compress=gzip:1")
        await here.execute(
            "INSERT INTO public.gone VALUES (-1)",
            "VACUUM FULL public.gone",
            "CREATE TABLE public.other (n int)",
            "DROP TABLE public.other",
            "DROP TABLE public.gone",
            "TRUNCATE public.emptied",
            "INSERT INTO public.emptied VALUES (0)",
        )
        await here.archived()
        return here

    with elsewhere() as run:
        manager = world(majors[15], hba=["host all quoted 127.0.0.1/32 scram-sha-256"])
        started = run(manager.__aenter__())
        try:
            yield run(make(started))
        finally:
            run(manager.__aexit__(None, None, None))


async def test_a_dropped_table_is_found_behind_its_rewrite_and_brought_back(here: World):
    lost = await find_drop(here.shelf, "public.gone", "postgres")
    assert lost.kind == "dropped"
    assert lost.bytes > 0
    found = await look(here.shelf, lost.target)
    assert found.commits_lost is not None
    assert found.commits_lost >= 3
    done = await restore_table(here.shelf, found, "public.gone", "postgres", parse(here.dsn))
    assert done.rows == ROWS + 1
    assert await here.fetchval("SELECT count(*) FROM public.gone WHERE n = -1") == 1


async def test_a_truncated_table(here: World):
    lost = await find_drop(here.shelf, "public.emptied", "postgres")
    assert lost.kind == "emptied"
    assert lost.time is not None


async def test_a_table_that_nobody_dropped(here: World):
    with pytest.raises(NotGood, match="nothing in the WAL drops"):
        await find_drop(here.shelf, "public.stays", "postgres")


async def test_a_table_that_only_an_older_backup_has(here: World):
    """The newest backup was taken behind the drop."""
    await here.execute("CREATE TABLE public.older AS SELECT 1 AS n")
    await here.backup("B2")
    await here.execute("DROP TABLE public.older")
    await here.backup("B3")
    lost = await find_drop(here.shelf, "public.older", "postgres")
    assert lost.kind == "dropped"
    assert (await look(here.shelf, lost.target)).plan.backup.label == "B2"


async def test_a_table_that_never_was(here: World):
    with pytest.raises(NotGood, match="in no backup"):
        await find_drop(here.shelf, "public.never", "postgres")


async def test_a_table_that_is_there_is_not_overwritten(here: World):
    found = await look(here.shelf, from_options(latest=True))
    with pytest.raises(UsageError, match="already"):
        await restore_table(here.shelf, found, "public.stays", "postgres", parse(here.dsn))


PASSWORD = 'it\'s "a b" %41 \\ گذر'


async def test_a_password_with_quotes_and_spaces(here: World):
    """In a drill, and in a restore of one table."""
    quoted = PASSWORD.replace("'", "''")
    await here.execute(
        f"CREATE ROLE quoted SUPERUSER LOGIN PASSWORD E'{quoted.replace(chr(92), chr(92) * 2)}'"
    )
    dsn = f"postgresql://quoted:{quote(PASSWORD, safe='')}@127.0.0.1:{here.primary.port}/postgres"
    assert (await drill(here.shelf, parse(dsn), Options(dump=False, amcheck=False))).passed
    lost = await find_drop(here.shelf, "public.emptied", "postgres")
    await here.execute("DROP TABLE public.emptied")
    found = await look(here.shelf, lost.target)
    done = await restore_table(here.shelf, found, "public.emptied", "postgres", parse(dsn))
    assert done.rows == ROWS
