"""Health endpoints for whoever starts, stops and feeds the service: `/livez` and `/readyz`.

    app.mount("/", health(router))          # or served on a port of its own

Live: the event loop runs; a database that is away is no reason to be restarted. Ready: requests can
be answered now. Neither shows addresses or errors: what is public stays short.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import asyncpg

from filban.errors import FilbanError
from filban.pool.asgi import App, Receive, Scope, Send
from filban.pool.pool import Pool
from filban.pool.routing.router import Router

# Kubernetes gives a probe one second by default.
DEADLINE_SECONDS = 0.8


def health(
    database: Router | Pool,
    *,
    needs: Literal["read", "write"] = "read",
    deadline: float = DEADLINE_SECONDS,
) -> App:
    """An ASGI application that answers GET …/livez and …/readyz with 200 or 503 and a small JSON.

    needs: "write" is not ready without a primary. deadline: seconds for a look at the database.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        if scope["type"] != "http":
            return
        path = scope["path"].rstrip("/").rpartition("/")[2]
        if path == "livez":
            await _reply(send, 200, {"status": "alive"})
        elif path == "readyz":
            ready = await _ready(database, needs, deadline)
            status = "ready" if ready else "not ready"
            await _reply(send, 200 if ready else 503, {"status": status, **_counts(database)})
        else:
            await _reply(send, 404, {"status": "not found"})

    return answer


async def _ready(database: Router | Pool, needs: str, deadline: float) -> bool:
    try:
        async with asyncio.timeout(deadline):
            if isinstance(database, Pool):
                return bool(await database.fetchval("SELECT true"))
            lease = database.write if needs == "write" else database.read
            async with lease(timeout=deadline) as connection:
                return bool(await connection.fetchval("SELECT true"))
    except (FilbanError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return False


def _counts(database: Router | Pool) -> dict[str, Any]:
    if isinstance(database, Pool):
        return {"connections": database.get_size(), "idle": database.get_idle_size()}
    servers = database.servers()
    return {
        "primary": database.primary is not None,
        "servers": len(servers),
        "usable": sum(not server.out for server in servers),
    }


async def _reply(send: Send, status: int, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
