"""A healthy database: on it no check of these rooms has anything to warn of."""

from __future__ import annotations

from planted import eventually, run, verdicts

from filban import health, persian, tune
from filban.finding import Severity

CHECKS = (*health.CHECKS, *tune.CHECKS, *persian.CHECKS)

# pgbench's four tables, with foreign keys and their indexes, some traffic, and text in Persian.
SCHEMA = """
CREATE TABLE branches (bid int PRIMARY KEY, balance bigint NOT NULL, name text NOT NULL);
CREATE TABLE tellers (tid int PRIMARY KEY, bid int NOT NULL REFERENCES branches, balance bigint);
CREATE INDEX ON tellers (bid);
CREATE TABLE accounts (aid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  bid int NOT NULL REFERENCES branches, balance bigint, filler char(84));
CREATE INDEX ON accounts (bid);
CREATE TABLE history (hid bigserial PRIMARY KEY, aid bigint NOT NULL REFERENCES accounts,
  delta int, at timestamptz DEFAULT now());
CREATE INDEX ON history (aid);
INSERT INTO branches SELECT g, 0, 'شعبهٔ ' || g FROM generate_series(1, 10) g;
INSERT INTO tellers SELECT g, g % 10 + 1, 0 FROM generate_series(1, 100) g;
INSERT INTO accounts (bid, balance, filler)
  SELECT g % 10 + 1, 0, '' FROM generate_series(1, 20000) g;
INSERT INTO history (aid, delta) SELECT g % 20000 + 1, g FROM generate_series(1, 5000) g;
"""


async def loaded(db) -> None:
    await db.execute(SCHEMA)
    await db.execute("VACUUM ANALYZE")

    async def counted():
        return await db.fetchval(
            "SELECT bool_and(n_mod_since_analyze = 0 AND analyze_count > 0)"
            " FROM pg_stat_user_tables"
        )

    await eventually(counted)


async def test_a_healthy_database_has_no_warning(control):
    await loaded(control)
    assert await verdicts(control.dsn, CHECKS) == set()


async def test_nor_for_a_role_without_rights(control):
    await loaded(control)
    findings, _ = await run(control.dsn_as("plain"), CHECKS)
    assert [f for f in findings if f.severity > Severity.info] == []


async def test_a_monitoring_role_sees_what_it_is_told_to_be_granted(control):
    """The remedies that Hidden names, followed: nothing is hidden any more."""
    await loaded(control)
    await control.execute("CREATE ROLE watcher LOGIN IN ROLE pg_monitor, pg_read_all_data")
    try:
        async with control.connection():
            _, hidden = await run(control.dsn_as("watcher"), CHECKS)
            assert hidden == []
            _, hidden = await run(control.dsn_as("plain"), CHECKS)
            assert {h.remedy for h in hidden} == {"grant pg_monitor", "grant pg_read_all_data"}
    finally:
        await control.execute("DROP ROLE watcher")
