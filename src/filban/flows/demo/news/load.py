"""Load the news database: one generating process a table, its output piped into COPY."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import asyncpg

from filban.errors import ProgramFailed
from filban.flows.demo.news.generate import TABLES
from filban.flows.progress import Step
from filban.pg import Query, Session
from filban.pg.connect import statement_errors

PACKAGE = "filban.flows.demo.news"
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class TableSize:
    """One table as it stands on the server; size_bytes with its indexes and TOAST."""

    name: str
    rows_estimated: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading took. `copy_seconds` covers generating and COPY, which overlap."""

    rows: dict[str, int]
    copy_bytes: int
    copy_seconds: float
    keys_seconds: float
    sizes: tuple[TableSize, ...]


async def load(session: Session, articles: int, seed: int, step: Step) -> Loaded:
    """Make the tables, fill them, build their keys, gather statistics.

    step: advanced by articles. Raises ProgramFailed (a generator died), StatementFailed,
    ConnectionLost, ExtraMissing (from the generator's own start).
    """
    connection, major = session.connection, session.server.major
    with statement_errors("loading the news database"):
        await connection.execute(Query(PACKAGE, "tables").text(major))
        started = time.perf_counter()
        rows, size = {}, 0
        for table in TABLES:
            advance = step.advance if table == "articles" else None
            rows[table], part = await _copy(connection, table, articles, seed, advance)
            size += part
        copied = time.perf_counter()
        await connection.execute(Query(PACKAGE, "keys").text(major))
        # Freezes what was loaded as well, so that no read of the demo pays for hint bits.
        await connection.execute("VACUUM (FREEZE, ANALYZE)")
        sizes = await session.rows(Query(PACKAGE, "sizes"), TableSize)
    return Loaded(rows, size, copied - started, time.perf_counter() - copied, tuple(sizes))


async def _copy(
    connection: asyncpg.Connection,
    table: str,
    articles: int,
    seed: int,
    advance: Callable[[int], None] | None,
) -> tuple[int, int]:
    """COPY one table from its generator; (rows, bytes)."""
    rows = size = 0
    async with _generator(table, articles, seed) as stream:

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal rows, size
            while chunk := await stream.read(CHUNK_BYTES):
                rows += chunk.count(b"\n")  # a newline inside a value is written \n: two characters
                size += len(chunk)
                yield chunk
                if advance:
                    advance(rows)

        await connection.copy_to_table(table, schema_name="public", source=chunks(), format="text")
    return rows, size


@contextlib.asynccontextmanager
async def _generator(table: str, articles: int, seed: int) -> AsyncIterator[asyncio.StreamReader]:
    """The generator's output; it is gone when the block ends, however it ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"{PACKAGE}.generate", table,
        "--articles", str(articles), "--seed", str(seed),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        limit=4 * CHUNK_BYTES, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    assert process.stderr is not None  # noqa: S101
    try:
        yield process.stdout
        said = (await process.stderr.read()).decode(errors="replace")
        if await process.wait() != 0:
            raise ProgramFailed(f"the generator of {table}", process.returncode or 0, said)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()
