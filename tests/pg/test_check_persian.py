"""Locale traps: planted, found, fixed as printed, and gone."""

from __future__ import annotations

import pytest
from planted import apply, find, verdicts

from conftest import fresh_database
from filban.finding import Severity
from filban.persian import CHECKS

PERSIAN = "«سلام»، دنیا"


async def recreated(db, found) -> None:
    """Paste the command, then swap the names as the caution says; the text is still there."""
    await apply(db.cluster, db.dsn, found.fix)
    new = f"{db.name}_new"
    admin = type(db)(db.cluster, "postgres")
    quoted = '"' + db.name.replace('"', '""') + '"'
    quoted_new = '"' + new.replace('"', '""') + '"'
    await admin.execute(f"DROP DATABASE {quoted}")
    await admin.execute(f"ALTER DATABASE {quoted_new} RENAME TO {quoted}")
    assert await db.fetchval("SELECT body FROM t") == PERSIAN
    assert await verdicts(db.dsn, CHECKS) == set()


async def remade(db, options: str) -> None:
    """The test's database again, with other properties."""
    admin = type(db)(db.cluster, "postgres")
    quoted = '"' + db.name.replace('"', '""') + '"'
    await admin.execute(f"DROP DATABASE {quoted}")
    await admin.execute(f"CREATE DATABASE {quoted} TEMPLATE template0 {options}")
    await db.execute("CREATE TABLE t (body text)")
    await db.execute("INSERT INTO t VALUES ($1)", PERSIAN)


@pytest.mark.parametrize("ctype", ["C", "POSIX"])
async def test_a_ctype_without_letters(every_db, ctype):
    await remade(every_db, f"ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE '{ctype}'")
    [found] = await find(every_db.dsn, CHECKS, "locale.ctype_c")
    assert (found.subject, found.severity) == (every_db.name, Severity.warning)
    assert await verdicts(every_db.dsn, CHECKS) == {("locale.ctype_c", every_db.name)}
    if every_db.cluster.binaries.has("pg_dump"):
        await recreated(every_db, found)


async def test_a_ctype_without_letters_under_an_odd_name(odd_db):
    await remade(odd_db, "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    [found] = await find(odd_db.dsn, CHECKS, "locale.ctype_c")
    await recreated(odd_db, found)


@pytest.mark.parametrize(
    ("major", "provider", "lacks"),
    [
        (15, "LOCALE_PROVIDER icu ICU_LOCALE 'fa-IR' LC_CTYPE 'C'", "pg_trgm"),
        (18, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_CTYPE 'C'", "pg_trgm"),
        (18, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C' LC_CTYPE 'C.UTF-8'", "lower()"),
    ],
)
async def test_who_sorted_before_sorts_after(cluster_of, major, provider, lacks):
    """The provider stays; the builtin C, which knows no letters, becomes C.UTF-8."""
    sorts = "SELECT to_jsonb(d) ->> 'datlocprovider' FROM pg_database d WHERE datname = $1"
    async with fresh_database(cluster_of(major)) as db:
        await remade(db, f"ENCODING 'UTF8' LC_COLLATE 'C' {provider}")
        [found] = await find(db.dsn, CHECKS, "locale.ctype_c")
        assert lacks in found.why
        assert ("pg_trgm" in found.why) != ("lower()" in found.why)
        before = await db.fetchval(sorts, db.name)
        if db.cluster.binaries.has("pg_dump"):
            await recreated(db, found)
            assert await db.fetchval(sorts, db.name) == before


async def test_an_unknown_encoding(db):
    await remade(db, "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    [found] = await find(db.dsn, CHECKS, "locale.encoding_sql_ascii")
    assert found.severity == Severity.warning
    await recreated(db, found)


async def test_what_pg_trgm_sees_agrees_with_the_verdict(db):
    """The reason for locale.ctype_c, by the extension itself."""
    letters = "SELECT array_length(public.show_trgm('سلام'), 1)"
    await db.execute("CREATE EXTENSION pg_trgm")
    assert await db.fetchval(letters) > 1
    assert not await find(db.dsn, CHECKS, "locale.ctype_c")
    await remade(db, "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    await db.execute("CREATE EXTENSION pg_trgm")
    assert not await db.fetchval(letters)
    assert await find(db.dsn, CHECKS, "locale.ctype_c")


async def test_a_named_collation_of_another_version(db):
    await db.execute(
        "CREATE COLLATION \"Fa ir\" (provider = icu, locale = 'fa-IR');"
        'CREATE TABLE t (a text COLLATE "Fa ir" PRIMARY KEY, b text COLLATE "Fa ir",'
        ' EXCLUDE (b WITH =)); CREATE INDEX "By a" ON t (lower(a))'
    )
    await db.execute("UPDATE pg_collation SET collversion = '1' WHERE collname = 'Fa ir'")
    [found] = await find(db.dsn, CHECKS, "locale.collation_version")
    assert found.subject == 'collation public."Fa ir"'
    assert found.severity == Severity.critical
    assert found.evidence["indexes"].value == 3
    assert found.fix.lock == "ACCESS EXCLUSIVE"  # because of the exclusion constraint
    await apply(db.cluster, db.dsn, found.fix)
    assert await verdicts(db.dsn, CHECKS) == set()


async def test_the_databases_collation_of_another_version(db):
    await remade(db, "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'fa-IR'")
    await db.execute('CREATE INDEX "By body" ON t (body)')
    await db.execute(
        "UPDATE pg_database SET datcollversion = '1' WHERE datname = current_database()"
    )
    [found] = await find(db.dsn, CHECKS, "locale.collation_version")
    assert (found.subject, found.severity) == (f"database {db.name}", Severity.critical)
    assert 'REINDEX INDEX CONCURRENTLY public."By body";' in found.fix.sql
    assert found.fix.lock == "SHARE UPDATE EXCLUSIVE"
    await apply(db.cluster, db.dsn, found.fix)
    assert await verdicts(db.dsn, CHECKS) == set()


async def test_nothing_to_say_of_utf8_and_of_a_standby(every_db, primary_standby):
    assert await verdicts(every_db.dsn, CHECKS) == set()
    assert await verdicts(primary_standby.standby.dsn(), CHECKS) == set()
