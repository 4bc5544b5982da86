"""Each rule on a real plan that shows it, and on one that must not.

Plans are executed without timing where a rule does not need it: nothing here depends on speed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from planned import explained, world_of

from conftest import Database, lacking
from filban.cluster import Cluster
from filban.finding import Finding
from filban.profile.plans import CODES, Known, Plan
from filban.profile.plans.build import build
from filban.profile.plans.rules import judge

COUNTED = "ANALYZE, BUFFERS, VERBOSE, TIMING OFF"
SMALL = "SET work_mem = '64kB'; SET max_parallel_workers_per_gather = 0"
SERIAL = "SET max_parallel_workers_per_gather = 0"
GENERIC = (
    "SET plan_cache_mode = force_generic_plan; "
    "PREPARE skewed(text) AS SELECT * FROM skew WHERE kind = $1"
)
PLAIN_LOOP = (
    f"{SERIAL}; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_memoize = off"
)


MORE = """
CREATE TABLE changed (id int PRIMARY KEY, v int) WITH (autovacuum_enabled = off);
INSERT INTO changed SELECT i, i FROM generate_series(1, 20000) i;
VACUUM ANALYZE changed;
UPDATE changed SET v = v + 1 WHERE id < 10000;
CREATE TABLE days (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
CREATE TABLE days_3 PARTITION OF days FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
CREATE TABLE days_4 PARTITION OF days FOR VALUES FROM ('2024-04-01') TO ('2024-05-01');
INSERT INTO days SELECT i, '2024-01-01'::date + i % 120 FROM generate_series(1, 3000) i;
CREATE TABLE words (word text, plain text COLLATE "C");
INSERT INTO words SELECT 'w' || i, 'w' || i FROM generate_series(1, 50000) i;
CREATE INDEX ON words (plain);
CREATE TABLE skew (kind text);
INSERT INTO skew SELECT CASE WHEN i % 10 > 0 THEN 'common' ELSE 'k' || i END
FROM generate_series(1, 50000) i;
CREATE TABLE few (id int PRIMARY KEY, other int);
CREATE INDEX ON few (other);
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE kids (id int, parent int CONSTRAINT kids_parent REFERENCES parents);
INSERT INTO parents SELECT generate_series(1, 2000);
INSERT INTO kids SELECT i, 1000 + i % 1000 FROM generate_series(1, 20000) i;
CREATE TABLE watched (id int);
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql
AS 'BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END';
CREATE TRIGGER slow BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION slowly();
CREATE TABLE pairs (a int, b int, c int) WITH (autovacuum_enabled = off);
INSERT INTO pairs SELECT i % 20, i % 20, i FROM generate_series(1, 100000) i;
ANALYZE words, skew, few, parents, kids, pairs, days;
"""


@pytest.fixture(scope="module")
def world(pg: Cluster) -> Iterator[Database]:
    """One world for the module; a test leaves it as it was."""
    with world_of(pg) as database, asyncio.Runner() as runner:
        for statement in filter(str.strip, MORE.split(";\n")):
            runner.run(database.execute(statement))
        yield database


async def plan_of(db: Database, sql: str, before: str = SERIAL, options: str = COUNTED) -> Plan:
    return build(await explained(db, sql, options, before))


async def found(db: Database, code: str, sql: str, before: str = SERIAL) -> list[Finding]:
    options = COUNTED.replace("TIMING OFF", "TIMING ON") if code in TIMED else COUNTED
    return [f for f in judge(await plan_of(db, sql, before, options)) if f.code == code]


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
        "SELECT count(*) FROM orders a JOIN orders b ON a.customer_id = b.id",
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
    "plan.heap_fetches": (
        "SELECT id FROM changed WHERE id < 6000",
        SERIAL + "; SET enable_seqscan = off; SET enable_bitmapscan = off",
    ),
    "plan.partitions": ("SELECT * FROM days WHERE day + 0 = '2024-03-05'", SERIAL),
    "plan.collation": ("SELECT * FROM words WHERE word LIKE 'w77%'", SERIAL),
    "plan.generic_plan": ("EXECUTE skewed('common')", f"{SERIAL}; {GENERIC}"),
    "plan.jit": (
        "SELECT count(*) FILTER (WHERE id + amount > 4), sum(id * amount + 1) FROM orders "
        "WHERE id < 10",
        f"{SERIAL}; SET jit = on; SET jit_above_cost = 0; SET jit_optimize_above_cost = 0; "
        "SET jit_inline_above_cost = 0",
    ),
    "plan.planning": (
        "SELECT 1 FROM few f0"
        + "".join(f" JOIN few f{i} ON f{i}.other = f{i - 1}.other" for i in range(1, 10)),
        f"{SERIAL}; SET join_collapse_limit = 20; SET geqo = off",
    ),
    "plan.triggers": ("DELETE FROM parents WHERE id <= 200", SERIAL),
}
TIMED = ("plan.jit", "plan.planning", "plan.triggers")  # what they say is said of times

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
    "plan.partitions": "SELECT * FROM days WHERE day = '2024-03-05'",
    "plan.collation": "SELECT * FROM words WHERE plain LIKE 'w77%'",
    "plan.jit": "SELECT count(*) FILTER (WHERE id + amount > 4) FROM orders WHERE id < 10",
    "plan.planning": "SELECT pg_sleep(0.3)",
    "plan.triggers": "DELETE FROM kids WHERE id <= 200",
}


@pytest.mark.parametrize("code", SHOWN)
async def test_shown(world: Database, code: str) -> None:
    sql, before = SHOWN[code]
    if code == "plan.jit" and not await world.fetchval("SELECT pg_jit_available()"):
        lacking("PostgreSQL with JIT")
    findings = await found(world, code, sql, before)
    assert len(findings) == 1, await plan_of(world, sql, before)
    assert findings[0].fix is not None
    assert (Path(__file__).parents[2] / "docs" / findings[0].docs).exists()


def test_every_finding_has_a_plan_that_shows_it_and_one_that_must_not() -> None:
    assert set(SHOWN) == set(CODES)
    assert set(HEALTHY) | {"plan.generic_plan"} == set(CODES)


@pytest.mark.parametrize("code", HEALTHY)
async def test_healthy(world: Database, code: str) -> None:
    assert await found(world, code, HEALTHY[code]) == []


async def test_a_generic_plan_is_right_for_a_usual_value(world: Database) -> None:
    custom = GENERIC.replace("force_generic_plan", "force_custom_plan")
    assert (
        await found(world, "plan.generic_plan", "EXECUTE skewed('k10')", f"{SERIAL}; {GENERIC}")
        == []
    )
    assert (
        await found(world, "plan.generic_plan", "EXECUTE skewed('common')", f"{SERIAL}; {custom}")
        == []
    )
    # the value of a subquery is no parameter, though it was written $0 before 17
    sql = "SELECT * FROM skew WHERE kind = (SELECT 'common' || left(max(id)::text, 0) FROM few)"
    assert await found(world, "plan.generic_plan", sql) == []


async def test_partitions_that_the_planner_left_out(world: Database) -> None:
    assert (
        await found(world, "plan.partitions", "SELECT * FROM days WHERE day >= '2024-01-02'") == []
    )


@pytest.mark.parametrize("operator", ["NOT IN", "IN"])
async def test_a_list_that_was_not_hashed(world: Database, operator: str) -> None:
    sql = (
        f"SELECT * FROM kids WHERE id < 2000 AND (id < 0 OR parent {operator} "
        "(SELECT id FROM customers WHERE id > 15000))"
    )
    small = "SET work_mem = '64kB'; SET hash_mem_multiplier = 1; " + SERIAL
    (finding,) = await found(world, "plan.subplan_per_row", sql, small)
    assert "hash table" in finding.why
    advice = finding.fix.advice if finding.fix else ""
    mended = advice[advice.index("work_mem = ") :].rstrip(".")
    assert await found(world, "plan.subplan_per_row", sql, f"{SERIAL}; SET {mended}") == []


async def test_collations(world: Database) -> None:
    said = "SELECT * FROM words WHERE word = 'w77' COLLATE \"C\""
    (finding,) = await found(world, "plan.collation", said)
    assert finding.fix is not None
    assert finding.fix.sql.endswith('public.words (word COLLATE "C");')
    hidden = "SELECT * FROM words WHERE word COLLATE \"C\" = 'w77'"  # EXPLAIN does not print it
    plan = await plan_of(world, hidden)
    assert [f.code for f in judge(plan, Known(sql=hidden))] == ["plan.collation"]


@pytest.mark.parametrize("code", ["plan.collation", "plan.seq_scan_filter", "plan.sort_spill",
                                  "plan.misestimate", "plan.heap_fetches"])  # fmt: skip
async def test_the_fix_mends_it(world: Database, code: str) -> None:
    """What is printed is pasted, and the finding is gone."""
    sql, before = SHOWN[code]
    if code == "plan.misestimate":
        sql = "SELECT * FROM pairs WHERE a = 4 AND b = 4"
    (finding,) = await found(world, code, sql, before)
    assert finding.fix is not None
    mended = finding.fix.sql.replace(" CONCURRENTLY", "").replace("SET LOCAL", "SET")
    async with world.connection() as connection:
        if "VACUUM" not in mended:
            await connection.execute("BEGIN")  # never committed: the next test has its own
        for statement in [*before.split("; "), *mended.split("\n")]:
            await connection.execute(statement)
        text = await connection.fetchval(f"EXPLAIN ({COUNTED}, FORMAT JSON) {sql}")
    assert code not in [f.code for f in judge(build(json.loads(text)[0]))]


async def test_a_trigger_of_ones_own(world: Database) -> None:
    (finding,) = await found(world, "plan.triggers", "INSERT INTO watched SELECT 1")
    assert finding.subject == "trigger slow"


async def test_the_next_page_is_written_out(world: Database) -> None:
    sql = "SELECT * FROM orders ORDER BY id DESC LIMIT 10 OFFSET 5000"
    plan = await plan_of(world, sql)
    assert plan.nodes[1].kind == "Index Scan"  # so that the plan does not tell the order
    (finding,) = judge(plan, Known(sql=sql))
    assert finding.fix is not None
    assert "WHERE (id) < (last id) ORDER BY id DESC LIMIT 10" in finding.fix.advice


async def test_rows_of_a_cte_are_not_skipped_by_the_limit_above_it(world: Database) -> None:
    sql = "WITH a AS MATERIALIZED (SELECT * FROM orders) SELECT * FROM a WHERE id < 100 LIMIT 5"
    plan = await plan_of(world, sql)
    assert [n.subplan for n in plan.children(plan.root)] == ["CTE a", ""]
    assert "plan.large_offset" not in [f.code for f in judge(plan)]
