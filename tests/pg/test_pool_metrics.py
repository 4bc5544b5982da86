"""What exporters, spans and tags say of a pool, held against the pool and the server."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import asyncpg
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry, generate_latest

from conftest import Database
from filban.pool import BUCKETS, Pool, connect, create_pool, otel, prometheus
from filban.pool.context import route
from filban.pool.tags import Tags


@pytest.fixture
async def pool(db: Database) -> AsyncIterator[Pool]:
    async with create_pool(db.dsn, min_size=1, max_size=2, name="shop") as opened:
        yield opened


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None


# Prometheus


async def test_prometheus_says_what_the_pool_says(pool: Pool):
    registry = CollectorRegistry()
    prometheus.register(pool, registry=registry)
    async with pool.acquire() as one, pool.acquire():
        await one.execute("SET work_mem = '5MB'")
        waiter = asyncio.create_task(pool.fetchval("SELECT 1"))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await pool.acquire(timeout=0.01)
        assert value(registry, "filban_pool_connections", state="in_use") == 2
        assert value(registry, "filban_pool_waiting", pool="shop") == 1
    await waiter
    seen = pool.stats()
    for name, wanted in {
        "filban_pool_waiting": 0,
        "filban_pool_max_size": 2,
        "filban_pool_acquired_total": seen.acquired,
        "filban_pool_timeouts_total": 1,
        "filban_pool_refused_total": 0,
        "filban_pool_connects_total": 2,
        "filban_pool_reconnects_total": 0,
        "filban_pool_leaks_total": 0,
        "filban_pool_hold_seconds_count": 3,
        "filban_pool_hold_seconds_sum": seen.hold.sum,
        "filban_pool_connect_seconds_count": 2,
        "filban_pool_acquire_wait_seconds_count": 3,
    }.items():
        assert value(registry, name, pool="shop", server=seen.server) == wanted, name
    assert value(registry, "filban_pool_resets_total", reset="done") == 1
    assert value(registry, "filban_pool_resets_total", reset="skipped") == 2
    assert value(registry, "filban_pool_hold_seconds_bucket", le="+Inf") == 3
    assert generate_latest(registry).count(b"filban_pool_hold_seconds_bucket{") == len(BUCKETS) + 1


async def test_the_labels_stay_when_no_connection_is_open(pool: Pool):
    registry = CollectorRegistry()
    prometheus.register(pool, registry=registry)
    before = generate_latest(registry).decode()
    assert pool.stats().server
    await pool.expire_connections()
    for holder in pool._holders:
        if holder._con is not None:
            holder._con.terminate()
    after = generate_latest(registry).decode()
    assert {line.partition("}")[0] for line in before.splitlines() if "{" in line} == {
        line.partition("}")[0] for line in after.splitlines() if "{" in line
    }


async def test_registering_asks_nobody_and_keeps_nobody_alive():
    class Asked:
        times = 0

        def stats(self):
            Asked.times += 1
            return []

    # as the global one: it collects at once whatever does not describe itself
    registry, source = CollectorRegistry(auto_describe=True), Asked()
    prometheus.register(source, registry=registry)
    assert Asked.times == 0
    generate_latest(registry)
    assert Asked.times == 1
    del source
    gc.collect()
    generate_latest(registry)
    assert Asked.times == 1


async def test_a_router_has_a_series_for_each_server(db: Database):
    async with connect(db.dsn) as router:
        registry = CollectorRegistry()
        prometheus.register(router, registry=registry)
        assert await router.fetchval("SELECT 1") == 1
        (server,) = [s.address for s in router.servers()]
        assert value(registry, "filban_pool_acquired_total", pool=server) == 1


async def test_a_scrape_from_another_thread_while_tasks_wait(db: Database):
    registry = CollectorRegistry()
    async with create_pool(db.dsn, min_size=1, max_size=1, name="one") as pool:
        prometheus.register(pool, registry=registry)
        running = True

        async def work() -> None:
            while running:
                await pool.fetchval("SELECT 1")

        tasks = [asyncio.create_task(work()) for _ in range(20)]
        for _ in range(20):
            assert b"filban_pool_waiting" in await asyncio.to_thread(generate_latest, registry)
        running = False
        await asyncio.gather(*tasks)


# OpenTelemetry: metrics


async def test_otel_speaks_the_semantic_conventions(pool: Pool):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    otel.observe(pool, meter=provider.get_meter("test"))
    async with pool.acquire():
        await pool.fetchval("SELECT 1")
        seen = {
            (metric.name, *sorted(map(str, point.attributes.values()))): point.value
            for resource in reader.get_metrics_data().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }
    server = pool.stats().server
    common = sorted([server, "shop"])
    assert seen["db.client.connection.count", *sorted([*common, "used"])] == 1
    assert seen["db.client.connection.count", *sorted([*common, "idle"])] == 1
    assert seen["db.client.connection.max", *common] == 2
    assert seen["db.client.connection.pending_requests", *common] == 0
    assert seen["db.client.connection.timeouts", *common] == 0
    assert seen["filban.pool.connect.bucket", *sorted([*common, "+Inf"])] == 2
    assert seen["filban.pool.resets", *sorted([*common, "skipped"])] == 1
    provider.shutdown()


# OpenTelemetry: spans


class Spans:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def taken(self) -> list[ReadableSpan]:
        spans = list(self.exporter.get_finished_spans())
        self.exporter.clear()
        return spans


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
async def traced(db: Database, spans: Spans) -> AsyncIterator[Pool]:
    await db.execute("CREATE TABLE person (name text PRIMARY KEY)")
    async with create_pool(db.dsn, min_size=1, max_size=1, tracer=spans.tracer) as opened:
        spans.taken()
        yield opened


async def test_a_span_says_what_ran_where_and_never_with_what(
    traced: Pool, spans: Spans, db: Database
):
    await traced.execute("INSERT INTO person VALUES ($1)", "Forugh")
    (span,) = spans.taken()
    assert span.name == f"INSERT {db.name}"
    assert span.kind is SpanKind.CLIENT
    attributes = dict(span.attributes or {})
    address = traced.stats().server
    assert attributes.pop("server.address") in address
    assert str(attributes.pop("server.port", "")) in address
    attributes.pop("network.transport", None)
    assert attributes == {
        "db.system.name": "postgresql",
        "db.namespace": db.name,
        "db.operation.name": "INSERT",
        "db.query.text": "INSERT INTO person VALUES ($1)",
    }


async def test_constants_and_rows_stay_out_of_spans(traced: Pool, spans: Spans):
    await traced.execute("INSERT INTO person VALUES ('Simin')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await traced.execute("INSERT INTO person VALUES ('Simin')")
    fine, failed = spans.taken()
    assert (fine.attributes or {})["db.query.text"] == "INSERT INTO person VALUES ($1)"
    assert (failed.attributes or {})["db.response.status_code"] == "23505"
    assert (failed.attributes or {})["error.type"] == "23505"
    assert failed.status.status_code is StatusCode.ERROR
    assert "Simin" not in failed.to_json() + fine.to_json()


async def test_every_way_to_run_a_statement_is_a_span(traced: Pool, spans: Spans):
    async with traced.acquire() as con:
        for call in (
            con.fetch("SELECT 1"),
            con.fetchrow("SELECT 1"),
            con.fetchval("SELECT 1"),
            con.execute("SELECT 1"),
            con.executemany("INSERT INTO person VALUES ($1)", [("a",), ("b",)]),
            con.copy_records_to_table("person", records=[("c",)]),
        ):
            await call
            assert len(spans.taken()) == 1
        statement = await con.prepare("SELECT $1::int")
        assert await statement.fetchval(7) == 7
        (span,) = spans.taken()
        assert (span.attributes or {})["db.query.text"] == "SELECT $1::int"


async def test_what_the_pool_does_for_itself_is_no_span(db: Database, spans: Spans):
    async with create_pool(
        db.dsn, min_size=1, max_size=1, tracer=spans.tracer, probe_after=0.0
    ) as pool:
        spans.taken()
        await pool.fetchval("SELECT 2")
        assert pool.stats().probes == 1
        assert [(s.attributes or {})["db.query.text"] for s in spans.taken()] == ["SELECT $1"]


async def test_without_a_tracer_the_connection_class_is_the_users_own(pool: Pool):
    async with pool.acquire() as con:
        assert type(con._c) is asyncpg.Connection


async def test_a_routers_commits_keep_their_tokens_when_traced(db: Database, spans: Spans):
    await db.execute("CREATE TABLE person (name text)")
    tags = Tags(fixed={"application": "shop"})
    async with connect(db.dsn, tracer=spans.tracer, tags=tags) as router:
        with router.session() as session:
            async with router.transaction() as con:
                await con.execute("INSERT INTO person VALUES ('x')")
            assert session.token is not None
            assert session.pending is None
    operations = {(s.attributes or {}).get("db.operation.name") for s in spans.taken()}
    assert operations - {None} == {"BEGIN", "INSERT", "COMMIT"}  # None: the reset


# Tags


async def test_tags_reach_the_server_and_statements_stay_prepared(db: Database):
    tags = Tags(fixed={"application": "khabar"})
    async with create_pool(db.dsn, min_size=1, max_size=1, tags=tags) as pool:
        sql = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        mark = route.set("GET /a")
        first, second = await pool.fetchval(sql), await pool.fetchval(sql)
        route.reset(mark)
        assert first == second == f"{sql} /*application='khabar',route='GET%20%2Fa'*/"
        prepared = await pool.fetch("SELECT statement FROM pg_prepared_statements")
        assert sum("route=" in row["statement"] for row in prepared) == 1
        assert pool.stats().resets_done == 0  # the judge sees the text without tags


async def test_a_sampled_trace_is_named_and_leaves_no_statement_behind(db: Database, spans: Spans):
    tags = Tags(route=False, traceparent=True)
    async with create_pool(db.dsn, min_size=1, max_size=1, tags=tags) as pool:
        sql = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        for _ in range(3):
            with spans.tracer.start_as_current_span("request") as span:
                seen = await pool.fetchval(sql)
            assert f"{span.get_span_context().trace_id:032x}" in seen
        assert await pool.fetchval(sql) == sql  # no trace, no tag
        prepared = await pool.fetch("SELECT statement FROM pg_prepared_statements")
        assert not any("traceparent" in row["statement"] for row in prepared)
