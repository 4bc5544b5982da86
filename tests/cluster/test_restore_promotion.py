"""A promotion without a split brain: the newest timeline is taken, and nothing is asked."""

from __future__ import annotations

import asyncio

from shelves import world

from filban.backup.restore.targets import from_options
from filban.backup.verify.check import verify
from filban.cluster import Cluster, free_port
from filban.flows.drill.run import drill
from filban.flows.restore import look, restore
from filban.pg import Limits, connection, parse


async def test_a_backup_of_the_old_primary_goes_on_to_the_new_timeline(majors):
    async with world(majors[15]) as here:
        await here.execute("CREATE TABLE public.t (n int)", "INSERT INTO public.t VALUES (1)")
        await here.backup("B1", "--compress=gzip:1")
        standby = await here.primary.standby(settings={"archive_mode": "on"})
        await here.execute("INSERT INTO public.t VALUES (2)")
        await here.archived()
        await here.primary.stop()
        async with connection(parse(standby.dsn()), Limits(read_only=False)) as session:
            await session.fetchval("SELECT pg_promote()")
            await session.execute("INSERT INTO public.t VALUES (3)")
            segment = await session.fetchval("SELECT pg_walfile_name(pg_switch_wal() - 1)")
        while not (here.shelf.wal_dir / segment).exists():
            await asyncio.sleep(0.05)

        assert (await verify(here.shelf)).faults == ()
        found = await look(here.shelf, from_options())
        assert found.plan.timeline == 2
        into = here.shelf.root.parent / "r"
        await restore(here.shelf, found, into)
        copy = Cluster.open(into)
        copy.configure({"listen_addresses": "", "port": free_port()})
        await copy.start()
        async with connection(parse(copy.dsn_socket())) as session:
            assert await session.fetchval("SELECT array_agg(n ORDER BY n) FROM public.t") == [
                1,
                2,
                3,
            ]
        await copy.stop()
        assert (await drill(here.shelf, parse(standby.dsn()))).passed
