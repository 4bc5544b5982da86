"""The connection that brings a token back with its COMMIT, without a round trip of its own.

`application_name` is the one setting of ours that the server reports to the client by itself (a
ParameterStatus message). COMMIT is sent as one message of three statements: what the transaction
was, COMMIT, where the log was flushed to after it. The name then reads `app @1.f0/3000148.2e4;`:
timeline, LSN, the transaction's id (hexadecimal), and a sign that nothing was cut off.

The position after COMMIT is the only sound one: `pg_current_wal_insert_lsn()` in the transaction
(RETURNING …) precedes the commit record. With synchronous_commit=off the commit record may not be
flushed yet; the end of what has been inserted is past it then.
"""

from __future__ import annotations

from typing import Any

import asyncpg

from filban.errors import CommitUnknown
from filban.pg.lsn import parse_lsn
from filban.pool.routing.failures import DRIVER_ERRORS, is_lost
from filban.pool.routing.rows import Position
from filban.pool.routing.tokens import UNKNOWN_LSN, Token, end_of_record

# NAMEDATALEN - 1 is 63; what we append takes 33 of a timeline, an LSN and an id of 40 bits each.
LONGEST_NAME = 30
_END = ";"  # missing where the server has cut the name off
_NAME = f"left(split_part(current_setting('application_name'), ' @', 1), {LONGEST_NAME})"
# A transaction without an id has written nothing. SET LOCAL synchronous_commit ends with COMMIT.
_BEFORE = (
    f"SELECT set_config('application_name', {_NAME} || CASE"
    " WHEN pg_current_xact_id_if_assigned() IS NULL THEN ''"
    " ELSE CASE current_setting('synchronous_commit') WHEN 'off' THEN ' @i.' ELSE ' @f.' END"
    " || to_hex(pg_current_xact_id_if_assigned()::text::bigint) END, false)"
)
_AFTER = (
    f"SELECT set_config('application_name', {_NAME} || CASE left(was, 1) WHEN '' THEN ''"
    " ELSE ' @' || ltrim(left(pg_walfile_name(pg_current_wal_flush_lsn()), 8), '0') || '.'"
    " || left(was, 1) || CASE left(was, 1) WHEN 'i' THEN pg_current_wal_insert_lsn()"
    f" ELSE pg_current_wal_flush_lsn() END || substr(was, 2) || '{_END}' END, false)"
    " FROM split_part(current_setting('application_name'), ' @', 2) AS was"
)
COMMIT = f"{_BEFORE}; COMMIT; {_AFTER}"
# Assigns the transaction's id at its beginning and reports it: only then can it be asked for later.
REPORT_XID = (
    f"SELECT set_config('application_name', {_NAME} || ' @x' || pg_current_xact_id(), false)"
)


class RoutedConnection(asyncpg.Connection):
    """asyncpg's, whose transactions leave a token in `written` when they have written something."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.written: Token | None = None
        self.token_at = 0  # how many queries had been sent when `written` was taken
        self.opened_at: Position | None = None  # None: no tokens from this connection
        self.xid: int | None = None
        self.ask_xid = False

    @property
    def queries(self) -> int:
        """How many queries this connection has sent so far; -1 when it is closed."""
        protocol = self._protocol  # type: ignore[attr-defined]
        return -1 if protocol is None else int(protocol.queries_count)

    @property
    def on_standby(self) -> bool | None:
        """As the server has last reported by itself; None behind a proxy that hides it."""
        reported = self._setting("in_hot_standby")
        return None if reported is None else reported == "on"

    @property
    def read_only_by_default(self) -> bool:
        """As the server reports it: how managed services close a full server for writes."""
        return self._setting("default_transaction_read_only") == "on"

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        if query == "COMMIT;":  # what asyncpg's Transaction sends
            return await self._commit(timeout)
        if self.ask_xid and query.startswith("BEGIN"):
            self.ask_xid = False
            return await self._begin(query, timeout)
        return await super().execute(query, *args, timeout=timeout)

    async def _begin(self, query: str, timeout: float | None) -> str:
        result = await super().execute(query + REPORT_XID, timeout=timeout)
        self.xid = int(self._reported()[1:] or 0) or None
        return result

    async def _commit(self, timeout: float | None) -> str:
        if self.is_closed():  # nothing is sent: asyncpg says so, and nothing has been applied
            return await super().execute("COMMIT;", timeout=timeout)
        try:
            if self.opened_at is None or self.on_standby:
                return await super().execute("COMMIT;", timeout=timeout)
            await super().execute(COMMIT, timeout=timeout)
        except asyncpg.InFailedSQLTransactionError:
            # an error was swallowed in the block: the server rolls back, as it always does
            return await super().execute("COMMIT;", timeout=timeout)
        except DRIVER_ERRORS as error:
            if is_lost(error) or isinstance(error, TimeoutError):
                raise self._unknown() from error
            raise
        self._take_token()
        return "COMMIT"

    def _unknown(self) -> CommitUnknown:
        return CommitUnknown(
            "the connection was lost in COMMIT: the transaction may have been applied",
            xid=self.xid,
            timeline=self.opened_at.timeline if self.opened_at else None,
            hint="`await router.fate(error)` says what became of it"
            if self.xid
            else "look for its effect before you repeat it; "
            "router.transaction(fate=True) makes it possible to ask the server",
        )

    def _take_token(self) -> None:
        reported = self._reported()
        if not reported or self.opened_at is None:
            return
        opened = self.opened_at
        timeline, where, xid = (*reported.rstrip(_END).split("."), "0", "0")[:3]
        lsn = parse_lsn(where[1:]) if reported.endswith(_END) else UNKNOWN_LSN
        if where.startswith("i"):
            lsn = end_of_record(lsn, opened.wal_block_bytes, opened.wal_segment_bytes)
        self.written = Token(opened.system, int(timeline, 16), lsn, int(xid, 16) + 1)
        self.token_at = self.queries

    def _reported(self) -> str:
        return (self._setting("application_name") or "").partition(" @")[2]

    def _setting(self, name: str) -> str | None:
        """As the server has last reported it; None when it does not, or the connection is closed:
        it may be cut at any moment, also while a statement's answer is on its way to the caller."""
        protocol = self._protocol  # type: ignore[attr-defined]
        return None if protocol is None else getattr(protocol.get_settings(), name, None)
