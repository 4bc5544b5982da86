"""What the server itself tells: checkpoints, autovacuum, starts, stops and crashes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from filban.profile.logs.rows import Autovacuum, Checkpoints, ServerEvent

_COMPLETE = re.compile(
    r"(?P<kind>checkpoint|restartpoint) complete(?: \([^)]*\))?: wrote (?P<buffers>\d+) buffers"
    r".*?(?:; (?P<added>\d+) (?:transaction log|WAL) file\(s\) added, (?P<removed>\d+) removed, "
    r"(?P<recycled>\d+) recycled)?"
    r"; write=(?P<write>[\d.]+) s, sync=(?P<sync>[\d.]+) s, total=(?P<total>[\d.]+) s"
    r"(?:.*?distance=(?P<distance>\d+) kB)?"
)
_STARTING = re.compile(r"(?:checkpoint|restartpoint) starting:\s*(.*)")

_VACUUM = re.compile(
    r"automatic (?:aggressive )?(?P<what>vacuum|analyze)(?P<wraparound> to prevent wraparound)?"
    r' of table "(?P<table>[^"]+)"'
)
_AGGRESSIVE_WRAPAROUND = "to prevent wraparound"
_ELAPSED = re.compile(r"elapsed: ([\d.]+) s|elapsed ([\d.]+) sec")
_TUPLES = re.compile(r"tuples: (\d+) removed, (?:\d+) remain, (\d+) are dead but not yet removable")
_PAGES = re.compile(r"pages: (\d+) removed")
_CANCELLED_TABLE = re.compile(r'automatic \w+ of table "([^"]+)"')
TABLES = 20_000

# The beginning of a message -> kind; all LOG unless the level says worse.
_EVENTS = (
    ("starting PostgreSQL", "start"),
    ("database system is ready to accept read", "ready"),
    ("database system is ready to accept connections", "ready"),
    ("database system was shut down", "clean_start"),
    ("database system was interrupted", "crash_recovery"),
    ("database system was not properly shut down", "crash_recovery"),
    ("redo starts at", "redo"),
    ("redo done at", "redo"),
    ("selected new timeline", "promotion"),
    ("received promote request", "promotion"),
    ("received smart shutdown", "shutdown"),
    ("received fast shutdown", "shutdown"),
    ("received immediate shutdown", "immediate_shutdown"),
    ("database system is shut down", "stopped"),
    ("aborting any active transactions", "shutdown"),
    ("terminating any other active server processes", "crash"),
    ("all server processes terminated; reinitializing", "crash"),
    ("received SIGHUP", "reload"),
    ("out of memory", "out_of_memory"),
    ("entering standby mode", "standby"),
    ("started streaming WAL", "replication"),
    ("consistent recovery state reached", "standby"),
    ("archive recovery complete", "promotion"),
    ("parameter ", "reload"),
    ("could not write to file", "disk"),
    ("could not extend file", "disk"),
    ("could not fsync file", "disk"),
    ("archive command failed", "archive"),
    ("archiving write-ahead log file", "archive"),
    ("requested WAL segment", "replication"),
    ("terminating walsender process due to replication timeout", "replication"),
    ("invalidating", "replication"),
)
_CRASHED = re.compile(r"^.{1,60} \(PID \d+\) (?:was terminated by signal|exited with exit code) ")
# How this one ends at every shutdown (until PostgreSQL 18 at least).
_ENDS_SO = 'background worker "logical replication launcher"'
EVENTS = 500  # the first and the last of them are kept
# Everything this module may want, for choosing rows by column.
WANTED = (
    r"^(?:checkpoint|restartpoint|automatic "
    r"|.{1,60} \(PID \d+\) (?:was terminated by signal|exited with exit code) |"
    + "|".join(re.escape(words) for words, _ in _EVENTS)
    + ")"
)


@dataclass(slots=True)
class _Table:
    vacuums: int = 0
    analyzes: int = 0
    vacuum_s: float = 0.0
    analyze_s: float = 0.0
    removed: int = 0
    not_removable: int = 0
    pages_removed: int = 0
    wraparound: int = 0
    cancelled: int = 0


@dataclass(slots=True)
class ServerLog:
    """Takes single events."""

    _checkpoints: Checkpoints = field(default_factory=Checkpoints)
    _causes: Counter[str] = field(default_factory=Counter)
    _tables: dict[str, _Table] = field(default_factory=dict)
    _events: list[ServerEvent] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def take(self, event: dict[str, Any]) -> None:
        message = event["message"]
        if message.startswith(("checkpoint", "restartpoint")):
            self._checkpoint(message)
        elif message.startswith("automatic "):
            self._vacuum(message)
        else:
            self._event(event, message)

    def autovacuum_cancelled(self, context: str | None) -> None:
        """ERROR "canceling autovacuum task"; its CONTEXT names the table."""
        match = _CANCELLED_TABLE.search(context or "")
        if match:
            self._table(match[1]).cancelled += 1

    def checkpoints(self) -> Checkpoints:
        return replace(self._checkpoints, causes=dict(self._causes.most_common()))

    def autovacuum(self) -> list[Autovacuum]:
        """Longest first."""
        rows = [
            Autovacuum(
                name, t.vacuums, t.analyzes, round(t.vacuum_s, 3), round(t.analyze_s, 3), t.removed,
                t.not_removable, t.pages_removed, t.wraparound, t.cancelled,
            )
            for name, t in self._tables.items()
        ]  # fmt: skip
        return sorted(rows, key=lambda r: (-(r.vacuum_s + r.analyze_s), r.table))

    def events(self) -> list[ServerEvent]:
        return list(self._events)

    def _checkpoint(self, message: str) -> None:
        starting = _STARTING.match(message)
        if starting:
            self._causes[starting[1].strip() or "unknown"] += 1
            return
        known = self._checkpoints
        if message.startswith("checkpoints are occurring too frequently"):
            self._checkpoints = replace(known, too_frequent=known.too_frequent + 1)
            return
        match = _COMPLETE.match(message)
        if match is None:
            return
        total = float(match["total"])
        is_checkpoint = match["kind"] == "checkpoint"
        self._checkpoints = replace(
            known,
            completed=known.completed + is_checkpoint,
            restartpoints=known.restartpoints + (not is_checkpoint),
            buffers=known.buffers + int(match["buffers"]),
            write_s=round(known.write_s + float(match["write"]), 3),
            sync_s=round(known.sync_s + float(match["sync"]), 3),
            total_s=round(known.total_s + total, 3),
            longest_s=max(known.longest_s, total),
            wal_added=known.wal_added + int(match["added"] or 0),
            wal_removed=known.wal_removed + int(match["removed"] or 0),
            wal_recycled=known.wal_recycled + int(match["recycled"] or 0),
            distance_bytes=known.distance_bytes + int(match["distance"] or 0) * 1024,
        )

    def _vacuum(self, message: str) -> None:
        match = _VACUUM.match(message)
        if match is None:
            return
        table = self._table(match["table"])
        elapsed = _ELAPSED.search(message)
        seconds = float(elapsed[1] or elapsed[2]) if elapsed else 0.0
        if match["what"] == "analyze":
            table.analyzes += 1
            table.analyze_s += seconds
            return
        table.vacuums += 1
        table.vacuum_s += seconds
        table.wraparound += match["wraparound"] is not None
        tuples, pages = _TUPLES.search(message), _PAGES.search(message)
        table.removed += int(tuples[1]) if tuples else 0
        table.not_removable += int(tuples[2]) if tuples else 0
        table.pages_removed += int(pages[1]) if pages else 0

    def _table(self, name: str) -> _Table:
        if name not in self._tables and len(self._tables) >= TABLES:
            name = "(other tables)"
        return self._tables.setdefault(name, _Table())

    def _event(self, event: dict[str, Any], message: str) -> None:
        kind = next((kind for words, kind in _EVENTS if message.startswith(words)), None)
        if _CRASHED.match(message):
            kind = "crash" if "signal" in message or "server process" in message else "process_died"
        if message.startswith(_ENDS_SO):
            kind = None
        if kind is None or (kind == "reload" and not _is_reload(message)):
            return
        self.counts[kind] += 1
        self._events.append(ServerEvent(event["time"], kind, message[:500], event["detail"]))
        if len(self._events) > EVENTS:
            del self._events[EVENTS // 2]


def _is_reload(message: str) -> bool:
    return (
        message.startswith("received SIGHUP")
        or "changed to" in message
        or "cannot be changed" in message
    )
