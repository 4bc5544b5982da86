"""`filban logs` against pgBadger: CPU seconds and memory on stderr, csvlog and jsonlog.

Needs PostgreSQL 15 or later with contrib and pgbench, and pgBadger (apt-get install pgbadger
libtext-csv-xs-perl); about 1.5 GB of disk. A throwaway server writes the same events in all three
formats for --seconds under a mix of pgbench (simple and prepared), an application with an ORM's
statement, errors, lock waits, deadlocks, temporary files, connections, checkpoints, autovacuum and
auto_explain. What it wrote is then repeated with its times and process numbers shifted until each
file has --megabytes: real lines, but the same ones again.

Both make their full report, an HTML page, over each file: user + system seconds of the process,
which counts every core, and the peak of resident memory, both as the kernel's wait4 tells them.
The log's totals are held against pg_stat_statements. At last filban alone reads --large megabytes
of each format: its memory must not grow with the file.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1]))

from result import finish

from filban.cluster import Cluster, find_all, throwaway

PREFIX = "%m [%p] %u@%d,app=%a,%h "
SETTINGS: dict[str, str | int | bool] = {
    "logging_collector": True, "log_destination": "stderr,csvlog,jsonlog", "log_directory": "log",
    "log_filename": "server.log", "log_file_mode": "0644", "log_rotation_age": 0,
    "log_rotation_size": 0, "log_line_prefix": PREFIX, "log_timezone": "UTC",
    "log_min_duration_statement": 0, "log_connections": True, "log_disconnections": True,
    "log_lock_waits": True, "deadlock_timeout": "100ms", "log_temp_files": 0,
    "log_checkpoints": True, "checkpoint_timeout": "30s", "log_autovacuum_min_duration": 0,
    "autovacuum_naptime": "1s", "work_mem": "64kB", "shared_buffers": "128MB",
    "compute_query_id": "on", "shared_preload_libraries": "auto_explain,pg_stat_statements",
    "auto_explain.log_min_duration": "5ms", "auto_explain.log_analyze": True,
    "auto_explain.log_timing": False,
}  # fmt: skip
SCHEMA = """
CREATE EXTENSION pg_stat_statements;
CREATE TABLE docs (
  id serial PRIMARY KEY, title text, body text, author int, at timestamptz DEFAULT now());
CREATE INDEX ON docs (author);
"""
APPLICATION = r"""\set a random(1, 100000)
\set b random(1, 1000)
INSERT INTO docs (title, body, author) VALUES ('Title :a', 'it''s number :a of many', :b);
SELECT id, title, at FROM docs WHERE author = :b ORDER BY at DESC LIMIT 10;
SELECT docs.id AS docs_id, docs.title AS docs_title, docs.body AS docs_body,
  docs.author AS docs_author, docs.at AS docs_at, branches_1.bid AS branches_1_bid,
  branches_1.bbalance AS branches_1_bbalance, branches_1.filler AS branches_1_filler
  FROM docs LEFT OUTER JOIN pgbench_branches AS branches_1 ON branches_1.bid = docs.author
  WHERE docs.author = :b AND docs.id IN (:a, :b, 3, 4) ORDER BY docs.at DESC LIMIT 20 OFFSET 0
  /*route='%2Fdocs',traceparent='00-:a-:b-01'*/;
UPDATE docs SET body = 'changed by :a'
  WHERE id = :b;
