"""A small database whose plans show what the rules look for, and EXPLAIN in every format."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

from conftest import Database, fresh_database
from filban.cluster import Cluster

WORLD = """
CREATE TABLE customers (id int PRIMARY KEY, city text, country text, name text);
INSERT INTO customers SELECT i, 'city ' || i % 100, 'country ' || (i % 100) / 10, 'name ' || i
FROM generate_series(1, 20000) i;
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, status text, placed date, amount int);
INSERT INTO orders SELECT i, i % 20000 + 1, CASE WHEN i % 100 = 0 THEN 'open' ELSE 'done' END,
'2020-01-01'::date + i % 1000, i % 977 FROM generate_series(1, 100000) i;
CREATE INDEX orders_customer ON orders (customer_id);
CREATE TABLE parts (id int, day date, amount int) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
INSERT INTO parts SELECT i, '2024-01-01'::date + i % 90, i FROM generate_series(1, 3000) i;
CREATE TABLE sparse (id int PRIMARY KEY, v int) WITH (fillfactor = 10);
INSERT INTO sparse SELECT i, i FROM generate_series(1, 60000) i;
VACUUM (ANALYZE);
"""


async def make_world(database: Database) -> None:
    for statement in WORLD.split(";\n"):
        if statement.strip():
            await database.execute(statement)


@contextlib.contextmanager
def world_of(cluster: Cluster) -> Iterator[Database]:
    """A database with the world in it, for a module's fixture: with a loop of its own."""
    with asyncio.Runner() as runner:
        manager = fresh_database(cluster)
        database = runner.run(manager.__aenter__())
        try:
            runner.run(make_world(database))
            yield database
        finally:
            runner.run(manager.__aexit__(None, None, None))


async def explained(
    database: Database, sql: str, options: str = "ANALYZE, BUFFERS, VERBOSE", *before: str
) -> dict[str, Any]:
    """EXPLAIN's JSON document after `before` in the same session."""
    async with database.connection() as connection:
        for statement in before:
            await connection.execute(statement)
        text = await connection.fetchval(f"EXPLAIN ({options}, FORMAT JSON) {sql}")
    document: dict[str, Any] = json.loads(text)[0]
    return document


async def written(database: Database, sql: str, options: str, form: str) -> str:
    """EXPLAIN's own words in one of its formats."""
    async with database.connection() as connection:
        await connection.execute("SET max_parallel_workers_per_gather = 0")
        rows = await connection.fetch(f"EXPLAIN ({options}, FORMAT {form}) {sql}")
    return "\n".join(row[0] for row in rows)
