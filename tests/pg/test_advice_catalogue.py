"""The catalogue: schemas, data, queries, and what an expert answers; the cases are data.

Each table of `advice_cases/*.toml` is one case:

    schema      SQL: tables and rows; ANALYZE and VACUUM run after it
    needs       extensions that have to be installable; collation: one that has to be there
    statements  [{sql, calls, rows, examples}]
    answer      indexes: a list of groups, of each of which one index has to be chosen;
                none = true: no index at all; refused: reasons that have to be among those given;
                remedies: kinds that have to be given; replaces: indexes that it makes superfluous

The indexes are chosen out of the candidates by building them: what the server's planner makes of
real indexes on the case's own data decides, not an estimate of ours.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from conftest import Database, lacking
from filban.index.advice import (
    Candidate,
    Found,
    Given,
    IndexSpec,
    Workload,
    candidates,
    workload_of,
)
from filban.index.advice.specs import parse_index
from filban.pg import session

CASES = {
    f"{file.stem}.{name}": case
    for file in sorted((Path(__file__).parent / "advice_cases").glob("*.toml"))
    for name, case in tomllib.loads(file.read_text(encoding="utf-8")).items()
}
# An index is chosen when it saves a twentieth of the workload's cost, and the smallest of those
# that save nearly as much as the best.
LEAST_GAIN = 0.05
NEARLY = 0.8
# What else an expert would not accept: a statement that becomes dearer.
MOST_DEARER = 1.01


@dataclass
class Chooser:
    """Chooses by building. weights: calls by statement."""

    connection: asyncpg.Connection
    workload: Workload

    async def costs(self) -> dict[str, float]:
        found = {}
        for statement in self.workload.statements:
            plans = [await self.plan(text) for text in statement.texts]
            found[statement.id] = sum(p["Total Cost"] for p in plans) / len(plans)
        return found

    async def plan(self, sql: str) -> dict[str, Any]:
        return json.loads(await self.connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}"))[0]["Plan"]

    def total(self, costs: dict[str, float]) -> float:
        return sum(s.calls * costs[s.id] for s in self.workload.statements)

    async def choose(self, found: Found) -> list[Candidate]:
        chosen: list[Candidate] = []
        left = list(found.candidates)
        first = self.total(await self.costs())
        while left:
            before = self.total(await self.costs())
            tried = []
            for one in left:
                gain, size = await self.trial(one.spec, before)
                if gain > LEAST_GAIN * first:
                    tried.append((gain, size, one))
            if not tried:
                break
            best = max(gain for gain, _, _ in tried)
            enough = [t for t in tried if t[0] >= NEARLY * best]
            _, _, one = min(enough, key=lambda t: (t[1], len(t[2].spec.keys)))
            await self.connection.execute(one.spec.definition())
            chosen.append(one)
            left = [c for c in left if c.spec != one.spec]
        return await self.pruned(chosen, first)

    async def pruned(self, chosen: list[Candidate], first: float) -> list[Candidate]:
        """Without those that others have made superfluous."""
        staying = list(chosen)
        for one in chosen:
            before = self.total(await self.costs())
            transaction = self.connection.transaction()
            await transaction.start()
            await self.connection.execute(f"DROP INDEX {one.spec.schema}.{one.spec.name}")
            if self.total(await self.costs()) - before > LEAST_GAIN * first:
                await transaction.rollback()
            else:
                await transaction.commit()
                staying.remove(one)
        return staying

    async def trial(self, spec: IndexSpec, before: float) -> tuple[float, int]:
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            await self.connection.execute(spec.definition("trial"))
            size = await self.connection.fetchval(
                "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname = 'trial' OR oid IN"
                " (SELECT relid FROM pg_partition_tree((SELECT oid FROM pg_class WHERE relname ="
                " 'trial')))"
            )
            return before - self.total(await self.costs()), size
        finally:
            await transaction.rollback()


async def as_built(connection: asyncpg.Connection, sql: str) -> IndexSpec:
    """The index as the server writes it back, so that two spellings of one are equal."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        spec = parse_index(sql)
        await connection.execute(spec.definition("as_built"))
        return parse_index(
            await connection.fetchval(
                "SELECT pg_get_indexdef(oid) FROM pg_class WHERE relname = 'as_built'"
            )
        )
    finally:
        await transaction.rollback()


async def prepared(db: Database, case: dict[str, Any]) -> None:
    async with db.connection() as connection:
        for extension in case.get("needs", ()):
            if not await connection.fetchval(
                "SELECT count(*) FROM pg_available_extensions WHERE name = $1", extension
            ):
                lacking(f"extension {extension}")
            await connection.execute(f"CREATE EXTENSION {extension}")
        wanted = case.get("collation", "C")
        if not await connection.fetchval(
            "SELECT count(*) FROM pg_collation WHERE collname = $1", wanted
        ):
            lacking(f"collation {wanted}")
        await connection.execute("SELECT setseed(0.5)")
        await connection.execute(case["schema"])
        await connection.execute("VACUUM ANALYZE" if case.get("vacuum", True) else "ANALYZE")


def givens(case: dict[str, Any]) -> list[Given]:
    return [
        Given(
            s["sql"], s.get("calls", 1000), s.get("total_ms", 0.0), s.get("rows"),
            examples=tuple(s.get("examples", ())), source=s.get("source", "file"),
        )
        for s in case["statements"]
    ]  # fmt: skip


def told(found: Found, chosen: list[Candidate]) -> str:
    lines = [f"chosen {c.spec.definition()}" for c in chosen]
    lines += [f"candidate {c.spec.definition()} {dict(c.numbers)}" for c in found.candidates]
    lines += [f"refused {r.code} {r.spec.definition() if r.spec else ''}: {r.reason}"
              for r in found.refused]  # fmt: skip
    lines += [f"remedy {r.kind}: {r.sql}" for r in found.remedies]
    return "\n".join([*lines, *(f"unread {u.sql}: {u.why}" for u in found.unread)])


@pytest.mark.parametrize("name", CASES)
async def test_what_an_expert_answers(db: Database, name: str):
    case = CASES[name]
    answer = case["answer"]
    await prepared(db, case)
    async with session(db.dsn) as one:
        workload = await workload_of(one, givens(case))
        found = await candidates(one, workload)
    async with db.connection() as connection:
        chooser = Chooser(connection, workload)
        before = await chooser.costs()
        chosen = await chooser.choose(found)
        after = await chooser.costs()
        built = {await as_built(connection, c.spec.definition()) for c in chosen}
        wanted = [
            {await as_built(connection, sql) for sql in group}
            for group in answer.get("indexes", ())
        ]
    explained = told(found, chosen)
    assert not found.unread, explained
    assert not workload.unread, explained
    for group in wanted:
        assert built & group, explained
    assert len(built) == len(wanted), explained
    assert bool(wanted) != bool(answer.get("none")), "a case has indexes or none"
    assert {r.code for r in found.refused} >= set(answer.get("refused", ())), explained
    assert {r.kind for r in found.remedies} >= set(answer.get("remedies", ())), explained
    assert {r for c in chosen for r in c.replaces} == set(answer.get("replaces", ())), explained
    assert all(after[s] <= before[s] * MOST_DEARER for s in after), explained
