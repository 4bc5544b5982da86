"""The events that are no lines of statements: few in most logs, so they are gathered from batches
until there are enough to be worth a look."""

from __future__ import annotations

import polars as pl

from filban.profile.logs import server, sessions, temp
from filban.profile.logs.failures import LEVELS, Failures
from filban.profile.logs.keys import Registry
from filban.profile.logs.locks import LockWaits
from filban.profile.logs.server import ServerLog
from filban.profile.logs.sessions import SessionLog
from filban.profile.logs.temp import TempFileLog

ENOUGH = 5_000  # events
_DEADLOCK = "deadlock detected"
_AUTOVACUUM_CANCELLED = "canceling autovacuum task"
_WAIT = r"^process \d+ "
_SERVER_FAILURE = (
    rf"^(?:{_DEADLOCK}|{_AUTOVACUUM_CANCELLED}|out of memory|terminating any other)"
    "|No space left"
)


class RareEvents:
    """Hands events to those who add them up, in order. Read the parts after `flush`."""

    def __init__(self, registry: Registry) -> None:
        self.failures = Failures()
        self.locks = LockWaits()
        self.server = ServerLog()
        self.sessions = SessionLog()
        self.temp = TempFileLog(registry)
        self._waiting: list[pl.DataFrame] = []
        self._count = 0

    def take(self, events: pl.DataFrame) -> None:
        if events.height < ENOUGH:
            # As Python's own objects and back: a filtered frame keeps all of its batch in memory.
            events = pl.DataFrame(events.rows(), events.schema, orient="row")
        self._waiting.append(events)
        self._count += events.height
        if self._count >= ENOUGH:
            self.flush()

    def flush(self) -> None:
        """Add up what has been gathered."""
        if not self._waiting:
            return
        events = pl.concat(self._waiting)
        self._waiting, self._count = [], 0
        self.failures.take(events)
        self._single(events)
        logged = events.filter(pl.col("level") == "LOG")
        message = pl.col("message")
        self.sessions.take(logged.filter(message.str.contains(sessions.WANTED)))
        self.temp.take(logged.filter(message.str.contains(temp.WANTED)))

    def _single(self, events: pl.DataFrame) -> None:
        """What is so rare that it is looked at one by one."""
        message = pl.col("message")
        logged = (pl.col("level") == "LOG") & message.str.contains(f"{_WAIT}|{server.WANTED}")
        failed = pl.col("level").is_in(LEVELS) & message.str.contains(_SERVER_FAILURE)
        for event in events.filter(logged | failed).iter_rows(named=True):
            text = event["message"]
            if text.startswith("process "):
                self.locks.wait(event)
            elif text.startswith(_DEADLOCK):
                self.locks.deadlock(event)
            elif text.startswith(_AUTOVACUUM_CANCELLED):
                self.server.autovacuum_cancelled(event["context"])
            else:
                self.server.take(event)
