"""Looking at one server as long as the fleet lives: over its own connection, with deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from filban.errors import ConnectError, ConnectionLost, FilbanError, RightsMissing
from filban.pg.connect import Limits, open_connection
from filban.pg.driver_errors import statement_errors
from filban.pg.loader import Query
from filban.pool.routing.node import Node
from filban.pool.routing.probing import answers_within, limit_silence, probe
from filban.pool.routing.rows import Position
from filban.pool.routing.tokens import parse_history

if TYPE_CHECKING:
    from filban.pool.routing.fleet import Fleet

# While reads wait for it a server is asked this often, then half as often each time …
FIRST_PAUSE = 0.0005
# … down to this: a replica that does not get there in a few milliseconds needs longer.
LONGEST_PAUSE = 0.01
# An unreachable server is tried again after the probe interval, doubled each time up to this.
LONGEST_RETRY = 2.0
NAME = "filban router"
Answer = TypeVar("Answer")


async def watch(node: Node, fleet: Fleet) -> None:
    """Keep `node.position` new. Ends only by cancellation."""
    pause = node.policy.probe_interval
    while True:
        node.wake.clear()
        try:
            async with _connection(node) as connection:
                pause = node.policy.probe_interval
                await _follow(node, connection, fleet)
        except FilbanError as error:
            fleet.lost(node, error)
        await _sleep(node, pause)
        pause = min(pause * 2, LONGEST_RETRY)


@contextlib.asynccontextmanager
async def _connection(node: Node) -> AsyncIterator[asyncpg.Connection]:
    limits = Limits(
        statement_timeout_ms=int(node.policy.probe_timeout * 1000), application_name=NAME
    )
    opened = await open_connection(
        node.target.at(node.address), limits, timeout=node.policy.connect_timeout
    )
    limit_silence(opened, node.policy.tcp_user_timeout)
    opened.add_termination_listener(lambda *_: node.wake.set())
    try:
        yield opened
    finally:
        opened.terminate()  # close() would wait for a server that hangs


async def _follow(node: Node, connection: asyncpg.Connection, fleet: Fleet) -> None:
    pause = FIRST_PAUSE
    while True:
        node.wake.clear()
        position = await _look(node, connection, fleet)
        if not fleet.admits(position):
            # not even our own connection stays there; it is looked at again after a while
            raise ConnectError(node.out, reason="role", hint="see pg_rewind")
        await _learn_history(node, connection, position, fleet)
        if node.awaited:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            pause = FIRST_PAUSE
            await _sleep(node, node.policy.probe_interval)


async def _look(node: Node, connection: asyncpg.Connection, fleet: Fleet) -> Position:
    asked_at = time.monotonic()
    position = await _asked(node, probe(connection, node.policy.probe_timeout))
    fleet.seen(node, position, asked_at, time.monotonic() - asked_at)
    return position


async def _learn_history(
    node: Node, connection: asyncpg.Connection, position: Position, fleet: Fleet
) -> None:
    """Where earlier timelines ended, if this role may read it."""
    timeline = position.timeline
    if timeline is None or not fleet.wants_history(timeline) or position.in_recovery:
        return
    text = Query("filban.pool.routing", "history").text(connection.get_server_version().major)
    question = connection.fetchval(text, timeline, timeout=node.policy.probe_timeout)
    try:
        content = await _asked(node, question)
    except RightsMissing:
        fleet.history(timeline, None)
    else:
        fleet.history(timeline, parse_history(content))


async def _asked(node: Node, question: Awaitable[Answer]) -> Answer:
    """Its answer, or one of our errors."""
    try:
        with answers_within(node.address, node.policy.probe_timeout), statement_errors("probing"):
            return await question
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise ConnectionLost(
            f"the server went away while probing: {error}", hint="its log says why"
        ) from error


async def _sleep(node: Node, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await node.wake.wait()
