"""Whether a statement leaves the session as it found it: judged once a text, then remembered."""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from typing import Any

import asyncpg

from filban.pool.clean.catalogue import Catalogue, Unknown, asks_sequence_state
from filban.pool.clean.collect import read_rows, read_version
from filban.sql import Effects, SqlError, body_effects, session_effects

# How old what is known of the catalogue may get. It is also how long a change made by somebody else
# can go unnoticed; one look costs the server about a millisecond.
RECHECK_SECONDS = 10.0
# After a name that is not known, the catalogue is read again, but not more often than this: a
# service that keeps asking for a table that is not there must not keep the server busy with it.
UNKNOWN_RECHECK_SECONDS = 1.0
# A longer text is not judged: parsing it (1 us a character) costs more than the reset it may save.
LONGEST_JUDGED = 32_768
# Texts remembered, in each of two generations: what was used in the younger one survives.
REMEMBERED = 1_024
REFRESH_TIMEOUT = 10.0


class Judge:
    """Judges the texts that are run in one database. Not thread-safe; shared by a pool's leases.

    `is_clean` never waits and never raises. Ask it when the statement is over and its transaction
    too: DDL makes it doubt the catalogue at once. It knows the database after `refresh`, which
    whoever has a connection at hand awaits when `due`; until then only what uses no name is clean.

    What others do to the catalogue is seen at the next look, up to `recheck_seconds` later. Until
    then a function, trigger or policy that has just begun to change sessions goes unnoticed, and a
    session may be handed on with what it left. DDL that this judge sees, and names it does not
    know, count at once. Not seen at all are functions of PostgreSQL itself that were altered, and
    what `ALTER TABLE … ALTER COLUMN TYPE` does without rewriting the table.

    currval() and lastval() are session state that every INSERT with a serial or identity key
    changes and next to nobody reads, RETURNING being there. So drawing from a sequence is clean
    until the first statement or function is seen that asks for them, and dirty from then on.
    """

    def __init__(self, *, recheck_seconds: float = RECHECK_SECONDS) -> None:
        self._recheck_seconds = recheck_seconds
        # The last one read, and the same while it can be trusted.
        self._known: Catalogue | None = None
        self._catalogue: Catalogue | None = None
        self._read_at = float("-inf")
        self._wants_look = False
        self._refreshing = False
        self._doubted = False
        self._sequence_state_counts = False
        # Whether a backslash in '…' is only that, as for the grammar that judges; None: not known.
        self._plain_strings: bool | None = None
        self._young: dict[str, str] = {}
        self._old: dict[str, str] = {}

    def is_clean(self, sql: str) -> bool:
        """Whether running this text (of any number of statements) certainly changes no session."""
        return not self.why_dirty(sql)

    def why_dirty(self, sql: str) -> str:
        """Why it may change the session, for people; "" when it does not."""
        reason = self._young.get(sql)
        return self._look_up(sql) if reason is None else reason

    @property
    def verdicts(self) -> dict[str, str]:
        """Texts -> why they are dirty, "" for clean ones: the texts that were used last.

        For a pool's every release, which saves itself two calls; a text that is missing here is
        asked of `is_clean`. To be read anew each time.
        """
        return self._young

    @property
    def due(self) -> bool:
        """Whether it is time for `refresh`."""
        if self._refreshing:
            return False
        age = time.monotonic() - self._read_at
        if self._wants_look:
            return age >= UNKNOWN_RECHECK_SECONDS
        return age >= self._recheck_seconds

    async def refresh(self, connection: asyncpg.Connection[Any]) -> None:
        """Look whether the catalogue has changed, and read it again if so.

        The connection must be outside of a transaction. What asyncpg raises for a lost connection
        or a timeout is raised, and then, as when the role may not read the catalogue, nothing that
        uses a name is clean until a refresh succeeds.
        """
        self._refreshing, self._doubted = True, False
        self._note_strings(connection)
        try:
            catalogue = await self._read(connection)
        except asyncpg.InsufficientPrivilegeError:
            self._use(None)
        except BaseException:
            self._use(None)
            raise
        else:
            # What somebody has changed since we began to read may be missing in it.
            self._use(None if self._doubted else catalogue)
        finally:
            self._read_at = float("-inf") if self._doubted else time.monotonic()
            self._wants_look = self._refreshing = False

    def _note_strings(self, connection: asyncpg.Connection[Any]) -> None:
        plain = connection.get_settings().standard_conforming_strings == "on"
        if plain is not self._plain_strings:
            self._plain_strings = plain
            self._young, self._old = {}, {}

    def forget(self) -> None:
        """Make `refresh` due, and until then nothing clean that uses a name.

        For whoever knows that the catalogue has changed, or may have.
        """
        self._use(None)
        self._doubted = True
        self._read_at = float("-inf")

    async def _read(self, connection: asyncpg.Connection[Any]) -> Catalogue:
        version = await read_version(connection, timeout=REFRESH_TIMEOUT)
        if self._known is None or self._known.version != version:
            rows = await read_rows(connection, version, timeout=REFRESH_TIMEOUT)
            # Parsing the bodies of a thousand functions takes tens of milliseconds.
            self._known = await asyncio.to_thread(Catalogue, rows, _body_effects)
        return self._known

    def _use(self, catalogue: Catalogue | None) -> None:
        if catalogue is not self._catalogue:
            self._catalogue = catalogue
            self._sequence_state_counts |= bool(catalogue and catalogue.reads_sequence_state)
            self._young, self._old = {}, {}

    def _look_up(self, sql: str) -> str:
        reason = self._old.get(sql)
        if reason is None and not self._plain_strings and "\\" in sql:
            reason = "a backslash, and standard_conforming_strings is not known to be on"
        elif reason is None:
            effects = _effects(sql) if len(sql) <= LONGEST_JUDGED else _TOO_LONG
            if effects.ddl:
                # Not remembered: each time it is run the catalogue may change.
                self.forget()
                return effects.reason
            reason = self._judge(effects)
        if len(self._young) >= REMEMBERED:
            self._young, self._old = {}, self._young
        self._young[sql] = reason
        return reason

    def _judge(self, effects: Effects) -> str:
        if effects.reason or effects == _NOTHING:
            return effects.reason
        if self._catalogue is None:
            return "the catalogue has not been read"
        if asks_sequence_state(effects) and not self._sequence_state_counts:
            self._sequence_state_counts = True
            self._young, self._old = {}, {}
        if self._sequence_state_counts and self._catalogue.may_draw_from_sequence(effects):
            return "currval() and lastval() may have changed"
        reason = self._catalogue.why_dirty(effects)
        self._wants_look |= isinstance(reason, Unknown)
        return str(reason)


_TOO_LONG = Effects(reason="too long to be judged")
_NOTHING = Effects()


@lru_cache(maxsize=REMEMBERED)
def _effects(sql: str) -> Effects:
    try:
        return session_effects(sql)
    except SqlError as error:
        return Effects(reason=error.message)


_body_effects = lru_cache(maxsize=REMEMBERED)(body_effects)
