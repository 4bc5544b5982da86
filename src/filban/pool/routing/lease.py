"""A connection for a block, and what the block left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from filban.errors import ConnectError, NoServer, PoolClosed
from filban.pool.context import route
from filban.pool.routing import session as _session
from filban.pool.routing.commit import RoutedConnection
from filban.pool.routing.failures import DRIVER_ERRORS, is_lost, is_suspicious, sqlstate
from filban.pool.routing.fleet import Fleet
from filban.pool.routing.node import Node

Choose = Callable[[float, Node | None], Awaitable[Node]]
# Trying another server does not help with these: the same credentials and database are used on all.
_OURS = frozenset({"authentication", "database", "dsn", "tls"})


class Lease:
    """`async with lease as connection`: a connection of a server that `choose` names.

    Raises NoServer at the deadline, what the pool raises when it is exhausted, and ConnectError for
    wrong credentials.
    """

    def __init__(
        self,
        fleet: Fleet,
        choose: Choose,
        *,
        timeout: float,
        writes: bool,
        fate: bool = False,
        avoid: Node | None = None,
    ) -> None:
        self._fleet = fleet
        self._choose = choose
        self._timeout = timeout
        self._writes = writes
        self._fate = fate
        self._avoid = avoid
        self.node: Node | None = None
        self._pool: Any = None
        self._leased: Any = None
        self._raw: RoutedConnection | None = None
        self._queries = 0

    @property
    def on_standby(self) -> bool:
        """Whether the server was a standby when it was last seen."""
        return bool(self.node and self.node.position and self.node.position.in_recovery)

    async def __aenter__(self) -> Any:
        deadline = time.monotonic() + self._timeout
        name = _session.current().route
        if name is not None and (label := name()) is not None:
            route.set(label)  # by now the application's router has found it
        self.node, self._pool, self._leased = await self._acquire(deadline)
        # not `_con`: the pool takes a session whose raw connection was asked for as changed
        raw: RoutedConnection = self._leased._c
        raw.written, raw.xid, raw.ask_xid = None, None, self._fate
        self._raw, self._queries = raw, raw.queries
        return self._leased

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.node is not None  # noqa: S101 - entered
        try:
            self._note_writes(self.node)
            if error is not None and self._blames_server(error):
                self.node.suspect(error.__cause__ or error)
        finally:
            self.node.outstanding -= 1
            await self._pool.release(self._leased)

    def suspect(self, error: BaseException) -> None:
        """The server of this lease may not be what it was."""
        if self.node is not None:
            self.node.suspect(error)

    async def _acquire(self, deadline: float) -> tuple[Node, Any, Any]:
        avoid = self._avoid
        while True:
            node = await self._choose(deadline, avoid)
            node.outstanding += 1
            try:
                found = await self._from(node, deadline)
            except BaseException:
                node.outstanding -= 1
                raise
            if found is not None:
                return node, *found
            node.outstanding -= 1
            avoid = node
            await asyncio.sleep(0)  # nothing above need have waited: let the watch do its work

    async def _from(self, node: Node, deadline: float) -> tuple[Any, Any] | None:
        """A pool and a connection of it; None if the server turns out not to serve."""
        generation = node.generation
        try:
            pool = await node.pool()
            leased = await pool.acquire(timeout=max(0.0, deadline - time.monotonic()))
        except (PoolClosed, *DRIVER_ERRORS) as error:
            if isinstance(error, TimeoutError) or not self._passes(error, node, generation):
                raise
            return None
        except ConnectError as error:
            if error.reason in _OURS or error.reason == "too_many":
                raise
            node.suspect(error)
            return None
        if node.generation == generation and node.usable and self._fits(node, leased):
            return pool, leased
        await pool.release(leased)
        return None

    def _passes(self, error: Exception, node: Node, generation: int) -> bool:
        """Whether the error is the server's or the pool's end, so that another one may do."""
        if node.generation != generation:
            return True
        if isinstance(error, PoolClosed) or self._fleet.closed:
            return False
        if is_suspicious(error):
            node.suspect(error)
            return True
        return False

    def _fits(self, node: Node, leased: Any) -> bool:
        if not self._writes:
            return True
        if leased._c.on_standby:
            node.suspect(NoServer(f"{node} is a standby now"))
            return False
        return node is self._fleet.primary

    def _note_writes(self, node: Node) -> None:
        raw = self._raw
        if raw is None or raw.queries == self._queries:
            return
        if raw.written is not None:
            _session.current().wrote(raw.written)
        if self._writes and (raw.written is None or raw.token_at != raw.queries):
            timeline = node.position.timeline if node.position else None
            _session.current().wrote_outside(node, timeline or 0, time.monotonic())

    def _blames_server(self, error: BaseException) -> bool:
        """Not for 25006 of a standby that is known as one: the statement should not have come here;
        nor in a transaction that its own owner has made READ ONLY."""
        cause = error.__cause__ or error
        if sqlstate(cause) == "25006" and self._raw is not None:
            if self.on_standby:
                return False
            return self._raw.on_standby is not False or self._raw.read_only_by_default
        return is_suspicious(cause) or is_lost(error)
