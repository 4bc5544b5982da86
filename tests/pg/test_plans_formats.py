"""Every format of a real server's EXPLAIN says the same, framed and wrapped as well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from planned import world_of, written

from conftest import Database
from filban.cluster import Cluster
from filban.profile.plans import Node, Plan, parse

QUERIES = {
    "join": "SELECT c.city, count(*) FROM orders o JOIN customers c ON c.id = o.customer_id "
    "WHERE o.status = 'open' AND c.name <> 'a, \"b\": (c' GROUP BY c.city ORDER BY 2 DESC LIMIT 5",
    "subplans": "WITH big AS MATERIALIZED (SELECT * FROM orders WHERE amount > 900) "
    "SELECT id, (SELECT max(id) FROM customers c WHERE c.id < b.id) FROM big b "
    "WHERE amount > (SELECT avg(amount) FROM orders) AND customer_id NOT IN "
    "(SELECT id FROM customers WHERE city = 'city 3') LIMIT 3",
    "append": "SELECT * FROM parts p WHERE day > '2024-02-10' UNION ALL SELECT 1, now()::date, 2",
    "aggregates": "SELECT status, customer_id, sum(amount) FROM orders "
    "GROUP BY GROUPING SETS ((status), (customer_id), ())",
    "window": "SELECT id, rank() OVER (PARTITION BY status ORDER BY amount) FROM orders LIMIT 1",
    "functions": "SELECT * FROM generate_series(1, 10) g(x) LEFT JOIN LATERAL "
    "(SELECT * FROM orders o WHERE o.customer_id = g.x ORDER BY o.id LIMIT 1) o ON true",
    "set": "SELECT id FROM customers EXCEPT SELECT customer_id FROM orders WHERE id < 100",
    "bitmap": "SELECT * FROM orders WHERE customer_id = 4 OR id < 5",
    "update": "UPDATE orders SET amount = amount + 1 WHERE id = 7",
    "recursive": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) "
    "SELECT * FROM r",
}
# What EXPLAIN's text leaves out, or rounds.
SETS = ("MixedAggregate",)  # text lists its grouping sets one by one
KEYS = ("Filter", "Index Cond", "Hash Cond", "Sort Key", "Group Key", "Join Filter", "Recheck Cond")


@pytest.fixture(scope="module")
def world(every_major: Cluster) -> Iterator[Database]:
    """The planned world, once for each major; a test leaves it as it was."""
    with world_of(every_major) as database:
        yield database


def shape(plan: Plan) -> list[tuple[Any, ...]]:
    return [_node(node) for node in plan.nodes]


def _node(n: Node) -> tuple[Any, ...]:
    keys = sorted(key for key in KEYS if key in n.properties and n.title not in SETS)
    costs = (n.startup_cost, n.total_cost, n.plan_rows, n.width, n.rows, n.loops)
    names = (n.depth, n.title, n.subplan.split(" (")[0], n.table, n.index)
    return (*names, *costs, *((key, n.text_of(key)) for key in keys))


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("options", ["COSTS", "ANALYZE, TIMING OFF, BUFFERS", "VERBOSE"])
async def test_formats_agree(world: Database, name: str, options: str) -> None:
    sql = QUERIES[name]
    if "update" in name and "ANALYZE" in options:
        sql = "UPDATE orders SET amount = amount + 1 WHERE id = -1"
    plans = {
        form: parse(await written(world, sql, options, form))
        for form in ("JSON", "YAML", "XML", "TEXT")
    }
    assert {form.lower() for form in plans} == {plan.format for plan in plans.values()}
    for form in ("YAML", "XML"):
        assert shape(plans[form]) == shape(plans["JSON"])
    if "ANALYZE" not in options:  # times of I/O and memory differ from run to run
        assert [n.properties for n in plans["YAML"].nodes] == [
            n.properties for n in plans["JSON"].nodes
        ]
    if "VERBOSE" in options:  # the JSON's schema is in the text only then
        assert shape(plans["TEXT"]) == shape(plans["JSON"])
    else:
        assert _bare(plans["TEXT"]) == _bare(plans["JSON"])


def _bare(plan: Plan) -> list[tuple[Any, ...]]:
    return [(*row[:3], row[3].rpartition(".")[2], *row[4:]) for row in shape(plan)]
