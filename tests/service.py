"""A service as users have it, for a real server: `tests.service:app`; SHOP_DSN: its database."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request

from filban import create_pool


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pool = await create_pool(
        os.environ["SHOP_DSN"], min_size=1, max_size=3,
        server_settings={"application_name": "shop"},
    )  # fmt: skip
    try:
        yield
    finally:
        await app.state.pool.close(timeout=10)


app = FastAPI(lifespan=lifespan)
later_tasks: set[asyncio.Task[None]] = set()


@app.post("/orders/{number}")
async def order(number: int, request: Request) -> int:
    async with request.app.state.pool.acquire() as con, con.transaction():
        await con.execute("INSERT INTO orders VALUES ($1)", number)
        await con.execute("SELECT pg_sleep(0.05)")
    return number


@app.post("/orders/{number}/later")
async def order_later(number: int, request: Request) -> int:
    """Answers at once; the work goes on behind the request's back."""

    async def work() -> None:
        async with request.app.state.pool.acquire() as con, con.transaction():
            await con.execute("SELECT pg_sleep(1)")
            await con.execute("INSERT INTO orders VALUES ($1)", number)

    task = asyncio.create_task(work())
    later_tasks.add(task)
    task.add_done_callback(later_tasks.discard)
    return number
