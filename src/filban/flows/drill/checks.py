"""What is asked of a restored copy: structure, every row, the user's own assertions."""

from __future__ import annotations

import re

from filban.cluster import Cluster, run_program
from filban.config import Assertion
from filban.errors import NotGood, NotSupported
from filban.pg import Limits, connection, parse
from filban.pg.driver_errors import statement_errors

_WRITING = Limits(read_only=False, statement_timeout_ms=0)
_READING = Limits(statement_timeout_ms=0)
# pg_amcheck ends with 2 when it has found corruption (bin/pg_amcheck/pg_amcheck.c).
_CORRUPT = 2


async def databases(copy: Cluster) -> list[str]:
    """Every database that can be connected to."""
    async with connection(parse(copy.dsn_socket()), _READING) as session:
        rows = await session.fetch(
            "SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname"
        )
    return [row[0] for row in rows]


async def amcheck(copy: Cluster, *, deep: bool) -> str:
    """Heap and B-tree structure of every table and index. Raises NotGood for corruption."""
    if not copy.binaries.has_library("amcheck"):
        raise NotSupported(
            f"{copy.binaries} has no amcheck", hint="install its contrib package to check structure"
        )
    names = await databases(copy)
    for name in names:
        async with connection(parse(copy.dsn_socket(name)), _WRITING) as session:
            with statement_errors("creating amcheck in the copy"):
                await session.execute(
                    "CREATE EXTENSION IF NOT EXISTS amcheck WITH SCHEMA pg_catalog"
                )
    arguments = ["--all", "--exclude-database=template0"]
    if deep:
        arguments.append("--heapallindexed")
    done = await run_program(
        copy.binaries.program("pg_amcheck"), *arguments,
        "--host", str(copy.socket_dir), "--port", str(copy.port), "--username", copy.superuser,
        as_owner_of=copy.data_dir, check=False,
    )  # fmt: skip
    if done.status == 0:
        return f"{len(names)} databases"
    first = next((ln for ln in done.output.splitlines() if ln.strip()), "it printed nothing")
    what = "found corruption" if done.status == _CORRUPT else "could not finish"
    raise NotGood(f"pg_amcheck {what}: {first}", hint="\n".join(done.output.splitlines()[:10]))


async def dump(copy: Cluster) -> str:
    """pg_dump of every database to nowhere: each row is read and written as text once."""
    names = await databases(copy)
    for name in names:
        await run_program(
            copy.binaries.program("pg_dump"), "--format=plain", "--file=/dev/null",
            "--no-sync", "-d", copy.dsn_socket(name), as_owner_of=copy.data_dir,
        )  # fmt: skip
    return f"{len(names)} databases"


async def checksums(copy: Cluster) -> str:
    """pg_checksums over the stopped copy. Raises NotGood, NotSupported if it has none."""
    done = await run_program(
        copy.binaries.program("pg_checksums"), "--check", "-D", copy.data_dir,
        as_owner_of=copy.data_dir, check=False,
    )  # fmt: skip
    if done.status == 0:
        match = re.search(r"Blocks scanned:\s+(\d+)", done.stdout)
        return f"{int(match[1]):,} blocks" if match else ""
    if "not enabled" in done.output:
        raise NotSupported(
            "the cluster has no data checksums", hint="pg_checksums --enable on the stopped server"
        )
    bad = [ln for ln in done.output.splitlines() if "checksum verification failed" in ln]
    raise NotGood(
        f"{len(bad)} blocks are damaged: {bad[0]}" if bad else f"pg_checksums: {done.output[-200:]}"
    )


async def assertion(copy: Cluster, one: Assertion, database: str) -> str:
    """Raises NotGood unless the statement's first value is true."""
    async with connection(parse(copy.dsn_socket(one.database or database)), _READING) as session:
        with statement_errors(f"asserting {one.name}"):
            value = await session.fetchval(one.sql)
    if value is not True:
        raise NotGood(f"it returned {value!r}, not true")
    return "true"
