"""SIGTERM under load: what was accepted is answered, and no session stays behind.

The recipes are in docs/how-to/pool-shutdown.md; the commands here are theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from conftest import Database, lacking
from filban.cluster import free_port

ROOT = Path(__file__).parents[2]
REQUESTS = 24  # eight times the pool: most of them wait for a connection when the signal comes
COMMANDS = {
    "uvicorn": ["uvicorn", "tests.service:app", "--port", "{port}",
                "--timeout-graceful-shutdown", "20"],
    "gunicorn": ["gunicorn", "tests.service:app", "--bind", "127.0.0.1:{port}",
                 "--worker-class", "asgi", "--workers", "2", "--graceful-timeout", "20"],
    "granian": ["granian", "tests.service:app", "--interface", "asgi", "--port", "{port}",
                "--workers-kill-timeout", "20"],
}  # fmt: skip


@contextlib.asynccontextmanager
async def served(name: str, dsn: str, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [part.format(port=port) for part in COMMANDS[name]]
    environment = {**os.environ, "SHOP_DSN": dsn, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *command, env=environment, cwd=ROOT, stdout=said, stderr=said
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def ready(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    while True:
        assert process.returncode is None, "the server has ended before its first answer"
        with contextlib.suppress(httpx.TransportError):
            if (await client.get("/docs")).status_code == 200:
                return
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", COMMANDS)
async def test_sigterm_under_load_loses_nothing(db: Database, name: str):
    if importlib.util.find_spec(name) is None:
        lacking(f"the Python package {name}")
    await db.execute("CREATE TABLE orders (number int)")
    port = free_port()
    limits = httpx.Limits(max_connections=REQUESTS)
    async with (
        served(name, db.dsn, port) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, limits=limits) as client,
    ):
        await ready(client, process)
        requests = [
            asyncio.create_task(client.post(f"/orders/{number}")) for number in range(REQUESTS)
        ]
        # accepted: some are done, so the rest, sent before, are in the server's hands
        while await db.fetchval("SELECT count(*) FROM orders") < 6:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*requests)
        await asyncio.wait_for(process.wait(), 30)
    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    numbers = {r["number"] for r in await db.fetch("SELECT number FROM orders")}
    assert numbers == set(range(REQUESTS))
    while await db.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop'"
    ):
        await asyncio.sleep(0.05)


async def test_close_waits_for_leases_that_no_request_waits_for(db: Database):
    await db.execute("CREATE TABLE orders (number int)")
    port = free_port()
    async with (
        served("uvicorn", db.dsn, port) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        await ready(client, process)
        for number in range(3):
            assert (await client.post(f"/orders/{number}/later")).status_code == 200
        while (
            await db.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'shop' AND wait_event = 'PgSleep'"
            )
            < 3
        ):
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)
    assert await db.fetchval("SELECT count(*) FROM orders") == 3
