"""Events -> report: every batch is handed to the parts, each of which adds up its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from filban.profile.logs.frame import Batch, Unread
from filban.profile.logs.lines import split
from filban.profile.logs.rare import RareEvents
from filban.profile.logs.rows import LogReport, Source
from filban.profile.logs.statements import Statements
from filban.profile.logs.temp import Owners
from filban.profile.logs.words import EVENTS, TRANSLATED


@dataclass(frozen=True, slots=True)
class Only:
    """Which events are looked at. since and until: the log's own clock, the end excluded; of
    databases and users, those named; empty: all, with what the server says outside of sessions."""

    since: datetime | None = None
    until: datetime | None = None
    databases: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    def apply(self, events: pl.DataFrame) -> pl.DataFrame:
        if self.since is not None:
            events = events.filter(pl.col("time") >= self.since)
        if self.until is not None:
            events = events.filter(pl.col("time") < self.until)
        if self.databases:
            events = events.filter(pl.col("db").is_in(self.databases))
        if self.users:
            events = events.filter(pl.col("user").is_in(self.users))
        return events


@dataclass
class Analysis:
    """One report in the making. Not to be used by two threads at once."""

    only: Only = field(default_factory=Only)

    def __post_init__(self) -> None:
        self.statements = Statements()
        self._rare = RareEvents(self.statements.registry)
        self._owners = Owners()
        self._levels: Counter[str] = Counter()
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._foreign = False

    def take(self, batch: Batch) -> int:
        """Add a batch up; its `unread` grows by what turns out to be half a line. Returns how many
        events were looked at."""
        events = self._ours(batch.events, batch.unread)
        if events.is_empty():
            return 0
        self._span(events)
        lines, others = split(
            events.with_columns(pl.int_range(pl.len()).alias("order")), batch.unread
        )
        self.statements.take(lines, others)
        self._rare.take(self._owners.fill(lines, others))
        return events.height

    def finish(self) -> None:
        """No more batches: what still waits for the rest of its execution counts as it is."""
        self.statements.finish()

    def report(self, sources: Sequence[Source]) -> LogReport:
        """The report so far."""
        self._rare.flush()
        rare = self._rare
        calls, total_ms = self.statements.totals()
        return LogReport(
            files=tuple(sources),
            first=self._first,
            last=self._last,
            events=sum(self._levels.values()),
            unread=sum(source.unread for source in sources),
            levels={level: self._levels[level] for level in EVENTS if self._levels[level]},
            per=self.statements.per,
            calls=calls,
            total_ms=round(total_ms, 3),
            unattributed_calls=self.statements.unattributed,
            unattributed_ms=round(self.statements.unattributed_ms, 3),
            hours=tuple(self.statements.per_hour()),
            statements=tuple(self.statements.rows()),
            routes=tuple(self.statements.routes.rows()),
            plans=tuple(self.statements.plans.rows()),
            errors=tuple(rare.failures.rows()),
            cancelled=tuple(rare.failures.cancelled()),
            locks=rare.locks.result(),
            temp_files=tuple(rare.temp.rows()),
            temp_file_count=rare.temp.count,
            temp_file_bytes=rare.temp.bytes,
            checkpoints=rare.server.checkpoints(),
            autovacuum=tuple(rare.server.autovacuum()),
            sessions=rare.sessions.result(),
            server_events=tuple(rare.server.events()),
            notes=tuple(self._notes()),
        )

    def _ours(self, events: pl.DataFrame, unread: Unread) -> pl.DataFrame:
        empty = events["message"].null_count()
        if empty:
            unread.add("an event without a message", empty)
            events = events.filter(pl.col("message").is_not_null())
        if not events["level"].is_in(EVENTS).all():
            self._foreign |= bool(events["level"].is_in(list(TRANSLATED)).any())
            events = events.with_columns(
                pl.col("level").replace(
                    {**TRANSLATED, **{f"DEBUG{n}": "DEBUG" for n in range(1, 6)}}
                )
            )
            strange = events.filter(~pl.col("level").is_in(EVENTS).fill_null(value=False))
            for level, message in strange.select("level", "message").iter_rows():
                unread.add(f"{level}: {message}")
            events = events.filter(pl.col("level").is_in(EVENTS))
        return self.only.apply(events)

    def _span(self, events: pl.DataFrame) -> None:
        first, last = events["time"].min(), events["time"].max()
        if isinstance(first, datetime) and isinstance(last, datetime):
            self._first = min(first, self._first or first)
            self._last = max(last, self._last or last)
        for level, count in events.group_by("level").len().iter_rows():
            self._levels[level] += count

    def _notes(self) -> list[str]:
        notes = []
        if self._foreign:
            notes.append(
                "part of the log is not in English: its statements and errors are counted; its "
                "lock waits, checkpoints, autovacuum, connections and temporary files are not known"
            )
        if self.statements.unattributed:
            notes.append(
                f"{self.statements.unattributed:,} durations came without a text "
                "(log_duration without log_statement or log_min_duration_statement)"
            )
        return notes
