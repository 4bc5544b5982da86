"""FastAPI and ASGI around the router and the pool, on a real primary and standby."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from filban.errors import LeasesHeld
from filban.pool import Pool, create_pool
from filban.pool.asgi import COOKIE, HEADER, ReadYourWrites
from filban.pool.context import route
from filban.pool.fastapi import Reader, Transaction, Writer, lifespan
from filban.pool.health import health
from filban.pool.routing import Signer, Token, connect
from routed import PATIENT, caught_up, dsn_of, replay_paused, routed, run

KEY = "a key of the tests, long enough"
ON_STANDBY = "SELECT pg_is_in_recovery()"


def application(database) -> FastAPI:
    app = FastAPI(lifespan=lifespan(database))

    @app.get("/count/{note}")
    async def count(note: str, db: Reader) -> dict:
        row = await db.fetchrow(
            "SELECT count(*) AS n, pg_is_in_recovery() AS standby FROM t WHERE note = $1", note
        )
        return {**row, "route": route.get()}

    @app.post("/committed")
    async def committed(note: str, db: Transaction) -> None:
        await db.execute("INSERT INTO t VALUES (1, $1)", note)

    @app.post("/autocommit")
    async def autocommit(note: str, db: Writer) -> None:
        await db.execute("INSERT INTO t VALUES (1, $1)", note)

    @app.post("/failing")
    async def failing(note: str, db: Transaction) -> None:
        await db.execute("INSERT INTO t VALUES (1, $1)", note)
        raise ValueError("the handler fails")

    return app


@pytest.fixture
async def table(primary_standby):
    await run(primary_standby.primary, "DROP TABLE IF EXISTS t; CREATE TABLE t(i int, note text)")
    await caught_up(primary_standby.primary, primary_standby.standby)


@pytest.fixture
async def client(primary_standby, table):
    """A browser that keeps its cookies, talking to the application."""
    dsn = dsn_of(primary_standby.primary, primary_standby.standby)
    app = application(lambda: connect(dsn, policy=PATIENT, max_size=4))
    app.add_middleware(ReadYourWrites, key=KEY)
    async with app.router.lifespan_context(app), browser(app) as opened:
        while len([s for s in app.state.filban.servers() if not s.out]) < 2:
            await asyncio.sleep(0.01)
        yield opened


def browser(app) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://test"
    )


@pytest.mark.parametrize("how", ["committed", "autocommit"])
async def test_what_a_user_has_written_is_there_at_the_next_request(
    client, primary_standby, how: str
):
    async with replay_paused(primary_standby.standby):
        assert (await client.post(f"/{how}", params={"note": how})).status_code == 200
        mine = (await client.get(f"/count/{how}")).json()
        assert (mine["n"], mine["standby"]) == (1, False)
        client.cookies.clear()
        other = (await client.get(f"/count/{how}")).json()  # of somebody else
        assert (other["n"], other["standby"]) == (0, True)
    await caught_up(primary_standby.primary, primary_standby.standby)


async def test_the_token_is_in_a_cookie_and_in_a_header_and_only_after_a_write(client):
    assert "set-cookie" not in (await client.get("/count/x")).headers
    answer = await client.post("/committed", params={"note": "x"})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}={answer.headers[HEADER]};")
    assert "HttpOnly" in cookie
    assert Signer(KEY, max_age_seconds=60).read(answer.headers[HEADER]) is not None
    assert "set-cookie" not in (await client.get("/count/x")).headers


async def test_a_client_without_cookies_sends_the_header(client, primary_standby):
    async with replay_paused(primary_standby.standby):
        answer = await client.post("/committed", params={"note": "h"})
        client.cookies.clear()
        with_header = await client.get("/count/h", headers={HEADER: answer.headers[HEADER]})
        assert with_header.json()["n"] == 1
    await caught_up(primary_standby.primary, primary_standby.standby)


async def test_a_forged_token_is_ignored(client):
    forged = Signer("x" * 32, max_age_seconds=60).sign(Token(1, 99, 2**60))
    answer = await client.get("/count/x", headers={HEADER: forged, "cookie": f"{COOKIE}=nonsense"})
    assert answer.json()["standby"]


async def test_a_transaction_is_committed_before_the_response_begins(primary_standby, table):
    """Held back, the response is not seen by anybody; the row is."""
    primary = primary_standby.primary
    app = application(lambda: connect(dsn_of(primary), policy=PATIENT))
    seen = []

    async def spying(scope, receive, send):
        async def spy(message):
            if message["type"] == "http.response.start" and scope["type"] == "http":
                seen.append(await app.state.filban.fetchval("SELECT count(*) FROM t", after=None))
            await send(message)

        await app(scope, receive, spy)

    async with app.router.lifespan_context(app), browser(spying) as client:
        assert (await client.post("/committed", params={"note": "x"})).status_code == 200
        assert (await client.post("/failing", params={"note": "x"})).status_code == 500
    assert seen == [1, 1]


async def test_a_lease_that_is_never_given_back_does_not_hold_up_the_end(primary_standby):
    """Of a pool and of a Router."""
    dsn = dsn_of(primary_standby.primary)
    for database in (lambda: create_pool(dsn, min_size=1), lambda: connect(dsn, policy=PATIENT)):
        app = FastAPI(lifespan=lifespan(database, close_timeout=0.05))
        running = app.router.lifespan_context(app)
        await running.__aenter__()
        opened = app.state.filban
        lease = opened.acquire() if isinstance(opened, Pool) else opened.write()
        await lease.__aenter__()
        with pytest.raises(LeasesHeld, match=r"test_fastapi\.py"):
            await running.__aexit__(None, None, None)


async def test_leases_know_the_route_as_it_is_declared(client):
    assert (await client.get("/count/abc")).json()["route"] == "GET /count/{note}"


async def test_leases_know_the_declared_route_of_a_starlette_application(primary_standby, table):
    """It has no dependencies that could name it. A path is no name: there is no end of them."""
    opened = connect(dsn_of(primary_standby.primary), policy=PATIENT, max_size=2)
    seen = []

    async def item(request):
        seen.append(route.get())
        async with opened.read() as leased:
            await leased.fetchval("SELECT 1")
            seen.append(route.get())
        return PlainTextResponse("")

    app = Starlette(routes=[Route("/items/{id}", item)])
    app.add_middleware(ReadYourWrites, router=opened, key=KEY)
    async with opened, browser(app) as client:
        assert (await client.get("/items/5")).status_code == 200
    assert seen == [None, "GET /items/{id}"]
    assert route.get() is None


async def test_a_plain_pool_serves_the_same_handlers(db):
    await db.execute("CREATE TABLE t(i int, note text)")
    app = application(lambda: create_pool(db.dsn, min_size=0))
    async with app.router.lifespan_context(app), browser(app) as client:
        await client.post("/committed", params={"note": "p"})
        await client.post("/failing", params={"note": "p"})
        assert (await client.get("/count/p")).json()["n"] == 1
    assert not hasattr(app.state, "filban")


async def test_without_a_database_the_error_says_what_to_do():
    app = application(None)
    app.router.lifespan_context = None
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as c:
        with pytest.raises(Exception, match="no database of filban"):
            await c.get("/count/x")


# Health


async def test_ready_is_who_can_answer(primary_standby, table):
    primary, standby = primary_standby.primary, primary_standby.standby
    policy = replace(PATIENT, probe_timeout=5.0)
    async with (
        routed(primary, standby, policy=policy) as router,
        browser(health(router, needs="write", deadline=20.0)) as client,
    ):
        assert (await client.get("/livez")).json() == {"status": "alive"}
        ready = await client.get("/deep/readyz")
        assert ready.status_code == 200
        assert ready.json() == {"status": "ready", "primary": True, "servers": 2, "usable": 2}
        assert (await client.get("/else")).status_code == 404
    async with browser(health(router)) as client:  # closed: it drains
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200


async def test_a_standby_alone_is_ready_to_read_and_not_to_write(primary_standby, table):
    async with routed(primary_standby.standby) as router:
        async with browser(health(router, deadline=20.0)) as client:
            assert (await client.get("/readyz")).status_code == 200
        async with browser(health(router, needs="write", deadline=0.1)) as client:
            assert (await client.get("/readyz")).status_code == 503


async def test_a_pool_is_ready_while_its_server_answers(db):
    async with (
        create_pool(db.dsn, min_size=0) as pool,
        browser(health(pool, deadline=20.0)) as client,
    ):
        ready = await client.get("/readyz")
        assert ready.json() == {"status": "ready", "connections": 1, "idle": 1}
        await pool.close()
        assert (await client.get("/readyz")).status_code == 503
