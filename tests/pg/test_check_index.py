"""Indexes: each fault planted, found, fixed as printed, and gone; and what is no fault."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import pytest
from planted import apply, eventually, find, run, verdicts

from filban.finding import Severity
from filban.index import CHECKS

# Quotes of both kinds, a space, a keyword, not ASCII; 63 bytes is the longest there is.
ODD = "odd \"t\" 'é' USING فارسی"
LONG = "ن" * 31 + "x"


def q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def codes(db, **limits: float) -> list[tuple[str, str]]:
    findings, _ = await run(db.dsn, CHECKS, **limits)
    return sorted((f.code, f.subject) for f in findings)


async def fixed(db, code: str, subject: str, **limits: float) -> None:
    """It is the only finding; pasted as printed, its fix leaves none."""
    assert await codes(db, **limits) == [(code, subject)]
    [found] = await find(db.dsn, CHECKS, code, **limits)
    await apply(db.cluster, db.dsn, found.fix)
    assert await codes(db, **limits) == []


# duplicates


async def test_a_duplicate_and_the_way_back(every_db):
    await every_db.execute("CREATE TABLE t (a int, b int); CREATE INDEX one ON t (a, b DESC)")
    await every_db.execute("CREATE INDEX two ON t (a, b DESC)")
    [found] = await find(every_db.dsn, CHECKS, "index.duplicate")
    assert found.evidence["kept"].value == "public.one"
    assert "CREATE INDEX two ON public.t USING btree (a, b DESC);" in found.fix.caution
    await fixed(every_db, "index.duplicate", "public.two")


@pytest.mark.parametrize(
    "promise",
    [
        "ALTER TABLE t ADD CONSTRAINT kept PRIMARY KEY (a)",
        "ALTER TABLE t ADD CONSTRAINT kept UNIQUE (a)",
        "CREATE UNIQUE INDEX kept ON t (a)",
        "CREATE UNIQUE INDEX kept ON t (a); ALTER TABLE t REPLICA IDENTITY USING INDEX kept",
    ],
)
async def test_the_one_that_promises_something_stays(db, promise):
    await db.execute("CREATE TABLE t (a int NOT NULL); CREATE INDEX aged ON t (a)")
    await db.execute(promise)
    [found] = await find(db.dsn, CHECKS, "index.duplicate")
    assert found.evidence["kept"].value == "public.kept"
    await fixed(db, "index.duplicate", "public.aged")


async def test_a_unique_index_that_a_foreign_key_refers_to_stays(db):
    await db.execute(
        "CREATE TABLE t (a int); CREATE UNIQUE INDEX referenced ON t (a);"
        "CREATE TABLE r (a int REFERENCES t (a)); CREATE INDEX ON r (a);"
        "CREATE UNIQUE INDEX b ON t (a)"
    )
    await fixed(db, "index.duplicate", "public.b")


async def test_two_promises_are_two(db):
    """Both keep one, so neither can go: a constraint and a primary key over the same column."""
    await db.execute("CREATE TABLE t (a int PRIMARY KEY, UNIQUE (a))")
    assert await codes(db) == []


async def test_an_immediate_promise_is_not_replaced_by_a_deferrable_one(db):
    await db.execute(
        "CREATE TABLE t (a int, UNIQUE (a) DEFERRABLE); CREATE UNIQUE INDEX b ON t (a)"
    )
    assert await codes(db) == []


async def test_nulls_not_distinct_is_another_promise(every_db):
    if every_db.cluster.binaries.major < 15:
        pytest.skip("NULLS NOT DISTINCT exists from 15 on")
    await every_db.execute(
        "CREATE TABLE t (a int); CREATE UNIQUE INDEX one ON t (a);"
        "CREATE UNIQUE INDEX two ON t (a) NULLS NOT DISTINCT"
    )
    assert await codes(every_db) == []


async def test_duplicates_by_expression_predicate_and_included_columns(db):
    await db.execute(
        "CREATE TABLE t (a text, b int, c int);"
        "CREATE INDEX e1 ON t (lower(a), b) INCLUDE (c) WHERE b > 0;"
        "CREATE INDEX e2 ON t (lower(  a ), b)   INCLUDE (c) WHERE (b >  0)"
    )
    await fixed(db, "index.duplicate", "public.e2")


NEAR_DUPLICATES = {
    "operator class": ("(a text_pattern_ops)", "(a)"),
    "collation": ('(a COLLATE "C")', "(a)"),
    "order": ("(a DESC)", "(a)"),
    "nulls": ("(a NULLS FIRST)", "(a)"),
    "predicate": ("(a) WHERE b > 0", "(a)"),
    "other predicate": ("(a) WHERE b > 0", "(a) WHERE b > 1"),
    "expression": ("(lower(a))", "(upper(a))"),
    "column order": ("(a, b)", "(b, a)"),
    "access method": ("USING hash (a)", "(a)"),
    "storage of another method": (
        "USING brin (b) WITH (pages_per_range = 8)",
        "USING brin (b) WITH (pages_per_range = 16)",
    ),
}


@pytest.mark.parametrize("case", NEAR_DUPLICATES)
async def test_near_misses(db, case):
    first, second = NEAR_DUPLICATES[case]
    await db.execute(
        f"CREATE TABLE t (a text, b int); CREATE INDEX ON t {first}; CREATE INDEX ON t {second}"
    )
    assert await codes(db) == []


# redundant prefixes


REDUNDANT = {
    "prefix": ("(a)", "(a, b)"),
    "a unique one covers": ("(a)", "UNIQUE (a, b)"),
    "included columns are keys of the other": ("(a) INCLUDE (b)", "(a, c, b)"),
    "included columns are included there": ("(a) INCLUDE (b)", "(a, c) INCLUDE (b)"),
    "the same key with more included": ("(a)", "(a) INCLUDE (b)"),
    "partial both": ("(a) WHERE c > 0", "(a, b) WHERE c > 0"),
    "expression": ("((a + 1))", "((a + 1), b)"),
    "order": ("(a DESC)", "(a DESC, b)"),
    "included here, a key there": ("(a) INCLUDE (b)", "(a, b)"),
}


def index_on(spec: str, name: str) -> str:
    unique, spec = ("UNIQUE ", spec[7:]) if spec.startswith("UNIQUE ") else ("", spec)
    return f"CREATE {unique}INDEX {name} ON t {spec}"


@pytest.mark.parametrize("case", REDUNDANT)
async def test_a_redundant_prefix(db, case):
    short, long = REDUNDANT[case]
    await db.execute("CREATE TABLE t (a int, b int, c int)")
    await db.execute(index_on(long, "long") + ";" + index_on(short, "short"))
    [found] = await find(db.dsn, CHECKS, "index.redundant")
    assert (found.severity, found.evidence["kept"].value) == (Severity.info, "public.long")
    await fixed(db, "index.redundant", "public.short")


async def test_a_large_redundant_index_is_a_warning(db):
    await db.execute("CREATE TABLE t (a int, b int); CREATE INDEX l ON t (a, b);")
    await db.execute("CREATE INDEX s ON t (a)")
    assert await verdicts(db.dsn, CHECKS, redundant_warning_bytes=0) == {
        ("index.redundant", "public.s")
    }


NOT_REDUNDANT = {
    "unique": ("UNIQUE (a)", "(a, b)"),
    "not the first": ("(b)", "(a, b)"),
    "order": ("(a DESC)", "(a, b)"),
    "partial long": ("(a)", "(a, b) WHERE c > 0"),
    "partial short": ("(a) WHERE c > 0", "(a, b)"),
    "included column lacks": ("(a) INCLUDE (c)", "(a, b)"),
    "access method": ("USING hash (a)", "(a, b)"),
    "expression": ("((a + 1))", "((a + 2), b)"),
}


@pytest.mark.parametrize("case", NOT_REDUNDANT)
async def test_not_redundant(db, case):
    short, long = NOT_REDUNDANT[case]
    await db.execute("CREATE TABLE t (a int, b int, c int)")
    await db.execute(index_on(long, "long") + ";" + index_on(short, "short"))
    assert await codes(db) == []


async def test_a_chain_ends_with_the_longest(db):
    await db.execute(
        "CREATE TABLE t (a int, b int, c int); CREATE INDEX i1 ON t (a);"
        "CREATE INDEX i2 ON t (a, b); CREATE INDEX i3 ON t (a, b, c); CREATE INDEX i0 ON t (a)"
    )
    findings, _ = await run(db.dsn, CHECKS)
    assert {(f.code, f.subject, f.evidence["kept"].value) for f in findings} == {
        ("index.duplicate", "public.i0", "public.i1"),
        ("index.redundant", "public.i1", "public.i3"),
        ("index.redundant", "public.i2", "public.i3"),
    }
    for found in findings:
        await apply(db.cluster, db.dsn, found.fix)
    assert await codes(db) == []
    assert await db.fetchval("SELECT count(*) FROM pg_indexes WHERE indexname = 'i3'") == 1


# invalid


async def fail_to_build(db, sql: str) -> None:
    async with db.connection() as connection:
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute(sql)


async def test_a_failed_concurrent_build(every_db):
    await every_db.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)")
    await fail_to_build(every_db, "CREATE UNIQUE INDEX CONCURRENTLY half ON t (a)")
    await every_db.execute("DELETE FROM t WHERE ctid = '(0,1)'")
    await fixed(every_db, "index.invalid", "public.half")
    assert await every_db.fetchval("SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass")


@pytest.mark.parametrize("target", ["TABLE t", "INDEX t_a"])
@pytest.mark.parametrize(
    ("held", "left"), [("SELECT * FROM t", "_ccold"), ("INSERT INTO t VALUES (1)", "_ccnew")]
)
async def test_leftovers_of_a_reindex(every_db, target, held, left):
    """Of a table also those of its TOAST index, which only DROP INDEX can remove."""
    await every_db.execute("CREATE TABLE t (a int, b text); CREATE INDEX t_a ON t (a)")
    kind, name = target.split()
    async with every_db.connection() as holder, every_db.connection() as builder:
        await holder.execute(f"BEGIN; {held}")
        await builder.execute("SET lock_timeout = 100")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await builder.execute(f"REINDEX {kind} CONCURRENTLY {name}")
    findings = await find(every_db.dsn, CHECKS, "index.invalid")
    assert len(findings) == (2 if kind == "TABLE" else 1)
    for found in findings:
        assert left in found.subject
        assert "REINDEX CONCURRENTLY" in found.title
        await apply(every_db.cluster, every_db.dsn, found.fix)
    assert await codes(every_db) == []
    assert await every_db.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0


@contextlib.asynccontextmanager
async def running(db, sql: str):
    """A statement that waits for others, cancelled at the end."""
    async with db.connection() as connection:
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        task = asyncio.create_task(connection.execute(sql))
        try:
            yield
        finally:
            await db.execute(f"SELECT pg_cancel_backend({pid})")
            with pytest.raises(asyncpg.QueryCanceledError):
                await task


async def invalid_one(db) -> bool:
    return await db.fetchval(
        "SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indrelid = 't'::regclass"
    )


@pytest.mark.parametrize("role", [None, "plain"])
async def test_what_is_being_built_is_not_invalid(every_db, role):
    await every_db.execute("CREATE TABLE t (a int)")
    dsn = every_db.dsn if role is None else every_db.dsn_as(role)
    async with every_db.connection() as writer:
        await writer.execute("BEGIN; INSERT INTO t VALUES (1)")
        async with running(every_db, "CREATE INDEX CONCURRENTLY i ON t (a)"):
            await eventually(lambda: invalid_one(every_db))
            assert not await find(dsn, CHECKS, "index.invalid")
        await writer.execute("COMMIT")
    assert [f.subject for f in await find(dsn, CHECKS, "index.invalid")] == ["public.i"]
    await fixed(every_db, "index.invalid", "public.i")


async def test_what_is_being_dropped_is_not_invalid(every_db):
    await every_db.execute("CREATE TABLE t (a int); CREATE INDEX i ON t (a)")
    async with every_db.connection() as reader:
        await reader.execute("BEGIN; SELECT * FROM t")
        async with running(every_db, "DROP INDEX CONCURRENTLY i"):
            await eventually(lambda: invalid_one(every_db))
            assert not await find(every_db.dsn, CHECKS, "index.invalid")
    await fixed(every_db, "index.invalid", "public.i")


PARTITIONED = (
    "CREATE TABLE p (a int, b int, c int) PARTITION BY RANGE (a);"
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);"
    "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (b);"
    f"CREATE TABLE {q(ODD)} PARTITION OF p2 FOR VALUES FROM (0) TO (10);"
    f"CREATE TABLE {q(LONG)} PARTITION OF p2 DEFAULT;"
)


async def test_a_partitioned_index_that_was_never_finished(every_db):
    await every_db.execute(
        f"{PARTITIONED} CREATE INDEX {q('the USING i')} ON ONLY p (lower(b::text), c) WHERE c > 0;"
        # one partition has an equal one already, one has its part attached
        "CREATE INDEX own ON p1 (lower(b::text), c) WHERE c > 0"
    )
    await fixed(every_db, "index.invalid", "public.the USING i")
    rows = await every_db.fetch("SELECT indexrelid FROM pg_index WHERE NOT indisvalid")
    assert not rows
    assert (
        await every_db.fetchval("SELECT count(*) FROM pg_index i WHERE indrelid = 'p1'::regclass")
        == 1
    )


async def test_a_partitioned_index_with_an_invalid_part(every_db):
    await every_db.execute(PARTITIONED + "CREATE INDEX top ON ONLY p (c)")
    async with every_db.connection() as writer, every_db.connection() as builder:
        await writer.execute("BEGIN; INSERT INTO p1 VALUES (1)")
        await builder.execute("SET lock_timeout = 100")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await builder.execute("CREATE INDEX CONCURRENTLY part ON p1 (c)")
    await every_db.execute("ALTER INDEX top ATTACH PARTITION part")
    found = {f.subject: f for f in await find(every_db.dsn, CHECKS, "index.invalid")}
    assert set(found) == {"public.top", "public.part"}
    await apply(every_db.cluster, every_db.dsn, found["public.top"].fix)
    assert await codes(every_db) == []


async def test_a_duplicate_of_a_partitioned_index_is_named_at_the_parent(every_db):
    await every_db.execute(PARTITIONED + "CREATE INDEX i1 ON p (c); CREATE INDEX i2 ON p (c)")
    [found] = await find(every_db.dsn, CHECKS, "index.duplicate")
    assert found.fix.lock == "ACCESS EXCLUSIVE"
    await fixed(every_db, "index.duplicate", "public.i2")


async def test_a_partitions_own_duplicate_of_the_parents(db):
    await db.execute(PARTITIONED + "CREATE INDEX own ON p1 (c, a); CREATE INDEX i ON p (c)")
    await db.execute("CREATE INDEX own2 ON p1 (c)")
    assert await codes(db) == [
        ("index.duplicate", "public.own2"),
    ]


# unused


async def settled(db, condition: str, table: str = "t") -> None:
    async def there():
        return await db.fetchval(
            f"SELECT {condition} FROM pg_stat_all_tables WHERE relid = $1::regclass", table
        )

    await eventually(there)


UNUSED = {"unused_window_seconds": 0.0, "unused_minimum_bytes": 8192.0}


async def filled(db, table: str = "t") -> None:
    await db.execute(
        f"CREATE TABLE {table} (a int, b int) WITH (autovacuum_enabled = off);"
        f"INSERT INTO {table} SELECT i, i FROM generate_series(1, 1000) i"
    )


async def test_an_index_that_nobody_reads(every_db):
    await filled(every_db)
    await every_db.execute("CREATE INDEX used ON t (a); CREATE INDEX unread ON t (b)")
    await every_db.execute("SET enable_seqscan = off; SELECT * FROM t WHERE a = 1")

    async def counted():
        return await every_db.fetchval(
            "SELECT idx_scan > 0 FROM pg_stat_user_indexes WHERE indexrelname = 'used'"
        )

    await eventually(counted)
    await fixed(every_db, "index.unused", "public.unread", **UNUSED)


async def test_no_verdict_while_the_counters_are_young(db):
    await filled(db)
    await db.execute("CREATE INDEX unread ON t (b)")
    assert await codes(db, unused_minimum_bytes=0) == []
    assert await codes(db, **UNUSED | {"unused_minimum_bytes": 10.0**9}) == []


async def test_what_keeps_a_promise_is_not_unused(db):
    await filled(db)
    await db.execute(
        "ALTER TABLE t ADD PRIMARY KEY (a); CREATE UNIQUE INDEX u ON t (b, a);"
        "ALTER TABLE t ADD EXCLUDE USING gist (int4range(a, a + 1) WITH &&);"
        "CREATE TABLE r (a int REFERENCES t); INSERT INTO r SELECT generate_series(1, 1000);"
        "CREATE INDEX only_one ON r (a)"
    )
    assert await codes(db, **UNUSED) == []


async def test_of_two_that_serve_a_foreign_key_one_may_go(db):
    await filled(db)
    await db.execute(
        "ALTER TABLE t ADD PRIMARY KEY (a);"
        "CREATE TABLE r (a int REFERENCES t); INSERT INTO r SELECT generate_series(1, 1000);"
        "CREATE INDEX one ON r (a); CREATE INDEX two ON r (a DESC)"
    )
    await fixed(db, "index.unused", "public.two", **UNUSED)


async def test_fixes_for_unused_and_redundant_ones_together_leave_the_foreign_key_one(db):
    await filled(db)
    await db.execute(
        "ALTER TABLE t ADD PRIMARY KEY (a);"
        "CREATE TABLE r (a int REFERENCES t, b int); INSERT INTO r SELECT generate_series(1, 1000);"
        "CREATE INDEX short ON r (a); CREATE INDEX long ON r (a, b)"
    )
    await fixed(db, "index.redundant", "public.short", **UNUSED)


async def test_a_partitioned_duplicate_is_as_large_as_its_parts(every_db):
    await every_db.execute(
        PARTITIONED + "INSERT INTO p SELECT i % 10, i, i FROM generate_series(1, 1000) i;"
        "CREATE INDEX one ON p (b); CREATE INDEX two ON p (b)"
    )
    [found] = await find(every_db.dsn, CHECKS, "index.duplicate")
    size = await every_db.fetchval(
        "SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree('two') WHERE isleaf"
    )
    assert found.evidence["size"].value == size > 0


async def test_a_partitioned_index_is_used_when_a_part_of_it_is(every_db):
    await every_db.execute(
        PARTITIONED + "INSERT INTO p SELECT i % 10, i, i FROM generate_series(1, 1000) i;"
        "CREATE INDEX read ON p (c); CREATE INDEX unread ON p (b)"
    )
    await every_db.execute("SET enable_seqscan = off; SELECT * FROM p1 WHERE c = 1")

    async def counted():
        return await every_db.fetchval(
            "SELECT sum(idx_scan) > 0 FROM pg_stat_user_indexes WHERE relname = 'p1'"
        )

    await eventually(counted)
    assert await codes(every_db, **UNUSED) == [("index.unused", "public.unread")]
    await fixed(every_db, "index.unused", "public.unread", **UNUSED)


# foreign keys


async def test_a_foreign_key_without_an_index(every_db):
    await every_db.execute(
        "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000);"
        "CREATE TABLE r (a int REFERENCES t); INSERT INTO r SELECT a FROM t"
    )
    await settled(every_db, "n_live_tup = 1000", "r")
    assert await verdicts(every_db.dsn, CHECKS) == set()
    limits = {"foreign_key_warning_rows": 1000.0}
    assert await verdicts(every_db.dsn, CHECKS, **limits) == {
        ("index.missing_foreign_key", "public.r (a)")
    }
    assert (
        await verdicts(every_db.dsn, CHECKS, **limits | {"foreign_key_warning_rows": 1001.0})
        == set()
    )
    await fixed(every_db, "index.missing_foreign_key", "public.r (a)")
    assert (
        await every_db.fetchval("SELECT indexname::text FROM pg_indexes WHERE tablename = 'r'")
        == "r_a_idx"
    )


async def test_deletes_make_a_small_table_count(db):
    await db.execute(
        "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000);"
        "CREATE TABLE r (a int REFERENCES t); INSERT INTO r SELECT 1 FROM generate_series(1, 100)"
    )
    await db.execute("DELETE FROM t WHERE a > 900")
    await settled(db, "n_tup_del = 100", "t")
    await settled(db, "n_live_tup = 100", "r")
    assert await verdicts(db.dsn, CHECKS) == set()
    assert len(await verdicts(db.dsn, CHECKS, foreign_key_scanned_rows=10_000)) == 1


SERVED = [
    "CREATE INDEX ON r (b, a)",
    "CREATE INDEX ON r (a, b, c)",
    "CREATE INDEX ON r (a, b) WHERE a IS NOT NULL",
    "CREATE INDEX ON r (a, b) WHERE b IS NOT NULL AND a IS NOT NULL",
    "CREATE UNIQUE INDEX ON r (b, a)",
    "ALTER TABLE r ADD PRIMARY KEY (a, b, c)",
]
NOT_SERVED = [
    "CREATE INDEX ON r (a)",
    "CREATE INDEX ON r (a, c, b)",
    "CREATE INDEX ON r (a, b) WHERE c > 0",
    "CREATE INDEX ON r (a, b) WHERE a IS NOT NULL OR b IS NOT NULL",
    "CREATE INDEX ON r (a) INCLUDE (b)",
    'CREATE INDEX ON r (a, b COLLATE "C")',
    "CREATE INDEX ON r (a, lower(b))",
    "CREATE INDEX ON r USING brin (a, b)",
]
TWO_COLUMNS = (
    "CREATE TABLE t (a int, b text, PRIMARY KEY (a, b));"
    "CREATE TABLE r (c int, b text, a int, FOREIGN KEY (a, b) REFERENCES t);"
)


@pytest.mark.parametrize("index", SERVED)
async def test_indexes_that_serve_a_foreign_key(db, index):
    await db.execute(TWO_COLUMNS + index)
    assert await codes(db) == []


@pytest.mark.parametrize("index", NOT_SERVED)
async def test_indexes_that_do_not(db, index):
    await db.execute(TWO_COLUMNS + index)
    [found] = await find(db.dsn, CHECKS, "index.missing_foreign_key")
    await apply(db.cluster, db.dsn, found.fix)
    assert not await find(db.dsn, CHECKS, "index.missing_foreign_key")


async def test_a_hash_index_serves_one_column(db):
    await db.execute(
        "CREATE TABLE t (a int PRIMARY KEY);"
        "CREATE TABLE r (a int REFERENCES t); CREATE INDEX ON r USING hash (a)"
    )
    assert await codes(db) == []


async def test_one_index_for_several_foreign_keys(db):
    """Two over the same column, and one over two columns whose index will begin with it."""
    await db.execute(
        "CREATE TABLE t (a int PRIMARY KEY, b int, UNIQUE (a, b));"
        "CREATE TABLE u (a int PRIMARY KEY);"
        "CREATE TABLE r (a int REFERENCES t, b int, FOREIGN KEY (a) REFERENCES u,"
        " FOREIGN KEY (a, b) REFERENCES t (a, b));"
        "CREATE TABLE s (a int REFERENCES t, FOREIGN KEY (a) REFERENCES u)"
    )
    assert await codes(db) == [
        ("index.missing_foreign_key", "public.r (a, b)"),
        ("index.missing_foreign_key", "public.s (a)"),
    ]
    for found in await find(db.dsn, CHECKS, "index.missing_foreign_key"):
        await apply(db.cluster, db.dsn, found.fix)
    assert await codes(db) == []


async def test_a_partitioned_table_once_and_built_partition_by_partition(every_db):
    await every_db.execute(
        "CREATE TABLE t (c int PRIMARY KEY);"
        + PARTITIONED
        + "ALTER TABLE p ADD FOREIGN KEY (c) REFERENCES t;"
        "CREATE INDEX own ON p1 (c)"
    )
    [found] = await find(every_db.dsn, CHECKS, "index.missing_foreign_key")
    assert "CREATE INDEX CONCURRENTLY" in found.fix.sql
    await fixed(every_db, "index.missing_foreign_key", "public.p (c)")
    assert (
        await every_db.fetchval("SELECT count(*) FROM pg_index WHERE indrelid = 'p1'::regclass")
        == 1
    )
    assert not await every_db.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid")


async def test_a_partitioned_table_whose_partitions_have_their_own(db):
    await db.execute(
        "CREATE TABLE t (c int PRIMARY KEY);"
        + PARTITIONED
        + "ALTER TABLE p ADD FOREIGN KEY (c) REFERENCES t;"
        f"CREATE INDEX ON p1 (c); CREATE INDEX ON {q(ODD)} (c, a)"
    )
    assert len(await codes(db)) == 1
    await db.execute(f"CREATE INDEX ON {q(LONG)} (c)")
    assert await codes(db) == []


async def test_a_partitioned_table_that_is_referred_to(every_db):
    await every_db.execute(
        "CREATE TABLE t (a int PRIMARY KEY) PARTITION BY RANGE (a);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE t2 PARTITION OF t DEFAULT;"
        "CREATE TABLE r (a int REFERENCES t)"
    )
    await fixed(every_db, "index.missing_foreign_key", "public.r (a)")


@pytest.mark.parametrize("name", [ODD, LONG, LONG[1:] + "yy"])
async def test_odd_names(every_db, name):
    n = q(name)
    await every_db.execute(
        f"CREATE SCHEMA {n}; CREATE TABLE {n}.{n} ({n} int PRIMARY KEY, z int);"
        f"CREATE TABLE {n}.r ({n} int REFERENCES {n}.{n}, z int);"
        f"CREATE INDEX {q(name[:-1] + 'z')} ON {n}.{n} (z);"
        f"CREATE INDEX {q(name[:-1] + 'w')} ON {n}.{n} (z)"
    )
    findings, _ = await run(every_db.dsn, CHECKS)
    assert {f.code for f in findings} == {"index.duplicate", "index.missing_foreign_key"}
    for found in findings:
        assert name in found.subject
        await apply(every_db.cluster, every_db.dsn, found.fix)
    assert await codes(every_db) == []


async def test_a_name_that_is_taken_already(db):
    await db.execute(
        "CREATE TABLE t (a int PRIMARY KEY); CREATE TABLE r (a int REFERENCES t);"
        "CREATE TABLE r_a_idx ()"
    )
    await fixed(db, "index.missing_foreign_key", "public.r (a)")


# bloat


async def bloated(db, key: str = "int") -> None:
    await db.execute(
        f"CREATE TABLE t (a {key}, b int) WITH (autovacuum_enabled = off);"
        f"INSERT INTO t SELECT (i % 1000)::text::{key}, i FROM generate_series(1, 60000) i;"
        "CREATE INDEX few ON t (a); CREATE INDEX many ON t (b);"
        "CREATE INDEX pair ON t (b, a) WHERE b % 2 = 0;"
        "CREATE INDEX e ON t ((b + 1)) WITH (fillfactor = 50)"
    )
    await db.execute("ANALYZE t")


BLOAT = {"index_bloat_info_wasted_bytes": 100_000.0, "index_bloat_minimum_percent": 30.0}


@pytest.mark.parametrize("key", ["int", "text", "char(8)", "numeric"])
async def test_a_fresh_index_is_not_bloated(every_db, key):
    """Deduplicated or not, partial, on an expression, with a fill factor of its own."""
    await bloated(every_db, key)
    assert not await find(every_db.dsn, CHECKS, "bloat.index", **BLOAT)


async def test_bloat_is_rebuilt(every_db):
    await bloated(every_db)
    await every_db.execute("DELETE FROM t WHERE b > 6000")
    await every_db.execute("VACUUM (INDEX_CLEANUP on, TRUNCATE off) t")
    await every_db.execute("ANALYZE t")
    found = await find(every_db.dsn, CHECKS, "bloat.index", **BLOAT)
    assert {f.subject for f in found} == {f"public.{n}" for n in ("few", "many", "pair", "e")}
    assert not await find(every_db.dsn, CHECKS, "bloat.index")
    for one in found:
        await apply(every_db.cluster, every_db.dsn, one.fix)
    assert not await find(every_db.dsn, CHECKS, "bloat.index", **BLOAT)


# who sees what


async def test_a_role_without_rights_sees_the_catalogue_and_says_what_it_does_not_see(every_db):
    await bloated(every_db)
    await every_db.execute("CREATE INDEX twice ON t (b)")
    findings, hidden = await run(every_db.dsn_as("plain"), CHECKS, **BLOAT)
    assert {(f.code, f.subject) for f in findings} == {("index.duplicate", "public.twice")}
    assert [h.what for h in hidden] == ["the bloat of 5 indexes (their columns' statistics)"]
    assert not (await run(every_db.dsn, CHECKS, **BLOAT))[1]


async def test_a_lock_does_not_hold_the_check_up(db):
    await db.execute(
        "CREATE TABLE t (a int); CREATE INDEX i ON t (a); CREATE INDEX j ON t (a);"
        "CREATE INDEX k ON t ((a + 1))"
    )
    async with db.connection() as holder:
        await holder.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        assert await codes(db, **UNUSED | {"unused_minimum_bytes": 1.0}) == [
            ("index.duplicate", "public.j"),
            ("index.unused", "public.i"),
            ("index.unused", "public.k"),
        ]
        [hidden] = (await run(db.dsn, CHECKS))[1]
        assert hidden.what.startswith("expressions of 1 index:")


async def test_a_healthy_database_has_no_finding(control):
    await control.execute(
        "CREATE TABLE t (a int PRIMARY KEY, b text UNIQUE, c int);"
        "CREATE TABLE r (a int REFERENCES t, b text, PRIMARY KEY (a, b));"
        "CREATE INDEX ON t (c DESC); CREATE INDEX ON t (lower(b));"
        "CREATE INDEX ON t (c) WHERE c > 5;"
        "INSERT INTO t SELECT i, i::text, i FROM generate_series(1, 20000) i;"
        "INSERT INTO r SELECT a, b FROM t; CREATE TEMP TABLE x (a int)"
    )
    await control.execute("ANALYZE")
    findings, hidden = await run(control.dsn, CHECKS)
    assert (findings, hidden) == ([], [])


async def test_on_a_standby_the_catalogue_is_judged_and_the_counters_are_not(primary_standby):
    primary, standby = primary_standby.primary, primary_standby.standby
    connection = await asyncpg.connect(primary.dsn())
    try:
        await connection.execute(
            "CREATE TABLE t (a int PRIMARY KEY, b int); CREATE TABLE r (a int REFERENCES t);"
            "CREATE INDEX one ON t (b); CREATE INDEX two ON t (b);"
            "INSERT INTO t SELECT i, i FROM generate_series(1, 1000) i"
        )

        async def seen():
            return await run(standby.dsn(), CHECKS, **UNUSED)

        async def arrived():
            return (await seen())[0]

        await eventually(arrived)
        findings, _ = await seen()
        assert {f.code for f in findings} == {"index.duplicate", "index.missing_foreign_key"}
        for found in findings:
            assert found.fix.caution.startswith("Run it on the primary.")
            await apply(primary, primary.dsn(), found.fix)

        async def gone():
            return not await arrived()

        await eventually(gone)
    finally:
        await connection.close()
