"""What only the server that writes the log can say."""

from __future__ import annotations

from filban import pg
from filban.errors import NotSupported


async def line_prefix(target: pg.Target) -> str:
    """Its log_line_prefix, as it is now: a log from before a change had another one.

    Raises ConnectError, NotSupported (a server older than 14, or one that does not tell).
    """
    async with pg.session(target) as session:
        setting = session.server.setting("log_line_prefix")
    if setting is None:
        raise NotSupported(
            "this server does not show its log_line_prefix", hint="give it with --prefix"
        )
    return setting.value
