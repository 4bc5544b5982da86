"""PgBouncer (or the like) between us and the server: noticed, and what it breaks left out.

In transaction mode each transaction may run in another server session, so that a statement which
was prepared by name is gone at its next use, or is somebody else's. asyncpg keeps such statements;
with a cache of size 0 it sends text and values in one piece, which is safe. PgBouncer from 1.21 on
can follow named statements (max_prepared_statements > 0): whoever has that on gives
`statement_cache_size` himself, and nothing is changed.

The sign is the server's own process id: what a pooler tells its client at the start is not the pid
of the session that answers.
"""

from __future__ import annotations

from typing import Any

import asyncpg

# application_name is what a server, and PgBouncer, report to the client without being asked.
_TELL = (
    "SELECT set_config('application_name',"
    " left(current_setting('application_name'), 30) || ' @' || pg_backend_pid(), false)"
)
_FORGET = (
    "SELECT set_config('application_name',"
    " split_part(current_setting('application_name'), ' @', 1), false)"
)


async def is_pooled(connection: asyncpg.Connection) -> bool:
    """Whether another process answers than the one that let us in. Two round trips; nothing is
    prepared, so that it is safe behind any pooler."""
    await connection.execute(_TELL)
    told = connection.get_settings().application_name.rpartition(" @")[2]
    await connection.execute(_FORGET)
    # a pooler that keeps the report to itself is one as well
    return bool(told != str(connection.get_server_pid()))


async def connect(*args: Any, **kwargs: Any) -> Any:
    """asyncpg's `connect`, that prepares nothing by name where a pooler is found.

        create_pool(dsn, connect=filban.pool.pgbouncer.connect, reset="never")

    reset="never", because in transaction mode there is no session to reset. The Router notices a
    pooler by itself.
    """
    opened = await asyncpg.connect(*args, **kwargs)
    if "statement_cache_size" in kwargs:
        return opened
    try:
        pooled = await is_pooled(opened)
    except BaseException:
        opened.terminate()
        raise
    if not pooled:
        return opened
    await opened.close()
    return await asyncpg.connect(*args, statement_cache_size=0, **kwargs)
