"""A proof on a real clone: what pays stays, what does not goes, and the source is only read."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from filban.flows.advise import planning
from filban.flows.progress import Silent
from filban.flows.prove import Clone, Limits, Proof, clone, prove
from filban.index.advice import Given, IndexSpec, Key, Workload, workload_of
from filban.pg import parse, session

QUICK = Limits(least_pairs=2, most_pairs=4, cold_statements=1)


def index(*columns: str, table: str = "orders", **more: Any) -> IndexSpec:
    return IndexSpec("public", table, tuple(Key(c) for c in columns), **more)


BY_CUSTOMER = "SELECT * FROM orders WHERE customer = 17"
NEWEST = "SELECT * FROM orders ORDER BY id DESC LIMIT 5"


@pytest.fixture
async def shop(db):
    await db.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, customer int, state text, note text)"
        " WITH (fillfactor = 50);"
        "INSERT INTO orders SELECT i, i % 2000, CASE WHEN i % 100 = 0 THEN 'open' ELSE 'done' END,"
        " repeat('x', 100) FROM generate_series(1, 40000) i;"
        "CREATE INDEX orders_note ON orders (note)"
    )
    await db.execute("VACUUM ANALYZE orders")
    return db


@pytest.fixture
async def copy(shop) -> AsyncIterator[Clone]:
    async with clone(parse(shop.dsn), Silent()) as made:
        yield made


async def workload(db, *givens: Given | str) -> Workload:
    async with session(db.dsn) as opened:
        return await workload_of(opened, givens)


async def proof(
    db, copy: Clone, specs: list[IndexSpec], *givens: Given | str, drops: tuple[str, ...] = ()
) -> Proof:
    return await prove(copy, await workload(db, *givens), specs, Silent(), QUICK, drops)


def why(found: Proof) -> dict[tuple[str, ...], str]:
    return {tuple(k.sql for k in d.spec.keys): d.why for d in found.dropped}


async def test_what_pays_stays_and_the_rest_goes(shop, copy):
    found = await proof(
        shop, copy,
        [index("customer"), index("state"), index("nowhere")],
        Given(BY_CUSTOMER, calls=100), Given(NEWEST, calls=100),
        Given("UPDATE orders SET customer = customer + 1 WHERE id = 5", calls=10),
    )  # fmt: skip
    assert [b.name for b in found.kept] == ["orders_customer_idx"]
    assert why(found) == {
        ("state",): "not_used",
        ("nowhere",): "not_built",
    }
    [compared] = found.compared
    assert compared.statement.sql == BY_CUSTOMER
    assert compared.indexes == ("orders_customer_idx",)
    assert compared.after.blocks < compared.before.blocks / 5
    assert compared.ratio.low <= compared.ratio.value <= compared.ratio.high
    assert compared.cold_before_ms is not None
    assert found.kept[0].size_bytes > 8192
    assert len(found.unchanged) == 1
    [write] = found.writes
    assert (write.hot_before, write.hot_after) == (1.0, 0.0)
    assert write.after.wal_bytes > write.before.wal_bytes
    assert found.complete
    # the source was only read
    assert await shop.fetchval("SELECT count(*) FROM pg_class WHERE relname LIKE 'orders%idx'") == 0
    assert await shop.fetchval("SELECT customer FROM orders WHERE id = 5") == 5


async def test_one_of_two_that_do_the_same_is_enough(shop, copy):
    down = IndexSpec("public", "orders", (Key("customer", descending=True),))
    found = await proof(shop, copy, [index("customer"), down], Given(BY_CUSTOMER, calls=5))
    assert len(found.kept) == 1
    assert found.compared[0].indexes == (found.kept[0].name,)


async def test_a_budget_of_real_bytes(shop, copy):
    """Both pay; only one has room."""
    specs = [index("customer"), index("state", include=("note",))]
    by_state = "SELECT count(note) FROM orders WHERE state = 'open'"
    tight = dataclasses.replace(QUICK, budget_bytes=1_000_000)
    statements = await workload(shop, Given(BY_CUSTOMER, calls=9), Given(by_state, calls=1))
    found = await prove(copy, statements, specs, Silent(), tight)
    assert why(found) == {("state",): "budget"}
    assert [b.name for b in found.kept] == ["orders_customer_idx"]


async def test_an_index_that_a_statement_needs_is_not_taken_away(shop, copy):
    """The plan says to drop it; the statement that it serves says no."""
    by_note = "SELECT * FROM orders WHERE note = 'y'"
    found = await proof(shop, copy, [], Given(by_note, calls=5), drops=("public.orders_note",))
    assert not found.dropped
    assert len(found.unchanged) == 1


async def test_a_partitioned_table_and_an_expression(db):
    await db.execute(
        "CREATE TABLE events (id int, kind text) PARTITION BY RANGE (id);"
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (20000);"
        "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (20000) TO (40000);"
        "INSERT INTO events SELECT i, 'Kind ' || i % 1000 FROM generate_series(0, 39999) i;"
    )
    await db.execute("VACUUM ANALYZE")
    spec = index("(lower(kind))", table="events")
    async with clone(parse(db.dsn), Silent()) as made:
        found = await proof(
            db, made, [spec], Given("SELECT * FROM events WHERE lower(kind) = 'kind 7'", calls=9)
        )
    [built] = found.kept
    assert len(built.names) == 3
    assert found.compared[0].indexes == (built.name,)
    plan = planning.from_proof(found, [], (await server_of(db)))
    assert "lower(kind)" in plan.steps[0].sql
    assert plan.steps[0].has_expression


async def server_of(db) -> Any:
    async with session(db.dsn) as opened:
        return opened.server


@pytest.mark.parametrize(
    ("ddl", "sql", "reason"),
    [
        ("", "SELECT pg_terminate_backend(1) FROM orders", "pg_terminate_backend"),
        ("", "SELECT pg_read_file('x') FROM orders", "pg_read_file"),
        ("", "SELECT pg_sleep(1) FROM orders", "pg_sleep"),
        (
            "CREATE FUNCTION act() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT 1'",
            "SELECT act() FROM orders",
            "public.act is volatile",
        ),
        (
            "CREATE EXTENSION dblink",
            "SELECT * FROM orders, dblink('', 'SELECT 1') AS t (x int)",
            "dblink",
        ),
        (
            "CREATE FUNCTION act() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT 1';"
            "CREATE VIEW seen AS SELECT *, act() FROM orders",
            "SELECT * FROM seen, orders",
            "public.act, which public.seen calls,",
        ),
        (
            "CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION act()",
            "UPDATE orders SET state = 'open' WHERE id = 1",
            "public.act, which public.orders calls,",
        ),
        (
            "CREATE EXTENSION postgres_fdw;"
            "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw;"
            "CREATE FOREIGN TABLE far (id int) SERVER s",
            "SELECT * FROM orders JOIN far USING (id)",
            "far lies on another server",
        ),
    ],
)
async def test_refused_by_name(shop, ddl: str, sql: str, reason: str):
    from filban.flows.prove.refuse import refusal

    if ddl:
        await shop.execute(ddl)
    found = await workload(shop, sql)
    [statement] = found.statements
    async with session(shop.dsn) as opened:
        said = await refusal(opened, statement, sql)
    assert said is not None
    assert reason in said


async def test_commands_and_statements_without_values_are_refused(shop):
    from filban.flows.prove.refuse import refusal

    [statement] = (await workload(shop, BY_CUSTOMER)).statements
    bare = dataclasses.replace(statement, examples=())
    async with session(shop.dsn) as opened:
        assert "SELECT INTO" in (await refusal(opened, statement, "SELECT 1 INTO x") or "")
        assert "CREATE" in (await refusal(opened, statement, "CREATE TABLE x ()") or "").upper()
        assert "no values" in (await refusal(opened, bare, BY_CUSTOMER) or "")


async def test_what_may_be_executed(shop):
    from filban.flows.prove.refuse import refusal

    for sql in (
        BY_CUSTOMER,
        "INSERT INTO orders (id, note) VALUES (-1, gen_random_uuid()::text)",
        "SELECT o.id, lower(o.note), now(), random() FROM orders o WHERE o.state = 'open'",
        "DELETE FROM orders WHERE id = 7",
    ):
        [statement] = (await workload(shop, sql)).statements
        async with session(shop.dsn) as opened:
            assert await refusal(opened, statement, sql) is None, sql


async def test_a_clone_is_gone_and_harmless(shop):
    async with clone(parse(shop.dsn), Silent()) as made:
        data = made.cluster.data_dir
        async with session(made.target) as opened:
            fetch: Callable[..., Any] = opened.connection.fetchval
            assert await fetch("SELECT count(*) FROM public.orders") == 40000
            assert await fetch("SHOW archive_mode") == "off"
            assert await fetch("SHOW shared_preload_libraries") == ""
            assert not await fetch("SELECT pg_is_in_recovery()")
    assert not data.exists()
