"""Chains of incremental backups (17 on): put together, verified, and named when a link is gone."""

from __future__ import annotations

import shutil
from pathlib import Path

from shelves import world

from filban.backup.plain import PlainShelf
from filban.backup.restore.targets import from_options
from filban.backup.verify.check import verify
from filban.cluster import Cluster, free_port, run_program
from filban.flows.restore import look, restore
from filban.pg import connection, parse


async def rows(data_dir: Path) -> list[tuple[int, int]]:
    cluster = Cluster.open(data_dir)
    cluster.configure({"listen_addresses": "", "port": free_port()})
    await cluster.start()
    try:
        async with connection(parse(cluster.dsn_socket())) as session:
            return [tuple(r) for r in await session.fetch("SELECT count(*), max(n) FROM public.t")]
    finally:
        await cluster.stop()


async def test_a_chain_of_three_with_a_tablespace(majors):
    async with world(majors[18], summarize_wal=True) as here:
        base = here.shelf.root.parent
        await run_program("mkdir", base / "space", as_owner_of=base)
        await here.execute(
            f"CREATE TABLESPACE s LOCATION '{base / 'space'}'",
            "CREATE TABLE public.t (n int)",
            "CREATE TABLE public.u (n int) TABLESPACE s",
            "INSERT INTO public.t SELECT g FROM generate_series(1, 10000) g",
        )
        await here.backup("FULL", "--compress=gzip:1")
        for number, label in enumerate(("INCR1", "INCR2"), start=1):
            before = here.shelf.taken[-1].label
            await here.execute(f"INSERT INTO public.t VALUES (10000 + {number})")
            await here.execute("INSERT INTO public.u VALUES (1)")
            manifest = here.shelf.file(before, "backup_manifest")
            await here.backup(label, "--compress=gzip:1", f"--incremental={manifest}")
        await here.execute("INSERT INTO public.t VALUES (99999)")
        await here.archived()

        shelf = PlainShelf(here.shelf.root)
        assert [b.chain for b in await shelf.backups()] == [
            ("FULL",),
            ("FULL", "INCR1"),
            ("FULL", "INCR1", "INCR2"),
        ]
        assert (await verify(shelf)).faults == ()
        oid = str(await here.fetchval("SELECT oid FROM pg_tablespace WHERE spcname = 's'"))
        found = await look(shelf, from_options())
        assert found.plan.backup.label == "INCR2"
        await restore(shelf, found, base / "r", tablespaces={oid: base / "s2"})
        assert await rows(base / "r") == [(10003, 99999)]
        assert not (base / "r.chain").exists()

        shutil.rmtree(here.shelf.root / "base" / "INCR1")
        faults = (await verify(PlainShelf(here.shelf.root))).faults
        assert ("backup.chain", "INCR2") in [(f.code, f.subject) for f in faults]