"""
HEAVY = r"""\set a random(1, 100000)
SELECT * FROM pgbench_accounts ORDER BY filler, abalance LIMIT 3 OFFSET :a;
\sleep 200 ms
"""
BROKEN = (
    "SELECT 1 / 0",
    "SELECT * FROM nothing_{n}",
    "INSERT INTO docs (id, title) VALUES (1, 'again')",
    "SET statement_timeout = '20ms'; SELECT pg_sleep(1)",
    "SET statement_timeout = 0",
)
COUNTED = "pg_stat_statements.json"  # beside the logs: query -> calls
FORMATS = {"stderr": "server.log", "csvlog": "server.csv", "jsonlog": "server.json"}
LIMITS = {"stderr": 10.0, "csvlog": 20.0, "jsonlog": 20.0}
LIMIT_RSS_MB = 300


@dataclass(frozen=True)
class Cost:
    cpu_seconds: float
    wall_seconds: float
    rss_mb: float


async def bench(cluster: Cluster, app: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        cluster.binaries.program("pgbench"), *arguments, cluster.dsn(),
        env={**os.environ, "PGAPPNAME": app}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


async def trouble(cluster: Cluster, seconds: float, seed: int) -> None:
    """Errors, cancelled statements, lock waits and deadlocks."""
    chosen = random.Random(seed)
    named = {"application_name": "trouble"}
    one, two, three = [await asyncpg.connect(cluster.dsn(), server_settings=named) for _ in "123"]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for text in BROKEN:
            with contextlib.suppress(asyncpg.PostgresError):
                await one.execute(text.format(n=chosen.randrange(9)))
        await asyncio.gather(_locks(two, 1, 2), _locks(three, 2, 1))
        await asyncio.sleep(0.3)
    for connection in (one, two, three):
        await connection.close()


async def _locks(connection: asyncpg.Connection, first: int, second: int) -> None:
    update = "UPDATE pgbench_branches SET bbalance = bbalance WHERE bid = {}"
    with contextlib.suppress(asyncpg.PostgresError):
        async with connection.transaction():
            await connection.execute(update.format(first))
            await asyncio.sleep(0.15)
            await connection.execute(update.format(second))


async def generate(directory: Path, seconds: int, seed: int) -> dict[str, int]:
    """The three logs of one run, and calls by query of pg_stat_statements."""
    able = [b for b in find_all() if b.is_server and b.major >= 15 and b.has("pgbench")]
    binaries = next(b for b in able if b.has_library("auto_explain"))
    application, heavy = str(directory / "application.sql"), str(directory / "heavy.sql")
    Path(application).write_text(APPLICATION)
    Path(heavy).write_text(HEAVY)
    async with throwaway(binaries=binaries, settings=SETTINGS) as cluster:
        admin = await asyncpg.connect(cluster.dsn())
        await admin.execute(SCHEMA)
        await (await bench(cluster, "init", "-i", "-q", "-s", "2")).wait()
        for_ = ("-T", str(seconds), f"--random-seed={seed}")
        scripts = [
            await bench(cluster, "tpcb", "-c", "3", "-R", "900", *for_),
            await bench(cluster, "prepared", "-c", "2", "-M", "prepared", "-R", "300", *for_),
            await bench(cluster, "app", "-c", "2", "-R", "500", "-f", application, *for_),
            await bench(cluster, "heavy", "-c", "1", "-f", heavy, *for_),
            await bench(cluster, "short", "-c", "2", "-C", "-S", "-R", "40", *for_),
        ]  # fmt: skip
        await trouble(cluster, seconds, seed)
        for script in scripts:
            await script.wait()
        rows = await admin.fetch(
            "SELECT query, sum(calls)::int AS calls FROM pg_stat_statements GROUP BY query"
        )
        await admin.close()
        await cluster.stop()
        for name in FORMATS.values():
            shutil.copy(cluster.data_dir / "log" / name, directory / f"once.{name}")
    return {row["query"]: row["calls"] for row in rows}


_TIME = rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
_HEADS = {
    "stderr": re.compile(rb"(?m)^(" + _TIME + rb")( UTC \[)(\d+)(\])"),
    "csvlog": re.compile(rb"(?m)^(" + _TIME + rb')( UTC,(?:"[^"]*")?,(?:"[^"]*")?,)(\d+)(,)'),
    "jsonlog": re.compile(rb'(?m)^(?<=)(\{"timestamp":"' + _TIME + rb')(.{0,120}?"pid":)(\d+)(,)'),
}


def repeated(text: bytes, kind: str, length: timedelta, copies: int) -> Iterator[bytes]:
    """The text again and again, each copy later and by other processes."""
    for copy in range(copies):

        def shifted(match: re.Match[bytes], copy: int = copy) -> bytes:
            head = match[1][:-23]
            at = datetime.fromisoformat(match[1][-23:].decode()) + copy * length
            moved = at.isoformat(" ", "milliseconds").encode()
            return head + moved + match[2] + b"%d" % (int(match[3]) + 1000 * copy) + match[4]

        yield _HEADS[kind].sub(shifted, text)


def enlarge(directory: Path, kind: str, megabytes: int, seconds: int) -> Path:
    name = FORMATS[kind]
    text = (directory / f"once.{name}").read_bytes()
    copies = max(1, -(-megabytes * 1_000_000 // len(text)))
    file = directory / name
    with file.open("wb") as out:
        for piece in repeated(text, kind, timedelta(seconds=seconds + 60), copies):
            out.write(piece)
    print(f"{kind}: {len(text) / 1e6:.0f} MB written by the server, {copies} times", flush=True)
    return file


def cost(*command: str | Path, stdout: Path) -> Cost:
    began = time.monotonic()
    with stdout.open("wb") as out:
        child = subprocess.Popen([str(c) for c in command], stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command[0]} ended with {child.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(cpu, time.monotonic() - began, usage.ru_maxrss / 1024)


def ours(file: Path, directory: Path, *options: str | Path) -> Cost:
    return cost(sys.executable, "-m", "filban", "logs", file, *options,
                stdout=directory / "ours.out")  # fmt: skip


def pgbadger(file: Path, kind: str, directory: Path) -> Cost:
    kinds = {"stderr": "stderr", "csvlog": "csv", "jsonlog": "jsonlog"}
    prefix = ("-p", PREFIX) if kind == "stderr" else ()
    page = directory / "peer.html"
    return cost("pgbadger", "-q", "--pid-dir", directory, "-f", kinds[kind], *prefix, "-o", page,
                file, stdout=directory / "peer.out")  # fmt: skip


def truth(directory: Path, counted: dict[str, int]) -> tuple[int, int]:
    """(statements of pg_stat_statements with just the log's calls, all of them): on the log as the
    server wrote it. Known to differ: statements of a string of several (one line), and BEGIN and
    COMMIT of the extended protocol, which pg_stat_statements counts only once a session."""
    from filban import sql

    ours(directory / "once.server.csv", directory, "--json")
    report = json.loads((directory / "ours.out").read_text())
    logged = {s["fingerprint"]: s["calls"] for s in report["statements"]}
    sums: dict[str, int] = {}
    for text, calls in counted.items():
        key = sql.fingerprint(text)
        sums[key] = sums.get(key, 0) + calls
    compared = {key: calls for key, calls in sums.items() if key in logged}
    return sum(logged[key] == calls for key, calls in compared.items()), len(compared)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=300, help="of each file, at least")
    parser.add_argument("--seconds", type=int, default=15, help="for which the server writes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3, help="of ours; the median counts")
    parser.add_argument("--large", type=int, default=1000, help="MB for memory alone; 0: none")
    parser.add_argument("--logs", type=Path, help="keep the server's logs here, and use them again")
    options = parser.parse_args()
    if shutil.which("pgbadger") is None:
        raise SystemExit("pgbadger is not here: apt-get install pgbadger libtext-csv-xs-perl")
    with tempfile.TemporaryDirectory(prefix="filban-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        counted = logs_of_a_server(directory, options)
        right, compared = truth(directory, counted)
        print(f"calls as in pg_stat_statements: {right} of {compared} statements", flush=True)
        metrics: dict[str, Any] = {"calls_equal": right, "calls_compared": compared}
        peers: dict[str, Any] = {}
        for kind in FORMATS:
            measured = _measure(kind, directory, options)
            metrics |= {f"{kind}_{key}": value for key, value in measured[0].items()}
            peers |= {f"pgbadger_{kind}_{key}": value for key, value in measured[1].items()}
    finish("profile/logs", metrics, peers, pgbadger=_version(), megabytes=options.megabytes)


def logs_of_a_server(directory: Path, options: argparse.Namespace) -> dict[str, int]:
    """Written now, or kept from an earlier run."""
    kept: Path | None = options.logs
    if kept is None or not (kept / COUNTED).exists():
        counted = asyncio.run(generate(directory, options.seconds, options.seed))
        (directory / COUNTED).write_text(json.dumps(counted))
        if kept is not None:
            shutil.copytree(directory, kept, dirs_exist_ok=True)
        return counted
    shutil.copytree(kept, directory, dirs_exist_ok=True)
    return dict(json.loads((directory / COUNTED).read_text()))


def _file(directory: Path, kind: str, megabytes: int, seconds: int) -> Path:
    """In a process of its own: what this one has held counts as memory of those it starts."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(enlarge, directory, kind, megabytes, seconds).result()


def _measure(
    kind: str, directory: Path, options: argparse.Namespace
) -> tuple[dict[str, float], dict[str, float]]:
    file = _file(directory, kind, options.megabytes, options.seconds)
    size = file.stat().st_size / 1e6
    page = ("--html", directory / "ours.html")
    mine = [ours(file, directory, *page)]
    peer = pgbadger(file, kind, directory)
    mine += [ours(file, directory, *page) for _ in range(options.runs - 1)]
    mine.sort(key=lambda c: c.cpu_seconds)
    median, rss = mine[len(mine) // 2], max(c.rss_mb for c in mine)
    ratio = peer.cpu_seconds / median.cpu_seconds
    fast, slow = size / median.cpu_seconds, size / peer.cpu_seconds
    print(f"{kind}, {size:.0f} MB: {ratio:.1f} times ({_held(ratio >= LIMITS[kind])}: "
          f"at least {LIMITS[kind]:.0f})")  # fmt: skip
    print(f"  filban    {median.cpu_seconds:6.2f} s ({fast:5.1f} MB/s), {rss:.0f} MB of memory "
          f"({_held(rss <= LIMIT_RSS_MB)}: at most {LIMIT_RSS_MB})")  # fmt: skip
    print(f"  pgBadger  {peer.cpu_seconds:6.2f} s ({slow:5.1f} MB/s), {peer.rss_mb:.0f} MB",
          flush=True)  # fmt: skip
    measured = {
        "cpu_seconds": round(median.cpu_seconds, 2),
        "mb_per_cpu_second": round(fast, 1),
        "wall_seconds": round(median.wall_seconds, 2),
        "rss_mb": round(rss),
        "times_pgbadger": round(ratio, 1),
        **_large(kind, directory, options),
    }
    theirs = {
        "cpu_seconds": round(peer.cpu_seconds, 1),
        "mb_per_cpu_second": round(slow, 2),
        "rss_mb": round(peer.rss_mb),
    }
    file.unlink()
    return measured, theirs


def _large(kind: str, directory: Path, options: argparse.Namespace) -> dict[str, float]:
    """Our memory over a file some times as large."""
    if not options.large:
        return {}
    file = _file(directory, kind, options.large, options.seconds)
    large = ours(file, directory, "--html", directory / "ours.html")
    held = _held(large.rss_mb <= LIMIT_RSS_MB)
    print(f"  filban    {large.cpu_seconds:6.2f} s, {large.rss_mb:.0f} MB of memory ({held}) "
          f"for {options.large} MB", flush=True)  # fmt: skip
    return {"large_rss_mb": round(large.rss_mb)}


def _held(holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"


def _version() -> str:
    run = subprocess.run(["pgbadger", "--version"], capture_output=True, text=True, check=True)
    return run.stdout.strip().rpartition(" ")[2]


if __name__ == "__main__":
    main()
