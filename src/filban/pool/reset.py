"""Make a session as good as new, without touching what asyncpg keeps in it.

`DISCARD ALL` would do, but for asyncpg's statement cache: the statements it prepared by protocol
would be gone, and it would not know. So everything else is done by itself, in one round trip.

What comes back is the state after the connection was opened: server_settings of the start-up packet
and of ALTER ROLE / ALTER DATABASE … SET stay, a SET run by an `init` callback is gone (as with
asyncpg's own reset; `setup` is the place for it). What no command can undo is left: a library that
was loaded, the variables that PL/Perl, PL/Python and PL/Tcl keep for a session, named connections
of dblink, and that a custom setting once set reads as an empty string instead of not at all.
"""

from __future__ import annotations

from typing import Any

import asyncpg

# The order matters: first the login role (which ends SET ROLE as well), then its settings
# (search_path, timeouts), then the rest under both. Everything runs in one implicit transaction.
# DISCARD PLANS because a generic plan made under `SET enable_… = off` outlives the setting.
_RESET = """\
SET SESSION AUTHORIZATION DEFAULT;
RESET ALL;
CLOSE ALL;
UNLISTEN *;
SELECT pg_catalog.pg_advisory_unlock_all();
DISCARD TEMP;
DISCARD SEQUENCES;
DISCARD PLANS;
-- A seed set by setseed() makes random() predictable: a new one, from strong random bits.
SELECT pg_catalog.setseed(
    (('x' || pg_catalog.right(pg_catalog.gen_random_uuid()::text, 8))::bit(32)::int4
     / 2147483648.0)::float8);
"""
# Statements of PREPARE; those of the protocol (asyncpg's) are from_sql = false.
_DEALLOCATE = """\
DO LANGUAGE plpgsql $filban$
DECLARE
    statement name;
BEGIN
    FOR statement IN SELECT p.name FROM pg_catalog.pg_prepared_statements p WHERE p.from_sql LOOP
        EXECUTE pg_catalog.format('DEALLOCATE %I', statement);
    END LOOP;
END
$filban$;
"""
_PREPARED = """\
SELECT pg_catalog.format('DEALLOCATE %I', p.name)
FROM pg_catalog.pg_prepared_statements p WHERE p.from_sql
"""


async def full_reset(connection: asyncpg.Connection[Any], *, timeout: float | None = None) -> None:
    """Roll back what is open and forget everything that a lease may have left in the session.

    One round trip; two more for roles that may not use PL/pgSQL. Works on standbys and without any
    rights. timeout: seconds for each. Raises what asyncpg raises; the session is then in an unknown
    state and must not be used again.
    """
    # asyncpg's own methods: a service's connection class may have other signatures.
    execute, fetch = asyncpg.Connection.execute, asyncpg.Connection.fetch
    rollback = "ROLLBACK;\n" if connection.is_in_transaction() else ""
    try:
        await execute(connection, rollback + _RESET + _DEALLOCATE, timeout=timeout)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedObjectError):
        # No PL/pgSQL for this role or in this database.
        await execute(connection, rollback + _RESET, timeout=timeout)
        for (command,) in await fetch(connection, _PREPARED, timeout=timeout):
            await execute(connection, command, timeout=timeout)
