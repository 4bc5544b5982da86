"""Each rule on a real plan that shows it, and on one that must not.

Plans are executed without timing where a rule does not need it: nothing here depends on speed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from planned import explained, world_of

from conftest import Database
from filban.cluster import Cluster
from filban.finding import Finding
from filban.profile.plans import Plan
from filban.profile.plans.build import build
from filban.profile.plans.rules import judge

COUNTED = "ANALYZE, BUFFERS, VERBOSE, TIMING OFF"
SMALL = "SET work_mem = '64kB'; SET max_parallel_workers_per_gather = 0"
SERIAL = "SET max_parallel_workers_per_gather = 0"
PLAIN_LOOP = (
    f"{SERIAL}; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_memoize = off"
)


@pytest.fixture(scope="module")
def world(pg: Cluster) -> Iterator[Database]:
    """One world for the module; what a test changes is rolled back."""
    with world_of(pg) as database:
        yield database


async def plan_of(db: Database, sql: str, before: str = SERIAL, options: str = COUNTED) -> Plan:
    return build(await explained(db, sql, options, before))


async def found(db: Database, code: str, sql: str, before: str = SERIAL) -> list[Finding]:
    return [f for f in judge(await plan_of(db, sql, before)) if f.code == code]


SHOWN: dict[str, tuple[str, str]] = {
    "plan.seq_scan_filter": ("SELECT * FROM orders WHERE amount = 5", SERIAL),
    "plan.hidden_column": (
        "SELECT * FROM orders WHERE date_trunc('month', placed) = '2020-03-01'",
        SERIAL,
    ),
    "plan.index_filter": (
        "SELECT * FROM orders WHERE customer_id < 15000 AND amount = 5",
        SERIAL + "; SET enable_seqscan = off; SET enable_bitmapscan = off",
    ),
    "plan.misestimate": (
        "SELECT * FROM customers WHERE (name || city) LIKE 'name%' AND length(name) > 2",
        SERIAL,
    ),
    "plan.sort_spill": ("SELECT * FROM orders ORDER BY amount, id", SMALL),
    "plan.hash_spill": (
        "SELECT count(*) FROM orders a JOIN orders b ON a.id = b.id",
        SMALL + "; SET enable_mergejoin = off; SET enable_nestloop = off",
    ),
    "plan.aggregate_spill": (
        "SELECT id, count(*) FROM orders GROUP BY id",
        SMALL + "; SET enable_sort = off; SET enable_indexscan = off; SET enable_indexonlyscan=off",
    ),
    "plan.temp_blocks": (
        "WITH a AS MATERIALIZED (SELECT * FROM orders) SELECT count(*), max(a.id) FROM a",
        SMALL,
    ),
    "plan.lossy_bitmap": (
        "SELECT count(v) FROM sparse WHERE id < 50000",
        "SET work_mem = '64kB'; SET enable_seqscan = off; SET enable_indexscan = off",
    ),
    "plan.nested_loop": (
        "SELECT count(*) FROM (SELECT * FROM customers WHERE id <= 1200) c "
        "JOIN parts p ON p.amount < c.id - 19000",
        PLAIN_LOOP,
    ),
    "plan.subplan_per_row": (
        "SELECT (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) FROM customers c",
        SERIAL,
    ),
    "plan.late_or": (
        "SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id "
        "WHERE o.amount = 4 OR c.city = 'city 4'",
        SERIAL,
    ),
    "plan.cte_materialised": (
        "WITH a AS MATERIALIZED (SELECT * FROM orders) SELECT * FROM a WHERE id = 4",
        SERIAL,
    ),
    "plan.large_offset": ("SELECT * FROM orders ORDER BY placed, id LIMIT 10 OFFSET 5000", SERIAL),
    "plan.limit_index": (
        "SELECT * FROM orders WHERE status = 'open' AND id > 0 AND amount = 923 AND placed > "
        "'2022-01-01' ORDER BY id LIMIT 1000",
        SERIAL + "; SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off",
    ),
    "plan.workers": (
        "SELECT count(*) FROM orders",
        "SET max_parallel_workers = 0; SET min_parallel_table_scan_size = 0; "
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0",
    ),
}

HEALTHY = {
    "plan.seq_scan_filter": "SELECT * FROM orders WHERE status = 'done'",
    "plan.hidden_column": "SELECT * FROM orders WHERE placed >= '2020-03-01' AND upper(status)='X'",
    "plan.index_filter": "SELECT * FROM orders WHERE customer_id = 7 AND amount = 5",
    "plan.misestimate": "SELECT * FROM customers WHERE city = 'city 7'",
    "plan.sort_spill": "SELECT * FROM customers ORDER BY name",
    "plan.hash_spill": "SELECT count(*) FROM orders a JOIN customers b ON a.customer_id = b.id",
    "plan.aggregate_spill": "SELECT status, count(*) FROM orders GROUP BY status",
    "plan.temp_blocks": "WITH a AS MATERIALIZED (SELECT * FROM customers) SELECT count(*) FROM a",
    "plan.lossy_bitmap": "SELECT * FROM orders WHERE customer_id = 4 OR id < 5",
    "plan.nested_loop": "SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id "
    "WHERE o.id < 5000",
    "plan.subplan_per_row": "SELECT * FROM customers WHERE id NOT IN (SELECT customer_id FROM "
    "orders)",
    "plan.late_or": "SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id "
    "WHERE o.amount = 4 OR o.status = 'open'",
    "plan.cte_materialised": "WITH a AS (SELECT * FROM orders) SELECT * FROM a WHERE id = 4",
    "plan.large_offset": "SELECT * FROM orders ORDER BY id LIMIT 100 OFFSET 100",
    "plan.limit_index": "SELECT * FROM orders WHERE amount > 100 ORDER BY id LIMIT 100",
    "plan.workers": "SELECT count(*) FROM orders",
    "plan.heap_fetches": "SELECT id FROM orders WHERE id < 5000",
    "plan.partitions": "SELECT * FROM parts WHERE day = '2024-02-03'",
}


@pytest.mark.parametrize("code", SHOWN)
async def test_shown(world: Database, code: str) -> None:
    sql, before = SHOWN[code]
    findings = await found(world, code, sql, before)
    assert len(findings) == 1, await plan_of(world, sql, before)
    assert findings[0].fix is not None


@pytest.mark.parametrize("code", HEALTHY)
async def test_healthy(world: Database, code: str) -> None:
    assert await found(world, code, HEALTHY[code]) == []
