"""The Router: writes to the primary, reads from replicas, never stale for whoever wrote."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal

import asyncpg

from filban import sql as _sql
from filban.errors import CommitUnknown, UsageError
from filban.pg.dsn import parse
from filban.pool.routing import session as _session
from filban.pool.routing.choice import Choice
from filban.pool.routing.failures import (
    DRIVER_ERRORS,
    is_suspicious,
    may_read_elsewhere,
    refused_write,
)
from filban.pool.routing.fate import fate_of
from filban.pool.routing.fleet import Fleet, left
from filban.pool.routing.lease import Lease
from filban.pool.routing.node import Node
from filban.pool.routing.policy import Policy
from filban.pool.routing.tokens import Standing, Token
from filban.pool.routing.topology import Patroni, Static, Topology
from filban.pool.stats import PoolStats

SESSION: Final = "session"
After = Token | None | Literal["session"]
Method = Literal["execute", "fetch", "fetchrow", "fetchval"]


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server as the router sees it. out: why it is not used, or ""."""

    address: str
    role: str
    timeline: int | None
    lag_bytes: int | None
    lag_seconds: float | None
    latency_seconds: float
    outstanding: int
    out: str


class Router:
    """Made by `connect`. `async with connect(…) as router:` or `router = await connect(…)`.

    Reads bring along what the current session (a request, or a task) has written, unless told
    otherwise: `after=None` does not care, `after=token` brings another one.
    """

    def __init__(self, fleet: Fleet, policy: Policy) -> None:
        self.policy = policy
        self._fleet = fleet
        self._choice = Choice(fleet)

    # Life

    def __await__(self) -> Generator[Any, None, Router]:
        return self.open().__await__()

    async def __aenter__(self) -> Router:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> Router:
        """Find the servers and their roles. Raises ConnectError that says what became of each."""
        try:
            await self._fleet.start(self.policy.connect_timeout + self.policy.probe_timeout)
        except BaseException:
            self.terminate()
            raise
        return self

    async def close(self, timeout: float | None = None) -> None:
        """Wait for the leases that are out, and close all connections.

        Raises LeasesHeld after `timeout` seconds, when all have been terminated.
        """
        await self._fleet.close(timeout)

    def terminate(self) -> None:
        """Cut all connections at once."""
        self._fleet.terminate()

    # Leases

    def write(self, *, timeout: float | None = None) -> Lease:
        """`async with router.write() as connection`: one of the primary's.

        Waits `timeout` seconds (Policy.write_timeout) for a primary; NoServer then. Nothing is
        repeated by itself: a connection that is lost in COMMIT raises CommitUnknown.
        """
        return Lease(
            self._fleet, self._choice.writable, timeout=self._seconds(timeout), writes=True
        )

    def read(
        self,
        *,
        max_lag: float | timedelta | None = None,
        after: After = SESSION,
        timeout: float | None = None,
    ) -> Lease:
        """`async with router.read() as connection`: a replica's that is new enough, else the
        primary's.

        max_lag: it has everything that was committed earlier than so many seconds ago (commits with
        synchronous_commit=off become known up to 0.6 s later). after: and this write.
        """
        return self._read(max_lag, after, timeout, None)

    @contextlib.asynccontextmanager
    async def transaction(
        self, *, fate: bool = False, timeout: float | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        """A write lease with a transaction; `options` as of asyncpg's `transaction()`.

        fate: let the transaction's id be known from its beginning, so that `fate()` can tell what
        became of it when the connection is lost in COMMIT. Costs an id even if nothing is written.
        """
        deadline = time.monotonic() + self._seconds(timeout)
        async with contextlib.AsyncExitStack() as stack:
            connection = await self._begun(stack, deadline, fate, options)
            yield connection

    async def _begun(
        self,
        stack: contextlib.AsyncExitStack,
        deadline: float,
        fate: bool,
        options: Mapping[str, Any],
    ) -> Any:
        """A leased connection with a transaction. BEGIN does nothing, so that it may be repeated: a
        connection of a primary that has just gone is found out here, and costs the caller nothing.
        """
        while True:
            lease = Lease(
                self._fleet, self._choice.writable, timeout=left(deadline), writes=True, fate=fate
            )
            async with contextlib.AsyncExitStack() as inner:
                connection = await inner.enter_async_context(lease)
                try:
                    await inner.enter_async_context(connection.transaction(**options))
                except DRIVER_ERRORS as error:
                    if not is_suspicious(error) or not left(deadline):
                        raise
                    lease.suspect(error)
                else:
                    stack.push_async_exit(inner.pop_all())
                    return connection

    def _read(
        self,
        max_lag: float | timedelta | None,
        after: After,
        timeout: float | None,
        avoid: Node | None,
    ) -> Lease:
        seconds = max_lag.total_seconds() if isinstance(max_lag, timedelta) else max_lag

        async def choose(deadline: float, avoid: Node | None) -> Node:
            token = await self._token(after, deadline)
            return await self._choice.readable(deadline, avoid, max_lag=seconds, token=token)

        return Lease(self._fleet, choose, timeout=self._seconds(timeout), writes=False, avoid=avoid)

    def _seconds(self, timeout: float | None) -> float:
        return self.policy.write_timeout if timeout is None else timeout

    # Statements

    async def execute(self, sql: str, *args: Any, **how: Any) -> str:
        """Run a statement where it may run: one that provably only reads on a replica, and once
        more elsewhere if its server fails; any other on the primary, once.

        how: max_lag, after, timeout as of `read`; command_timeout as asyncpg's `timeout`.
        """
        return str(await self._run("execute", sql, args, **how))

    async def fetch(self, sql: str, *args: Any, **how: Any) -> list[asyncpg.Record]:
        """As `execute`, for all rows."""
        rows: list[asyncpg.Record] = await self._run("fetch", sql, args, **how)
        return rows

    async def fetchrow(self, sql: str, *args: Any, **how: Any) -> asyncpg.Record | None:
        """As `execute`, for the first row."""
        row: asyncpg.Record | None = await self._run("fetchrow", sql, args, **how)
        return row

    async def fetchval(self, sql: str, *args: Any, **how: Any) -> Any:
        """As `execute`, for the first value of the first row."""
        return await self._run("fetchval", sql, args, **how)

    async def _run(
        self,
        method: Method,
        sql: str,
        args: Sequence[Any],
        *,
        max_lag: float | timedelta | None = None,
        after: After = SESSION,
        timeout: float | None = None,
        command_timeout: float | None = None,
    ) -> Any:
        call = partial(_call, method, sql, args, command_timeout)
        if not _sql.read_only(sql):
            return await call(self.write(timeout=timeout))
        first = self._read(max_lag, after, timeout, None)
        try:
            return await call(first)
        except DRIVER_ERRORS as error:
            failed = first.node
            if refused_write(error) and first.on_standby:
                # a function of the user's that writes; it has done nothing
                return await call(self.write(timeout=timeout))
            if failed is None or not may_read_elsewhere(error, on_standby=first.on_standby):
                raise
        return await call(self._read(max_lag, after, timeout, failed))

    # Tokens

    @contextlib.contextmanager
    def session(self, token: Token | None = None) -> Generator[_session.Session, None, None]:
        """A session of its own for a block, as each request has one."""
        with _session.session(token) as opened:
            yield opened

    async def token(self) -> Token | None:
        """What the current session has written, to be given to `after` elsewhere; None: nothing."""
        return await self.token_of(_session.current())

    async def token_of(
        self, session: _session.Session, deadline: float | None = None
    ) -> Token | None:
        """The same for another session. deadline: in monotonic seconds."""
        if session.pending is not None:
            seconds = self.policy.probe_timeout
            await session.settle(min(seconds, left(deadline)) if deadline else seconds)
        return session.token

    def standing(self, token: Token) -> dict[str, Standing]:
        """What each server can say to a token: address -> Standing."""
        return {
            str(node): self._fleet.generations.standing(token, node.position)
            for node in self._fleet.nodes.values()
            if node.position is not None
        }

    async def _token(self, after: After, deadline: float) -> Token | None:
        if after != SESSION:
            if after is not None and not isinstance(after, Token):
                raise UsageError(
                    f"after={after!r} is no token", hint="a Token, None, or nothing at all"
                )
            return after
        return await self.token_of(_session.current(), deadline)

    # Knowledge

    async def fate(self, lost: CommitUnknown | int) -> str | None:
        """What became of a transaction: "committed", "aborted", "in progress"; None: who knows.

        lost: the error, or the transaction's id if no failover has happened since. Raises NoServer.
        """
        return await fate_of(self._fleet, self.write(), lost)

    def servers(self) -> list[ServerState]:
        """All servers, as they are seen now."""
        return [self._state(node) for node in self._fleet.nodes.values()]

    def stats(self) -> list[PoolStats]:
        """The numbers of each server's pool, which is named by its address. From any thread."""
        nodes = list(self._fleet.nodes.values())
        return [pool.stats() for node in nodes if (pool := node.open_pool) is not None]

    @property
    def primary(self) -> str | None:
        """The address of the primary, or None while there is none."""
        return str(self._fleet.primary) if self._fleet.primary else None

    @property
    def epoch(self) -> int:
        """Grows each time that another primary (or another timeline) takes over."""
        return self._fleet.epoch

    def _state(self, node: Node) -> ServerState:
        lag = self._choice.lag(node)
        return ServerState(
            address=str(node),
            role=node.role,
            timeline=node.position.timeline if node.position else None,
            lag_bytes=lag.bytes,
            lag_seconds=lag.seconds,
            latency_seconds=node.latency,
            outstanding=node.outstanding,
            out=node.out,
        )


async def _call(
    method: Method, sql: str, args: Sequence[Any], command_timeout: float | None, lease: Lease
) -> Any:
    async with lease as connection:
        return await getattr(connection, method)(sql, *args, timeout=command_timeout)


def connect(
    dsn: str | None = None,
    *,
    patroni: Sequence[str] | Patroni = (),
    policy: Policy | None = None,
    **pool_options: Any,
) -> Router:
    """A Router over the hosts of `dsn`, or over the members that Patroni's REST APIs name.

        async with connect("postgresql://app@db1,db2,db3/shop") as router: …
        async with connect("postgresql://app@/shop", patroni=["http://db1:8008"]) as router: …

    dsn: as psql takes it; user, database, password and TLS are the same for all servers.
    pool_options: for the pool of each server, as of `create_pool` (max_size, init, …).
    Raises ConnectError for what cannot be parsed.
    """
    target = parse(dsn)
    chosen = policy or Policy()
    topology: Topology = Static(target.addresses)
    if patroni:
        topology = patroni if isinstance(patroni, Patroni) else Patroni(tuple(patroni))
    return Router(Fleet(topology, target, chosen, pool_options), chosen)
