"""Asking a server where it stands, and noticing when it says nothing."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import asyncpg

from filban.errors import ConnectError, RightsMissing
from filban.pg.dsn import Address
from filban.pg.loader import Query
from filban.pool.routing.rows import Position

_PACKAGE = "filban.pool.routing"


@contextlib.contextmanager
def answers_within(address: Address, seconds: float) -> Iterator[None]:
    """A TimeoutError in the block is the server's silence, not the end of the caller's own time."""
    try:
        yield
    except TimeoutError as error:
        raise ConnectError(
            f"{address} has not answered for {seconds:g} s",
            reason="unreachable",
            hint="it is frozen, overloaded or cut off",
        ) from error


async def probe(connection: asyncpg.Connection, timeout: float) -> Position:
    """Where the server stands. Raises what asyncpg raises, TimeoutError after `timeout` seconds."""
    major = connection.get_server_version().major
    try:
        return await _position(connection, "position", major, timeout)
    except asyncpg.InsufficientPrivilegeError:
        return await _position(connection, "position_uncontrolled", major, timeout)


async def _position(
    connection: asyncpg.Connection, name: str, major: int, timeout: float
) -> Position:
    record = await connection.fetchrow(Query(_PACKAGE, name).text(major), timeout=timeout)
    if record is None:
        raise RightsMissing("the probe returned no row", hint="a bug: please report it")
    return Position(**dict(record))


def limit_silence(connection: asyncpg.Connection, seconds: float) -> None:
    """TCP_USER_TIMEOUT: data that nobody acknowledges ends the connection after `seconds`, not
    after the kernel's 15 minutes, as when the host has lost its power or its network."""
    # asyncpg offers no other way to its socket
    transport = connection._transport  # type: ignore[attr-defined]
    raw = transport.get_extra_info("socket")
    if raw is None or raw.family == socket.AF_UNIX or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    with socket.socket(fileno=raw.fileno()) as borrowed:
        try:
            borrowed.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
        finally:
            borrowed.detach()
