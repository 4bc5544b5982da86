"""How a pool resets its sessions: what the arguments mean."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import asyncpg

ResetMode = Literal["auto", "always", "never"]
Callback = Callable[[Any], Awaitable[None]]


def reset_mode(
    reset: ResetMode | Callback | None, connection_class: type[Any]
) -> tuple[ResetMode, Callback | None]:
    """A user's own way to reset, by callback or by connection class, is taken every time.

    Raises ValueError for anything else.
    """
    if callable(reset):
        return "always", reset
    if reset not in (None, "auto", "always", "never"):
        raise ValueError(
            'reset is expected to be "auto", "always", "never" or a coroutine function'
        )
    if has_own_reset(connection_class) and reset in (None, "auto"):
        return "always", None
    return reset or "auto", None


def has_own_reset(connection_class: type[Any]) -> bool:
    """Whether the connection class brings a reset of its own."""
    return (
        connection_class.reset is not asyncpg.Connection.reset
        or connection_class.get_reset_query is not asyncpg.Connection.get_reset_query
    )


async def leave(_: Any) -> None:
    """reset="never": the session stays as it is."""
