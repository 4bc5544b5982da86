"""From texts to statements that can be planned: weights, tables, values for parameters."""

from __future__ import annotations

import asyncio

import pytest

from conftest import Database
from filban.errors import UsageError
from filban.index.advice import (
    Candidate,
    Found,
    Given,
    Refused,
    Workload,
    candidates,
    counted,
    why_not,
    workload_of,
)
from filban.pg import session

SHOP = """
CREATE SCHEMA shop;
CREATE TABLE shop.orders (
  id int PRIMARY KEY, who int NOT NULL, state text NOT NULL, at timestamptz NOT NULL, data jsonb,
  tags text[], note text);
INSERT INTO shop.orders SELECT g, g % 1000, CASE WHEN g % 50 = 0 THEN 'it''s new' ELSE 'done' END,
  '2024-01-01'::timestamptz + g * interval '1 minute', jsonb_build_object('k', 'v' || g % 300),
  ARRAY['t' || g % 30], repeat('x', 60) FROM generate_series(1, 6000) g;
CREATE VIEW shop.done AS SELECT id, who AS customer FROM shop.orders WHERE state = 'done';
ANALYZE shop.orders;
"""


async def look(db: Database, *statements: Given | str) -> tuple[Workload, Found]:
    async with session(db.dsn) as one:
        workload = await workload_of(one, statements)
        found = await candidates(one, workload)
        assert await one.connection.fetchval("SHOW search_path") == "pg_catalog"
        return workload, found


def definitions(found: Found) -> set[str]:
    return {c.spec.definition("i") for c in found.candidates}


async def test_parameters_get_values_that_are_there(every_db: Database):
    await every_db.execute(SHOP)
    workload, found = await look(
        every_db,
        "SELECT * FROM orders WHERE state = $1",
        "SELECT * FROM orders WHERE at >= $1 AND at < $2",
        "SELECT * FROM orders WHERE at BETWEEN $1 AND $2",
        "SELECT * FROM orders WHERE who IN ($1, $2)",
        "SELECT * FROM orders WHERE who = ANY($1)",
        "SELECT * FROM orders WHERE data @> $1",
        "SELECT * FROM orders WHERE data ->> 'k' = $1",
        "SELECT * FROM orders WHERE tags && $1",
        "SELECT * FROM orders o WHERE $1 = ANY(o.tags)",
        "SELECT * FROM orders WHERE note LIKE $1",
        "SELECT * FROM orders WHERE at > now() - interval $1",
        "SELECT * FROM orders WHERE date_trunc($1, at) = $2",
        "SELECT * FROM orders ORDER BY at LIMIT $1 OFFSET $2",
        "INSERT INTO orders VALUES ($1, $2, $3, $4, $5, $6, $7)",
        "UPDATE orders SET state = $1 WHERE id = $2",
    )
    assert workload.unread == ()
    assert found.unread == ()
    of = {s.sql: s for s in workload.statements}
    assert len(of) == 14  # IN (…) and = ANY (…) are one statement
    state = of["SELECT * FROM orders WHERE state = $1"]
    asked = {example.partition("WHERE ")[2] for example in state.examples}
    assert asked == {"state = 'done'", "state = 'it''s new'"}
    assert all(s.tables == ("shop.orders",) for s in workload.statements)
    assert "'v" in of["SELECT * FROM orders WHERE data ->> 'k' = $1"].examples[0]
    assert '{"k": "v' in of["SELECT * FROM orders WHERE data @> $1"].examples[0]
    between = of["SELECT * FROM orders WHERE at >= $1 AND at < $2"].examples
    assert len(between) > 1
    async with every_db.connection() as connection:
        await connection.execute("SET search_path = shop")
        for sql, some in (("data @> $1", True), ("tags && $1", True), ("who IN ($1, $2)", True)):
            for example in of[f"SELECT * FROM orders WHERE {sql}"].examples:
                assert bool(await connection.fetch(example)) is some
        for example in between:
            assert 0 < len(await connection.fetch(example)) < 3000


async def test_same_statement_with_several_constants(db: Database):
    await db.execute(SHOP)
    workload, _ = await look(
        db,
        *(Given(f"SELECT * FROM orders WHERE who = {n}", calls=n, total_ms=2.0) for n in (1, 2, 3)),
        "SELECT * FROM orders WHERE id = 5; SELECT * FROM orders WHERE id = 6",
    )
    first, second = workload.statements
    assert (first.calls, first.total_ms, len(first.examples)) == (6, 6.0, 3)
    assert (second.calls, len(second.examples)) == (2, 2)


async def test_numbered_tables_are_different_statements(db: Database):
    await db.execute("CREATE TABLE t1 (a int); CREATE TABLE t2 (a int)")
    workload, _ = await look(db, "SELECT * FROM t1 WHERE a = 1", "SELECT * FROM t2 WHERE a = 1")
    assert [s.tables for s in workload.statements] == [("public.t1",), ("public.t2",)]
    assert len({s.id for s in workload.statements}) == 2


HOPELESS = {
    "SELECT FROM WHERE": "cannot parse",
    "SELECT * FROM nowhere WHERE a = 1": "no table nowhere",
    "": "may not see",
    "SELECT * FROM orders WHERE nothing = 1": "does not exist",
    "SELECT * FROM orders WHERE at = 'many'": "invalid input",
    "SELECT * FROM twice": "is in 2 schemas",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000: "nested",
    "SELECT * FROM orders WHERE who = 1 AND (": "cannot parse",
    "SELECT 'a\0b' FROM orders": "zero byte",
    "SELECT \ud800 FROM orders": "Unicode",
}


