"""pg_stat_statements as deltas: their sums stay exact, whatever becomes of the counters."""

from __future__ import annotations

import pytest

from filban.pg import session
from filban.profile.statements import delta, take


@pytest.fixture
async def counted(contrib_db):
    """A database on every major that has the extension, with it and a table `counted`."""
    await contrib_db.execute("CREATE EXTENSION pg_stat_statements")
    await contrib_db.execute("CREATE TABLE counted (n int)")
    return contrib_db


async def test_calls_between_two_snapshots(counted):
    async with counted.connection() as connection, session(counted.dsn) as opened:
        before = await take(opened)
        for n in range(25):
            await connection.execute("INSERT INTO counted SELECT generate_series(1, $1)", n)
        after = await take(opened)
        query_id = await connection.fetchval(
            "SELECT queryid FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid"
            " WHERE datname = current_database() AND query LIKE 'INSERT INTO counted%'"
        )
    between = delta(before, after)
    [counts] = [c for key, c in between.entries.items() if key.query_id == query_id]
    assert (counts.calls, counts.rows) == (25, sum(range(25)))
    assert not between.from_zero
