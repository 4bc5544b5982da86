"""Whatever comes to mind can be built: no candidate is an index that the server refuses."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from conftest import Database
from filban.index.advice import IndexSpec, candidates, workload_of
from filban.pg import session

DATA = Path(__file__).parent / "advice_odd"


def lines(name: str) -> list[str]:
    return (DATA / name).read_text(encoding="utf-8").splitlines()[1:]


async def refusals(db: Database, specs: list[IndexSpec]) -> list[str]:
    refused = []
    async with db.connection() as connection:
        for spec in specs:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute(spec.definition("trial"))
            except asyncpg.PostgresError as error:
                refused.append(f"{spec.definition()}: {error}")
            finally:
                await transaction.rollback()
    return refused


async def test_every_candidate_can_be_built(contrib_db: Database):
    for sql in "\n".join(lines("schema.sql")).split(";\n"):
        await contrib_db.execute(sql)
    statements = [f"SELECT id FROM t WHERE {c}" for c in lines("conditions.sql")]
    statements += lines("statements.sql")
    async with session(contrib_db.dsn) as one:
        workload = await workload_of(one, statements)
        found = await candidates(one, workload)
    unread = [u for u in (*workload.unread, *found.unread) if "jb['k']" not in u.sql]
    assert [(u.sql, u.why) for u in unread] == []
    assert len(workload.statements) > 100
    specs = [c.spec for c in found.candidates]
    assert len(specs) > 60
    assert await refusals(contrib_db, specs) == []
