"""FastAPI: a Router or a Pool for as long as the application runs, and what its handlers ask for.

    app = FastAPI(lifespan=lifespan(lambda: connect("postgresql://app@db1,db2/shop")))
    app.add_middleware(ReadYourWrites, key=SECRET)

    @app.get("/articles/{id}")
    async def article(id: int, db: Reader): return await db.fetchrow("SELECT …", id)

    @app.post("/articles")
    async def publish(new: Article, db: Transaction): await db.execute("INSERT …", new.title)

`Transaction` commits before the response is sent: a client that reads "created" can rely on it, and
the token of the write is in the response.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from filban.errors import ExtraMissing, UsageError
from filban.pool.context import route
from filban.pool.pool import Pool
from filban.pool.routing.router import Router

try:
    from starlette.requests import HTTPConnection

    # by name: what imports the pool must not load a web framework, and import-linter holds that
    _depends = importlib.import_module("fastapi").Depends
except ImportError as error:
    raise ExtraMissing("fastapi", "web") from error

Database = Router | Pool


def lifespan(
    database: Callable[[], Any], *, close_timeout: float | None = None
) -> Callable[[Any], contextlib.AbstractAsyncContextManager[None]]:
    """For `FastAPI(lifespan=…)`. `database` makes a Router (`connect(…)`) or a Pool
    (`create_pool(…)`); it is opened before the first request, closed when the last lease is back.

    close_timeout: seconds to wait for the leases at the end; then they are cut and LeasesHeld is
    raised.
    """

    @contextlib.asynccontextmanager
    async def run(app: Any) -> AsyncIterator[None]:
        async with database() as opened:
            app.state.filban = opened
            try:
                yield
            finally:
                del app.state.filban
                await opened.close(close_timeout)

    return run


def database(connection: HTTPConnection) -> Database:
    """The application's Router or Pool. Raises UsageError where there is none."""
    found = getattr(connection.app.state, "filban", None)
    if not isinstance(found, Router | Pool):
        raise UsageError(
            "this application has no database of filban",
            hint="FastAPI(lifespan=filban.pool.fastapi.lifespan(lambda: connect(DSN)))",
        )
    _label(connection)
    return found


async def reader(connection: HTTPConnection) -> AsyncIterator[Any]:
    """A connection to read with: of a replica that has what this user has written."""
    opened = database(connection)
    async with opened.read() if isinstance(opened, Router) else opened.acquire() as leased:
        yield leased


async def writer(connection: HTTPConnection) -> AsyncIterator[Any]:
    """A connection of the primary; each statement commits by itself."""
    opened = database(connection)
    async with opened.write() if isinstance(opened, Router) else opened.acquire() as leased:
        yield leased


async def transaction(connection: HTTPConnection) -> AsyncIterator[Any]:
    """A connection of the primary in a transaction: rolled back when the handler raises."""
    opened = database(connection)
    if isinstance(opened, Router):
        async with opened.transaction() as leased:
            yield leased
    else:
        async with opened.acquire() as leased, leased.transaction():
            yield leased


def _label(connection: HTTPConnection) -> None:
    """The route as it is declared ("GET /articles/{id}"), for leak reports and tags."""
    declared = getattr(connection.scope.get("route"), "path", None)
    if declared is not None:
        route.set(f"{connection.scope.get('method', 'WEBSOCKET')} {declared}")


# scope="function": given back when the handler returns. FastAPI's default keeps the connection
# until the response has been sent, and would commit after the client was told that all is well.
Reader = Annotated[Any, _depends(reader, scope="function")]
Writer = Annotated[Any, _depends(writer, scope="function")]
Transaction = Annotated[Any, _depends(transaction, scope="function")]