async def test_what_cannot_be_read_is_counted_and_listed(db: Database):
    await db.execute(SHOP + "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.twice (i int);"
                     "CREATE TABLE b.twice (i int)")  # fmt: skip
    workload, found = await look(
        db, *(Given(sql, calls=7.0) for sql in HOPELESS), "SELECT * FROM orders WHERE who = 1"
    )
    unread = [*workload.unread, *found.unread]
    assert len(unread) == len(HOPELESS)
    assert {u.calls for u in unread} == {7.0}
    for sql, why in HOPELESS.items():
        assert any(u.sql == sql[:500] and why in u.why for u in unread), (sql[:80], unread)
    assert "CREATE INDEX i ON shop.orders USING btree (who)" in definitions(found)


async def test_commands_without_a_plan_are_left_out(db: Database):
    await db.execute(SHOP)
    workload, _ = await look(
        db, "BEGIN", "SET work_mem = '1GB'", "CREATE TABLE x (i int)", "SELECT 1",
        "SELECT * FROM pg_class WHERE oid = $1", "SELECT * INTO y FROM orders",
        "DEALLOCATE ALL", "VACUUM orders",
    )  # fmt: skip
    assert (workload.statements, workload.unread) == ((), ())


async def test_nothing_is_executed(db: Database):
    await db.execute(SHOP)
    workload, found = await look(
        db, "DELETE FROM orders WHERE who = 3", "UPDATE orders SET who = 1 WHERE note = 'x'",
        "INSERT INTO orders (id, who, state, at) VALUES (-1, 1, 'a', now())",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone WHERE who = 3",
    )  # fmt: skip
    assert [s.kind for s in workload.statements] == ["write"] * 4
    assert not found.unread
    assert await db.fetchval("SELECT count(*) FROM shop.orders WHERE who <> 1 OR id < 0") == 5994


async def test_behind_a_view(db: Database):
    await db.execute(SHOP + "CREATE VIEW shop.outer AS SELECT * FROM shop.done")
    workload, found = await look(db, 'SELECT * FROM "outer" WHERE customer = $1')
    assert workload.statements[0].tables == ('shop."outer"', "shop.done", "shop.orders")
    assert "CREATE INDEX i ON shop.orders USING btree (who)" in definitions(found)


async def test_search_path_of_the_database_decides(db: Database):
    await db.execute(SHOP + "CREATE SCHEMA old; CREATE TABLE old.orders (who int, x int)")
    _, found = await look(db, "SELECT * FROM orders WHERE who = 1")
    assert not found.candidates
    await db.execute(f'ALTER DATABASE "{db.name}" SET search_path = shop, public')
    workload, found = await look(db, "SELECT * FROM orders WHERE who = 1")
    assert [s.tables for s in workload.statements] == [("shop.orders",)]
    assert "CREATE INDEX i ON shop.orders USING btree (who)" in definitions(found)


async def test_what_pg_stat_statements_has(db: Database):
    await db.execute(SHOP + "CREATE EXTENSION pg_stat_statements")
    async with db.connection() as connection:
        await connection.execute("SET search_path = shop")
        for who in range(3):
            await connection.fetch(f"SELECT note FROM orders WHERE who = {who}")
    async with asyncio.timeout(30), session(db.dsn) as one:
        givens = await counted(one)
        workload = await workload_of(one, givens)
    [statement] = [s for s in workload.statements if s.sql.startswith("SELECT note")]
    assert (statement.calls, statement.rows, statement.source) == (3, 18, "pg_stat_statements")
    assert statement.query_id
    assert "$" not in statement.examples[0]


async def test_generic_plans_where_no_value_fits(every_db: Database):
    await every_db.execute(
        SHOP + "CREATE TYPE mood AS ENUM ('good'); CREATE FUNCTION one(mood) RETURNS int "
        "LANGUAGE sql AS 'SELECT 1';"
    )
    workload, found = await look(every_db, "SELECT * FROM orders WHERE who = $1 AND one($2) = 1")
    assert [(s.generic, s.texts) for s in workload.statements] == [
        (True, ("SELECT * FROM orders WHERE who = $1 AND one($2) = 1",))
    ]
    assert "CREATE INDEX i ON shop.orders USING btree (who)" in definitions(found)


async def test_ones_own_idea_is_judged_the_same_way(db: Database):
    await db.execute(SHOP)
    async with session(db.dsn) as one:
        workload = await workload_of(
            one, ["SELECT * FROM orders WHERE who = 5", "SELECT * FROM orders WHERE id = 5"]
        )
        good = await why_not(one, workload, "CREATE INDEX mine ON shop.orders (who, state)")
        assert isinstance(good, Candidate)
        assert good.numbers["gain"] > 0
        for idea, code in (
            ("CREATE INDEX ON shop.orders (id)", "exists"),
            ("CREATE INDEX ON shop.orders (note)", "unsupported"),
        ):
            bad = await why_not(one, workload, idea)
            assert isinstance(bad, Refused)
            assert bad.code == code
        with pytest.raises(UsageError):
            await why_not(one, workload, "DROP TABLE shop.orders")


async def test_a_role_without_rights_reads_what_it_may(db: Database):
    await db.execute(SHOP + "GRANT USAGE ON SCHEMA shop TO plain")
    async with session(db.dsn_as("plain")) as one:
        workload = await workload_of(one, ["SELECT * FROM orders WHERE who = 5"])
        found = await candidates(one, workload)
    assert "permission denied" in found.unread[0].why
