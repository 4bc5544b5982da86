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
from filban.pg import Limits, Query, Session, Target, session
from filban.pg.driver_errors import statement_errors

PACKAGE = "filban.flows.demo.news"
CHUNK_BYTES = 1 << 18
# COPY and VACUUM of a database of our own take as long as they take.
UNBOUND = Limits(statement_timeout_ms=0, read_only=False)


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


async def load(target: Target, articles: int, seed: int, step: Step) -> Loaded:
    """Make the tables, fill them, build their keys, gather statistics.

    step: advanced by articles. Raises ProgramFailed (a generator died), StatementFailed,
    ConnectionLost, ConnectError.
    """
    async with session(target, UNBOUND) as opened:
        rows, size, copy_seconds = await _fill(opened, articles, seed, step)
    started = time.perf_counter()
    # Another session: a backend counts its rows into the statistics up to a second late, or at its
    # end; counted after the ANALYZE they would look like rows that nobody has analysed.
    async with session(target, UNBOUND) as opened:
        sizes = await _finish(opened)
    return Loaded(rows, size, copy_seconds, time.perf_counter() - started, tuple(sizes))


async def _fill(
    opened: Session, articles: int, seed: int, step: Step
) -> tuple[dict[str, int], int, float]:
    """Rows of each table, bytes and seconds of all."""
    started = time.perf_counter()
    rows, size = {}, 0
    with statement_errors("loading the news database"):
        await opened.connection.execute(Query(PACKAGE, "tables").text(opened.server.major))
        for table in TABLES:
            advance = step.advance if table == "articles" else None
            rows[table], part = await _copy(opened.connection, table, articles, seed, advance)
            size += part
    return rows, size, time.perf_counter() - started


async def _finish(opened: Session) -> list[TableSize]:
    with statement_errors("building keys and gathering statistics"):
        await opened.connection.execute(Query(PACKAGE, "keys").text(opened.server.major))
        # Freezes what was loaded as well, so that no read of the demo pays for hint bits.
        await opened.connection.execute("VACUUM (FREEZE, ANALYZE)")
    return await opened.rows(Query(PACKAGE, "sizes"), TableSize)


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
