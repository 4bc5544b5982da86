"""Choosing among candidates with HypoPG, and with real indexes on a clone."""

from __future__ import annotations

import pytest

from conftest import lacking
from filban.errors import NotSupported
from filban.index.advice import Given, IndexSpec, Key, candidates, workload_of
from filban.index.advice.planning import planner
from filban.index.choice import Built, Limits, choose, hypothetical, market
from filban.pg import Limits as SessionLimits
from filban.pg import session

SHOP = """
CREATE TABLE "Customer's" (id int PRIMARY KEY, city text NOT NULL, name text NOT NULL);
INSERT INTO "Customer's" SELECT i, 'city ' || i % 500, md5(i::text)
  FROM generate_series(1, 50000) i;
CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, placed date NOT NULL, total int);
INSERT INTO orders SELECT i, i % 50000, DATE '2024-01-01' + i % 700, i % 1000
  FROM generate_series(1, 200000) i;
"""
STATEMENTS = (
    Given("SELECT * FROM \"Customer's\" WHERE city = 'city 7'", calls=100),
    Given("SELECT * FROM orders WHERE customer = 77", calls=1000),
    Given("SELECT * FROM orders WHERE customer = 77 AND placed > '2025-11-01'", calls=10),
    Given("SELECT count(*) FROM orders WHERE placed = '2024-05-05'", calls=5),
    Given("SELECT sum(total) FROM orders", calls=1),
)


@pytest.fixture
async def shop(db):
    if not await db.fetchval("SELECT count(*) FROM pg_available_extensions WHERE name = 'hypopg'"):
        lacking("HypoPG")
    await db.execute(SHOP)
    async with db.connection() as connection:
        await connection.execute("CREATE EXTENSION hypopg")
        await connection.execute("VACUUM ANALYZE")
    return db


async def found_in(opened):
    workload = await workload_of(opened, STATEMENTS)
    found = await candidates(opened, workload)
    sizes = {c.spec: int(c.numbers["size_bytes"]) for c in found.candidates}
    return workload, found.candidates, sizes


async def test_budgets_from_one_table_of_plans(shop):
    async with session(shop.dsn) as opened:
        workload, found, sizes = await found_in(opened)
        async with hypothetical(opened, workload.search_path) as what_if:
            asked = await market(what_if, workload, found, sizes)
            before = what_if.asked
            everything = await asked.choose(Limits())
            some = await asked.choose(Limits(bytes=max(sizes.values())))
            nothing = await asked.choose(Limits(bytes=0))
            assert what_if.asked - before <= 3 * len(workload.statements)  # only to confirm
    assert nothing.specs == ()
    assert nothing.ratio == 1.0
    assert {s.keys[0].sql for s in everything.specs} >= {"city", "customer"}
    assert everything.specs[0].keys[0].sql == "customer"  # the most is won by it
    assert everything.whole
    assert everything.ratio < 0.1
    assert some.bytes <= max(sizes.values())
    assert everything.ratio <= some.ratio < 1.0
    assert not await shop.fetchval(
        "SELECT count(*) FROM pg_class WHERE relname LIKE '%customer%idx'"
    )


async def test_what_writes_cost_turns_an_index_down(shop):
    async with session(shop.dsn) as opened:
        workload, found, sizes = await found_in(opened)
        async with hypothetical(opened, workload.search_path) as what_if:
            dear = dict.fromkeys(sizes, 1e12)
            chosen = await choose(what_if, workload, found, sizes, writes=dear)
    assert chosen.specs == ()


async def test_real_indexes_say_what_hypothetical_ones_do(shop):
    """On a clone every candidate is built; those that are not asked about are passed over."""
    spec = IndexSpec("public", "orders", (Key("customer"),))
    other = IndexSpec("public", "orders", (Key("placed"),))
    for number, one in enumerate((spec, other)):
        await shop.execute(one.definition(f'"Built {number}"'))
    async with session(shop.dsn, SessionLimits(read_only=False)) as opened:
        workload = await workload_of(opened, STATEMENTS)
        by_customer = next(s for s in workload.statements if s.sql == STATEMENTS[1].sql)
        async with planner(opened, workload.search_path) as plans:
            names = {spec: 'public."Built 0"', other: 'public."Built 1"'}
            built = Built(opened, plans, names)
            with_it = await built.cost(by_customer, frozenset({spec, other}))
            without = await built.cost(by_customer, frozenset({other}))
    assert with_it.used == {spec}
    assert without.used == frozenset()
    assert with_it.total < without.total / 10
    assert await shop.fetchval(
        "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 'orders'::regclass"
    )


async def test_without_hypopg_it_says_what_to_do(db):
    async with session(db.dsn) as opened:
        with pytest.raises(NotSupported, match="HypoPG"):
            async with hypothetical(opened, "public"):
                pass
