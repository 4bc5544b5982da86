"""Planted bottlenecks and healthy loads: async context managers that keep a load running."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from conftest import Database
from filban.cluster import Cluster

# Sessions report their counters once a second: the beginning is not measured.
STEADY_SECONDS = 1.2

Client = Callable[[asyncpg.Connection], Awaitable[Any]]


@contextlib.asynccontextmanager
async def clients(db: Database, count: int, work: Client, **kwargs: Any) -> AsyncIterator[None]:
    """So many connections, each of which does `work` again and again."""
    opened = [await db.connect(**kwargs) for _ in range(count)]

    async def loop(connection: asyncpg.Connection) -> None:
        while True:
            await work(connection)

    tasks = [asyncio.create_task(loop(c)) for c in opened]
    try:
        await asyncio.sleep(STEADY_SECONDS)
        yield
        assert not any(t.done() for t in tasks), [t for t in tasks if t.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in opened:
            connection.terminate()


@contextlib.asynccontextmanager
async def pgbench(
    db: Database, script: str, count: int, *options: str, steady: float = STEADY_SECONDS
) -> AsyncIterator[None]:
    """pgbench with one script: a client that costs next to nothing itself."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        Path(file.name).chmod(0o644)
        process = await asyncio.create_subprocess_exec(
            str(db.cluster.binaries.program("pgbench")), "-n", "-c", str(count), "-T", "120",
            *options, "-f", file.name, db.dsn,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            await asyncio.sleep(steady)
            yield
            assert process.returncode is None, (await process.stderr.read()).decode()  # type: ignore[union-attr]
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()


def executing(*statements: str) -> Client:
    """A client that runs these, each in a round trip."""

    async def work(connection: asyncpg.Connection) -> None:
        for statement in statements:
            await connection.execute(statement)

    return work


@contextlib.asynccontextmanager
async def cpu(db: Database) -> AsyncIterator[None]:
    """Arithmetic: nothing is read, nothing waited for."""
    async with clients(
        db, 4, executing("SELECT sum(sqrt(i) * ln(i)) FROM generate_series(1, 30000) i")
    ):
        yield


@contextlib.asynccontextmanager
async def reports(db: Database) -> AsyncIterator[None]:
    """Whole tables are read for a figure."""
    await db.execute(
        "CREATE TABLE sales AS SELECT i AS id, i % 977 AS shop, i * 1.5 AS price "
        "FROM generate_series(1, 300000) i"
    )
    await db.execute("VACUUM ANALYZE sales")
    await db.execute(f'ALTER DATABASE "{db.name}" SET max_parallel_workers_per_gather = 0')
    async with clients(db, 4, executing("SELECT avg(price) FROM sales WHERE shop % 7 = 3")):
        yield


@contextlib.asynccontextmanager
async def missing_index(db: Database) -> AsyncIterator[None]:
    """One row is looked up by a column without an index, again and again."""
    await db.execute(
        "CREATE TABLE accounts AS SELECT i AS id, md5(i::text) AS email "
        "FROM generate_series(1, 60000) i"
    )
    await db.execute("ALTER TABLE accounts ADD PRIMARY KEY (id)")
    await db.execute("VACUUM ANALYZE accounts")
    script = "\\set i random(1, 60000)\nSELECT id FROM accounts WHERE email = md5((:i)::text);\n"
    async with pgbench(db, script, 4, "-M", "prepared"):
        yield


@contextlib.asynccontextmanager
async def round_trips(db: Database) -> AsyncIterator[None]:
    """An ORM that asks row by row within its transaction, over a slow network."""
    await db.execute("CREATE TABLE items AS SELECT i AS id FROM generate_series(1, 1000) i")
    await db.execute("ALTER TABLE items ADD PRIMARY KEY (id)")

    async def work(connection: asyncpg.Connection) -> None:
        async with connection.transaction():
            for i in range(50):
                await connection.fetchval("SELECT id FROM items WHERE id = $1", i)
                await asyncio.sleep(0.01)

    async with clients(db, 6, work):
        yield


@contextlib.asynccontextmanager
async def hot_row(db: Database) -> AsyncIterator[None]:
    """One counter that every transaction updates."""
    await db.execute("CREATE TABLE counters (id int PRIMARY KEY, n bigint)")
    await db.execute("INSERT INTO counters VALUES (1, 0)")
    script = (
        "BEGIN;\nUPDATE counters SET n = n + 1 WHERE id = 1;\nSELECT pg_sleep(0.005);\nCOMMIT;\n"
    )
    async with pgbench(db, script, 8):
        yield


@contextlib.asynccontextmanager
async def alter_queue(db: Database) -> AsyncIterator[None]:
    """A migration waits for a report, and everybody else waits for the migration."""
    await db.execute("CREATE TABLE pages AS SELECT i AS id FROM generate_series(1, 1000) i")
    report, migration = await db.connect(), await db.connect()
    reporting = asyncio.create_task(report.execute("SELECT count(*), pg_sleep(60) FROM pages"))
    await asyncio.sleep(0.2)
    migrating = asyncio.create_task(migration.execute("ALTER TABLE pages ADD COLUMN title text"))
    await asyncio.sleep(0.1)
    try:
        async with clients(db, 6, executing("SELECT count(*) FROM pages")):
            yield
    finally:
        for task in (reporting, migrating):
            task.cancel()
        await asyncio.gather(reporting, migrating, return_exceptions=True)
        for connection in (report, migration):
            connection.terminate()


@contextlib.asynccontextmanager
async def forgotten_transaction(db: Database) -> AsyncIterator[None]:
    """A transaction that was left open keeps a row that others want."""
    await db.execute(
        "CREATE TABLE seats AS SELECT i AS id, 0 AS taken FROM generate_series(1, 9) i"
    )
    async with db.connection() as holder:
        await holder.execute("BEGIN; UPDATE seats SET taken = 1 WHERE id = 1")
        async with clients(db, 4, executing("UPDATE seats SET taken = 2 WHERE id = 1")):
            yield


@contextlib.asynccontextmanager
async def idle_before_alter(db: Database) -> AsyncIterator[None]:
    """The same, with a migration in between, which readers wait for."""
    await db.execute("CREATE TABLE rooms AS SELECT i AS id FROM generate_series(1, 9) i")
    async with db.connection() as holder:
        await holder.execute("BEGIN; SELECT * FROM rooms")
        migration = await db.connect()
        task = asyncio.create_task(migration.execute("ALTER TABLE rooms ADD COLUMN name text"))
        await asyncio.sleep(0.1)
        try:
            async with clients(db, 4, executing("SELECT * FROM rooms")):
                yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            migration.terminate()


@contextlib.asynccontextmanager
async def advisory(db: Database) -> AsyncIterator[None]:
    """A job queue that lets one worker in at a time."""
    work = executing(
        "SELECT pg_advisory_lock(42)", "SELECT pg_sleep(0.02)", "SELECT pg_advisory_unlock(42)"
    )
    async with clients(db, 6, work):
        yield


@contextlib.asynccontextmanager
async def spills(db: Database) -> AsyncIterator[None]:
    """Sorts that do not fit into work_mem."""
    await db.execute(
        "CREATE TABLE visits AS SELECT i AS id, md5(i::text) AS page "
        "FROM generate_series(1, 60000) i"
    )
    await db.execute("VACUUM ANALYZE visits")
    await db.execute(f"ALTER DATABASE \"{db.name}\" SET work_mem = '64kB'")
    await db.execute(f'ALTER DATABASE "{db.name}" SET max_parallel_workers_per_gather = 0')
    statement = "SELECT count(*) FROM (SELECT page FROM visits ORDER BY page, id OFFSET 0) v"
    async with clients(db, 3, executing(statement)):
        yield


@contextlib.asynccontextmanager
async def small_commits(db: Database) -> AsyncIterator[None]:
    """A commit for each row, each of which waits for the disk."""
    await db.execute("CREATE TABLE events (id bigserial PRIMARY KEY, what text)")
    async with pgbench(db, "INSERT INTO events (what) VALUES ('seen');\n", 8):
        yield


@contextlib.asynccontextmanager
async def checkpoint_storm(db: Database) -> AsyncIterator[None]:
    """max_wal_size is so small that WAL is mostly images of whole pages."""
    await db.execute(
        "CREATE TABLE wide WITH (fillfactor = 50) AS "
        "SELECT i AS id, repeat('x', 400) AS body FROM generate_series(1, 40000) i"
    )
    await db.execute("ALTER TABLE wide ADD PRIMARY KEY (id)")
    # 64 pages each, so that the commits are few and the WAL is much
    script = (
        "\\set i random(1, 40000)\n"
        "UPDATE wide SET body = repeat('y', 400) FROM generate_series(0, 63) n "
        "WHERE id = (:i + n * 613) % 40000;\n"
    )
    db.cluster.configure({"max_wal_size": "32MB", "min_wal_size": "32MB"})
    await db.cluster.reload()
    try:
        async with pgbench(db, script, 8):
            yield
    finally:
        db.cluster.configure({"max_wal_size": None, "min_wal_size": None})
        await db.cluster.reload()


@contextlib.asynccontextmanager
async def exhausted(db: Database) -> AsyncIterator[None]:
    """Pools without a maximum: every slot is taken by somebody who does nothing."""
    held: list[asyncpg.Connection] = []
    plain = Database(db.cluster, db.name)
    with contextlib.suppress(asyncpg.TooManyConnectionsError):
        while True:
            held.append(await plain.connect("plain"))
    try:
        yield
    finally:
        for connection in held:
            connection.terminate()


@contextlib.asynccontextmanager
async def churn(db: Database) -> AsyncIterator[None]:
    """A connection for each statement."""
    await db.execute("CREATE TABLE tiny AS SELECT 1 AS id")
    async with pgbench(db, "SELECT id FROM tiny;\n", 8, "-C"):
        yield


@contextlib.asynccontextmanager
async def planning(db: Database) -> AsyncIterator[None]:
    """A view of many joins, of which each query wants a row, planned anew each time."""
    sides = [f"side{i}" for i in range(9)]
    await db.execute(
        f"CREATE TABLE fact (id int PRIMARY KEY, {', '.join(s + ' int' for s in sides)})"
    )
    await db.execute(
        f"INSERT INTO fact SELECT i, {', '.join('i' for _ in sides)} FROM generate_series(1, 50) i"
    )
    for side in sides:
        await db.execute(f"CREATE TABLE {side} (id int PRIMARY KEY, name text)")
        await db.execute(f"INSERT INTO {side} SELECT i, i FROM generate_series(1, 50) i")
    await db.execute("VACUUM ANALYZE")
    joins = " ".join(f"JOIN {side} ON {side}.id = fact.{side}" for side in sides)
    await db.execute(f"CREATE VIEW whole AS SELECT fact.id, side0.name FROM fact {joins}")
    await db.execute(f'ALTER DATABASE "{db.name}" SET join_collapse_limit = 12')
    async with clients(db, 3, executing("SELECT * FROM whole WHERE id = 7")):
        yield


@contextlib.asynccontextmanager
async def jit(db: Database) -> AsyncIterator[None]:
    """Short statements whose estimated cost is above jit_above_cost."""
    await db.execute(
        "CREATE TABLE points AS SELECT i AS id, i % 10 AS a, i % 7 AS b "
        "FROM generate_series(1, 2000) i"
    )
    await db.execute("VACUUM ANALYZE points")
    for name in ("jit_above_cost", "jit_optimize_above_cost", "jit_inline_above_cost"):
        await db.execute(f'ALTER DATABASE "{db.name}" SET {name} = 1')
    statement = (
        "SELECT sum(a * b + id), avg(a - b), max(id % 3) FROM points WHERE a + b > 5 GROUP BY a"
    )
    async with clients(db, 3, executing(statement)):
        yield


@contextlib.asynccontextmanager
async def dead_rows(db: Database) -> AsyncIterator[None]:
    """A job table that vacuum has never seen: mostly dead rows, all of whose pages are read."""
    await db.execute(
        "CREATE TABLE jobs (id int, done bool, body text) WITH (autovacuum_enabled = off)"
    )
    await db.execute(
        "INSERT INTO jobs SELECT i, false, repeat('x', 200) FROM generate_series(1, 100000) i"
    )
    await db.execute("DELETE FROM jobs WHERE id % 100 <> 0")
    count = "(SELECT count(*) FROM jobs WHERE NOT done)"
    async with clients(db, 3, executing(f"SELECT {' + '.join([count] * 9)}")):
        yield


@contextlib.asynccontextmanager
async def deadlocks(db: Database) -> AsyncIterator[None]:
    """Two rows that are locked in either order."""
    await db.execute("CREATE TABLE purses AS SELECT i AS id, 0 AS sum FROM generate_series(1, 2) i")
    turns = iter(range(1_000_000))

    async def work(connection: asyncpg.Connection) -> None:
        first = next(turns) % 2 + 1
        with contextlib.suppress(asyncpg.DeadlockDetectedError):
            async with connection.transaction():
                await connection.execute("UPDATE purses SET sum = sum + 1 WHERE id = $1", first)
                await asyncio.sleep(0.01)
                await connection.execute("UPDATE purses SET sum = sum + 1 WHERE id = $1", 3 - first)

    async with clients(db, 4, work):
        yield


@contextlib.asynccontextmanager
async def slow_copy(db: Database) -> AsyncIterator[None]:
    """Clients that send their rows slower than the server takes them."""
    await db.execute("CREATE TABLE readings (id int, value float)")

    async def rows() -> AsyncIterator[bytes]:
        for i in range(100):
            await asyncio.sleep(0.02)
            yield b"%d\t1.5\n" % i * 10

    async def work(connection: asyncpg.Connection) -> None:
        await connection.copy_to_table("readings", source=rows())

    async with clients(db, 4, work):
        yield


@contextlib.asynccontextmanager
async def all_different(db: Database) -> AsyncIterator[None]:
    """Statements that are all different throw each other out of pg_stat_statements."""
    columns = [f"c{i}" for i in range(30)]
    await db.execute(f"CREATE TABLE wide ({', '.join(c + ' int' for c in columns)})")
    script = "".join(f"\\set {n} random(0, 29)\n" for n in "abcd")
    async with pgbench(db, script + "SELECT c:a, c:b, c:c, c:d FROM wide;\n", 24):
        yield


@contextlib.asynccontextmanager
async def bulk_inserts(db: Database) -> AsyncIterator[None]:
    """Many writers make one table grow."""
    await db.execute("CREATE UNLOGGED TABLE heap (id int, body text)")
    await db.execute("ALTER TABLE heap ALTER body SET STORAGE PLAIN")
    script = "INSERT INTO heap SELECT i, repeat('x', 7000) FROM generate_series(1, 200) i;\n"
    async with pgbench(db, script, 16):
        yield


@contextlib.asynccontextmanager
async def notify_queue(db: Database) -> AsyncIterator[None]:
    """Transactions that notify wait for the disk one after another, not together."""
    await db.execute("CREATE TABLE news (id bigserial PRIMARY KEY)")
    script = "BEGIN;\nINSERT INTO news DEFAULT VALUES;\nNOTIFY news, 'x';\nCOMMIT;\n"
    async with pgbench(db, script, 8):
        yield


@contextlib.asynccontextmanager
async def disk_reads(db: Database) -> AsyncIterator[None]:
    """A table that does not fit into shared_buffers, past the kernel's cache (debug_io_direct)."""
    await db.execute(
        "CREATE TABLE archive WITH (fillfactor = 10) AS "
        "SELECT i AS id, repeat('x', 100) AS body FROM generate_series(1, 60000) i"
    )
    await db.execute("ALTER TABLE archive ADD PRIMARY KEY (id)")
    await db.execute("VACUUM ANALYZE archive")
    script = "\\set i random(1, 60000)\nSELECT body FROM archive WHERE id = :i;\n"
    async with pgbench(db, script, 8, "-M", "prepared"):
        yield


@contextlib.asynccontextmanager
async def frozen_standby(db: Database, standby: Cluster) -> AsyncIterator[None]:
    """Commits wait for a synchronous standby that does not answer."""
    await db.execute("CREATE TABLE payments (id bigserial PRIMARY KEY, sum int)")
    db.cluster.configure({"synchronous_standby_names": "*"})
    await db.cluster.reload()
    async with clients(db, 4, executing("INSERT INTO payments (sum) VALUES (1)")):
        standby.pause()
        try:
            await asyncio.sleep(0.2)
            yield
        finally:
            standby.resume()
            db.cluster.configure({"synchronous_standby_names": None})
            await db.cluster.reload()


@contextlib.asynccontextmanager
async def reader_before_replay(db: Database, standby: Cluster) -> AsyncIterator[None]:
    """A report on the standby still sees rows that the primary has vacuumed away."""
    await db.execute("CREATE TABLE seen AS SELECT i AS id FROM generate_series(1, 1000) i")
    await replayed(db, standby)
    async with Database(standby, db.name).connection() as reader:
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM seen")
        await db.execute("DELETE FROM seen WHERE id > 10")
        await db.execute("VACUUM seen")
        await asyncio.sleep(0.5)
        yield


async def replayed(db: Database, standby: Cluster) -> None:
    """Wait until the standby has what the primary has now."""
    position = await db.fetchval("SELECT pg_current_wal_flush_lsn()")
    copy = Database(standby, "postgres")
    while not await copy.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", position):
        await asyncio.sleep(0.02)


# Healthy


@contextlib.asynccontextmanager
async def idle(db: Database) -> AsyncIterator[None]:
    """Connected, and nothing to do."""
    async with db.connection(), db.connection():
        yield


async def _pgbench_tables(db: Database) -> None:
    await db.execute(
        "CREATE TABLE orders AS SELECT i AS id, i % 100 AS customer, 0 AS n "
        "FROM generate_series(1, 20000) i"
    )
    await db.execute("ALTER TABLE orders ADD PRIMARY KEY (id)")
    await db.execute("CREATE INDEX ON orders (customer)")
    await db.execute("VACUUM ANALYZE orders")


@contextlib.asynccontextmanager
async def light_oltp(db: Database) -> AsyncIterator[None]:
    """A few short transactions a second that read and write by primary key."""
    await _pgbench_tables(db)
    script = (
        "\\set i random(1, 20000)\nBEGIN;\nSELECT n FROM orders WHERE id = :i;\n"
        "UPDATE orders SET n = n + 1 WHERE id = :i;\nCOMMIT;\n"
    )
    async with pgbench(db, script, 2, "-R", "20"):
        yield


@contextlib.asynccontextmanager
async def indexed_reads(db: Database) -> AsyncIterator[None]:
    """Look-ups by index at a moderate rate."""
    await _pgbench_tables(db)
    script = "\\set i random(1, 20000)\nSELECT n FROM orders WHERE id = :i;\n"
    async with pgbench(db, script, 4, "-M", "prepared", "-R", "100"):
        yield


@contextlib.asynccontextmanager
async def batches(db: Database) -> AsyncIterator[None]:
    """A loader that copies a thousand rows at a time and pauses."""
    await db.execute("CREATE TABLE loaded (id int, value text)")
    rows: Sequence[tuple[int, str]] = [(i, "value") for i in range(1000)]

    async def work(connection: asyncpg.Connection) -> None:
        await connection.copy_records_to_table("loaded", records=rows)
        await asyncio.sleep(0.3)

    async with clients(db, 1, work):
        yield


@contextlib.asynccontextmanager
async def one_forgotten(db: Database) -> AsyncIterator[None]:
    """A forgotten transaction that nobody waits for, beside a light load."""
    async with db.connection() as holder, light_oltp(db):
        await holder.execute("BEGIN; SELECT 1")
        await asyncio.sleep(1.1)
        yield
