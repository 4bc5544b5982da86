"""Extensions behind their files, checksums: planted, found, fixed as printed, and gone."""

from __future__ import annotations

from planted import apply, find, verdicts

from filban.cluster import throwaway
from filban.finding import Severity
from filban.health.installation import CHECKS


async def updated(db, extension: str) -> None:
    [found] = await find(db.dsn, CHECKS, "extension.update")
    assert (found.subject, found.severity) == (extension, Severity.info)
    await apply(db.cluster, db.dsn, found.fix)
    assert not await find(db.dsn, CHECKS, "extension.update")


async def test_an_extension_behind_its_files(db):
    await db.execute("CREATE EXTENSION pg_trgm VERSION '1.3'")
    await updated(db, "pg_trgm")


async def test_an_extension_whose_name_needs_quotes(db):
    await db.execute('CREATE EXTENSION "uuid-ossp"')
    await db.execute("UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'uuid-ossp'")
    await updated(db, "uuid-ossp")


async def test_an_extension_newer_than_its_files_has_no_update(db):
    await db.execute("CREATE EXTENSION pg_trgm")
    await db.execute("UPDATE pg_extension SET extversion = '99.9' WHERE extname = 'pg_trgm'")
    assert not await find(db.dsn, CHECKS, "extension.update")


async def test_checksums_are_switched_on_with_the_server_stopped(majors):
    async with throwaway(binaries=majors[15], checksums=False) as cluster:
        [found] = await find(cluster.dsn(), CHECKS, "checksums.off")
        assert (found.subject, found.severity) == ("server", Severity.info)
        await cluster.stop()
        await apply(cluster, cluster.dsn(), found.fix)
        await cluster.start()
        assert not await find(cluster.dsn(), CHECKS, "checksums.off")


async def test_nothing_to_say_of_a_fresh_server_or_a_standby(every_db, primary_standby):
    assert await verdicts(every_db.dsn, CHECKS) == set()
    assert await verdicts(primary_standby.standby.dsn(), CHECKS) == set()
