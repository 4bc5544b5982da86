"""One server: its pool, where it stands, and whether it may be used."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from filban.errors import ConnectError, FilbanError
from filban.pg.driver_errors import connect_errors
from filban.pg.dsn import Address, Target
from filban.pool import pgbouncer as _bouncer
from filban.pool.pool import Pool, create_pool
from filban.pool.routing.balance import Load, share_after
from filban.pool.routing.commit import LONGEST_NAME, RoutedConnection
from filban.pool.routing.policy import Policy
from filban.pool.routing.probing import answers_within, limit_silence, probe
from filban.pool.routing.rows import Position
from filban.pool.routing.tokens import Token

# How much one probe moves the mean latency: the last eight count for two thirds.
_LATENCY_WEIGHT = 0.125
_DEFAULT_NAME = "filban"


class Listener(Protocol):
    """What a node tells its router."""

    def seen(
        self, node: Node, position: Position, asked_at: float, latency: float | None = None
    ) -> None: ...

    def admits(self, position: Position) -> bool: ...

    def elect(self) -> None: ...


@dataclass(slots=True, eq=False)
class Waiter:
    """A read that waits for a server to show `token`, or (None) to have answered a question
    that was asked after `since`. `done` may stand at several servers: the first is its result."""

    token: Token | None
    since: float
    done: asyncio.Future[Node]


@dataclass(slots=True, eq=False)
class Node:
    """A server of the router. Times are monotonic seconds.

    position: the newest known, asked for at `asked_at`; None until it has answered once.
    out: why it is not used now, "" when it is. generation: grows when its connections are retired.
    """

    address: Address
    target: Target
    policy: Policy
    listener: Listener
    options: Mapping[str, Any]
    position: Position | None = None
    asked_at: float = 0.0
    out: str = "not seen yet"
    in_since: float = 0.0
    first_time: bool = True
    latency: float = 0.0
    outstanding: int = 0
    generation: int = 0
    failure: FilbanError | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    waiters: list[Waiter] = field(default_factory=list)
    _pool: Pool | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __str__(self) -> str:
        return str(self.address)

    @property
    def usable(self) -> bool:
        return not self.out

    @property
    def role(self) -> str:
        if self.position is None:
            return "unknown"
        return "standby" if self.position.in_recovery else "primary"

    def load(self, lag_seconds: float | None, now: float) -> Load:
        share = 1.0 if self.first_time else share_after(now - self.in_since, self.policy.slow_start)
        return Load(self.outstanding, self.latency, lag_seconds or 0.0, share)

    # Knowledge

    def answered(self, position: Position, asked_at: float, latency: float | None) -> None:
        """Take in an answer."""
        self.position, self.asked_at = position, asked_at
        if latency is not None:
            weight = _LATENCY_WEIGHT if self.latency else 1.0
            self.latency += weight * (latency - self.latency)
        for waiter in self.waiters:
            self._settle(waiter)

    def unreachable(self) -> None:
        """Whoever waits for an answer of it, and of it alone, need not wait longer."""
        for waiter in self.waiters:
            if waiter.token is None and not waiter.done.done():
                waiter.done.set_result(self)

    def let_in(self) -> None:
        if self.out:
            self.out, self.in_since = "", time.monotonic()

    def put_out(self, why: str) -> None:
        """Not used until it has answered a probe; then with a small share of reads that grows."""
        if not self.out:
            self.first_time = False
        self.out = why

    def suspect(self, error: BaseException) -> None:
        """An error that a changed role explains: nothing that is open there is trusted any more."""
        self.put_out(f"{type(error).__name__}: {error}")
        self.wake.set()
        self.retire()
        self.listener.elect()

    @contextlib.contextmanager
    def expecting(self, waiter: Waiter) -> Iterator[None]:
        """For the block, `waiter` is served; while there is one the server is asked often."""
        self.waiters.append(waiter)
        self.wake.set()
        try:
            yield
        finally:
            self.waiters.remove(waiter)

    @property
    def awaited(self) -> bool:
        return any(not waiter.done.done() for waiter in self.waiters)

    def _settle(self, waiter: Waiter) -> None:
        if waiter.done.done():
            return
        if waiter.token is None:
            reached = self.asked_at >= waiter.since
        else:
            at = self.position
            reached = at is not None and waiter.token.shown_at(at.lsn, at.next_xid)
        if reached:
            waiter.done.set_result(self)

    # Connections

    @property
    def open_pool(self) -> Pool | None:
        """Its pool, if it has one by now."""
        return self._pool

    async def pool(self) -> Pool:
        """Its pool, made when it is first asked for. Raises ConnectError with `min_size` > 0."""
        async with self._opening:
            if self._pool is None:
                options = {"min_size": 0, "name": str(self.address), **self.options}
                self._pool = await create_pool(
                    connect=self._connect, connection_class=RoutedConnection, **options
                )
            return self._pool

    def retire(self) -> None:
        """No open connection is handed out again; those in use may finish what they do."""
        self.generation += 1
        if self._pool is not None:
            _spawn(self._pool.expire_connections())

    def cut(self) -> None:
        """Cut every connection, in use or not: close() would wait for a frozen server."""
        old, self._pool = self._pool, None
        self.generation += 1
        if old is not None:
            old.terminate()

    async def close(self, timeout: float | None) -> None:
        """Wait for the leases, as `Pool.close`. A server that turns out to be frozen meanwhile is
        cut, by its watch."""
        if self._pool is not None:
            await self._pool.close(timeout)

    async def _connect(
        self, *_: Any, loop: Any = None, server_settings: Any = None, **kwargs: Any
    ) -> RoutedConnection:
        """Opens a connection for the pool, and makes sure that it is where it should be."""
        opened = await self._open(loop, server_settings or {}, kwargs)
        try:
            asked_at = time.monotonic()
            with answers_within(self.address, self.policy.probe_timeout):
                position = await probe(opened, self.policy.probe_timeout)
            self.listener.seen(self, position, asked_at)
            if not self.listener.admits(position):
                raise ConnectError(
                    f"{self.address} is of an older generation (timeline {position.timeline})",
                    reason="role",
                    hint="it was a primary, or follows one that was replaced: see pg_rewind",
                )
        except BaseException:
            opened.terminate()
            raise
        opened.opened_at = position
        return opened

    async def _open(
        self, loop: Any, settings: Mapping[str, str], kwargs: Mapping[str, Any]
    ) -> RoutedConnection:
        target, address, seconds = self.target, self.address, self.policy.connect_timeout
        tls = "&".join(f"{k}={quote(v, safe='')}" for k, v in target.tls.items())
        name = settings.get("application_name") or target.application_name or _DEFAULT_NAME
        server_settings = {**settings, "application_name": name[:LONGEST_NAME]}
        if target.options:
            server_settings["options"] = target.options
        with connect_errors(target, address, seconds):
            opened: RoutedConnection = await _bouncer.connect(
                dsn=f"postgresql:///?{tls}" if tls else None,
                host=address.host,
                port=address.port,
                user=target.user,
                database=target.database,
                password=target.password_for(address) or "",
                server_settings=server_settings,
                timeout=seconds,
                loop=loop,
                **kwargs,
            )
        limit_silence(opened, self.policy.tcp_user_timeout)
        return opened


def _spawn(work: Awaitable[Any]) -> None:
    task = asyncio.ensure_future(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


_tasks: set[asyncio.Future[Any]] = set()
