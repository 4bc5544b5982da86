"""Snapshots kept as deltas in one SQLite file: what the command line remembers between two calls.

One snapshot is one transaction in WAL mode: whoever is killed leaves the file as it was before or
as it is after. Whatever replaces it needs `add`, `spans`, `totals`, `series`, `unknown`, `learn`,
`statements` and `names`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filban.errors import DiskFull, UsageError
from filban.profile.statements import schema
from filban.profile.statements.deltas import delta
from filban.profile.statements.rows import Counts, Delta, Info, Key, Name, Snapshot

# Enough to compare with the same day a week and four weeks ago; 30 days of snapshots each minute of
# 5,000 busy statements are 1.3 GB, of one each five minutes a fifth of it.
KEEP = timedelta(days=30)
# Another filban that is writing its snapshot is done in well under a second.
BUSY_SECONDS = 30.0
_START = datetime(1970, 1, 1, tzinfo=UTC)
_MARKS = ", ".join("?" * len(Counts._fields))
_SINCE = Counts._fields.index("since")
# Sums over spans; the squares as in deltas.together: of the parts, and of their means' distance.
_SUMS = ", ".join(
    {
        "min_ms": "min(g.min_ms)",
        "max_ms": "max(g.max_ms)",
        "exec_sq_ms2": "coalesce(max(0.0, sum(g.exec_sq_ms2) + total(g.exec_ms * g.exec_ms"
        " / g.calls) - sum(g.exec_ms) * sum(g.exec_ms) / nullif(sum(g.calls), 0)), 0.0)",
        "since": "min(g.since)",
    }.get(name, f"sum(g.{name})")
    for name in Counts._fields
)


@dataclass(frozen=True, slots=True)
class Span:
    """What one delta was, without its entries (see rows.Delta)."""

    id: int
    start: datetime
    end: datetime
    from_zero: bool
    restarted: int
    gone: int
    evicted: int
    hidden: int


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a statement: its text ("" where the server lost it), sqlcommenter labels."""

    database_id: int
    query_id: int
    fingerprint: str
    query: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Point:
    """One statement in one span."""

    start: datetime
    end: datetime
    counts: Counts


class History:
    """The file; made by `opened`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def add(self, snapshot: Snapshot) -> Delta:
        """Keep a snapshot; returns what happened since the last one of its run of counters."""
        with self._writing():
            run, before = self._last(snapshot)
            if before is not None and before.taken_at > snapshot.taken_at:
                return delta(snapshot, snapshot)  # another filban was faster, and has counted it
            change = delta(before, snapshot)
            run = self._keep_run(run, snapshot)
            ids = self._entries(run, snapshot.entries)
            self._keep_standing(ids, before.entries if before else {}, snapshot.entries)
            self._keep_span(run, ids, change)
            self._forget(snapshot.taken_at - KEEP)
        return change

    def spans(self, cluster: str, *, since: datetime | None = None) -> list[Span]:
        """Oldest first; those that ended after `since`."""
        rows = self._db.execute(
            "SELECT s.id, s.started, s.ended, s.from_zero, s.restarted, s.gone, s.evicted, s.hidden"
            " FROM span s JOIN run r ON r.id = s.run WHERE r.cluster = ? AND s.ended > ?"
            " ORDER BY s.ended, s.id",
            (cluster, _number(since) if since else 0),
        )
        return [Span(i, _time(a), _time(b), bool(z), *rest) for i, a, b, z, *rest in rows]

    def totals(self, spans: Collection[Span]) -> dict[Key, Counts]:
        """Every entry's sum over these spans."""
        rows = self._db.execute(
            f"SELECT e.user_id, e.database_id, e.query_id, e.toplevel, {_SUMS} FROM growth g"
            " JOIN entry e ON e.id = g.entry WHERE g.span IN (SELECT value FROM json_each(?))"
            " GROUP BY 1, 2, 3, 4",
            (json.dumps([span.id for span in spans]),),
        )
        return {Key(r[0], r[1], r[2], bool(r[3])): _counts(r[4:]) for r in rows}

    def series(
        self, cluster: str, statement: tuple[int, int], since: datetime | None = None
    ) -> list[Point]:
        """One statement (database, query id) span by span, oldest first; not where the counters
        began from zero before the first snapshot, which is no interval of ours."""
        rows = self._db.execute(
            f"SELECT s.started, s.ended, {_SUMS} FROM entry e JOIN growth g ON g.entry = e.id"
            " JOIN span s ON s.id = g.span JOIN run r ON r.id = s.run"
            " WHERE e.database_id = ? AND e.query_id = ? AND r.cluster = ? AND s.ended > ?"
            " AND NOT s.from_zero GROUP BY s.id ORDER BY s.ended",
            (*statement, cluster, _number(since) if since else 0),
        )
        return [Point(_time(r[0]), _time(r[1]), _counts(r[2:])) for r in rows]

    def unknown(self, cluster: str, keys: Iterable[Key]) -> set[int]:
        """The query ids among these without a text yet."""
        rows = self._db.execute(
            "SELECT database_id, query_id FROM text WHERE cluster = ?", (cluster,)
        )
        known = set(rows)
        return {k.query_id for k in keys if (k.database_id, k.query_id) not in known}

    def learn(self, cluster: str, statements: Iterable[Known], names: Iterable[Name]) -> None:
        """Keep texts and names."""
        with self._writing():
            self._db.executemany(
                "INSERT OR REPLACE INTO text VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (cluster, s.database_id, s.query_id, s.fingerprint, s.query,
                     json.dumps(dict(s.labels)))
                    for s in statements
                ],
            )  # fmt: skip
            self._db.executemany(
                "INSERT OR REPLACE INTO name VALUES (?, ?, ?, ?)",
                [(cluster, n.kind, n.id, n.name) for n in names],
            )

    def statements(self, cluster: str) -> dict[tuple[int, int], Known]:
        """(database, query id) -> what is known of it."""
        rows = self._db.execute(
            "SELECT database_id, query_id, fingerprint, query, labels FROM text WHERE cluster = ?",
            (cluster,),
        )
        return {(r[0], r[1]): Known(r[0], r[1], r[2], r[3], json.loads(r[4])) for r in rows}

    def names(self, cluster: str) -> dict[tuple[str, int], str]:
        """(kind, object id) -> the last name it had."""
        rows = self._db.execute("SELECT kind, id, name FROM name WHERE cluster = ?", (cluster,))
        return {(kind, number): name for kind, number, name in rows}

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _last(self, snapshot: Snapshot) -> tuple[int | None, Snapshot | None]:
        """The run's number and its last snapshot, if it was seen before."""
        row = self._db.execute(
            "SELECT id, evictions, max_entries, taken_at, started_at FROM run"
            " WHERE cluster = ? AND epoch = ?",
            (snapshot.cluster, _number(snapshot.info.epoch)),
        ).fetchone()
        if row is None:
            return None, None
        entries = self._db.execute(
            f"SELECT user_id, database_id, query_id, toplevel, {schema.COUNTS}"
            " FROM standing JOIN entry ON entry.id = standing.entry WHERE run = ?",
            (row[0],),
        )
        info = Info(snapshot.info.epoch, row[1], row[2], _time(row[3]), _time(row[4]))
        kept = {Key(r[0], r[1], r[2], bool(r[3])): _counts(r[4:]) for r in entries}
        return row[0], Snapshot(snapshot.cluster, info, kept, 0)

    def _keep_run(self, run: int | None, snapshot: Snapshot) -> int:
        info = snapshot.info
        row = self._db.execute(
            "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " evictions = excluded.evictions, max_entries = excluded.max_entries,"
            " taken_at = excluded.taken_at, started_at = excluded.started_at RETURNING id",
            (
                run, snapshot.cluster, _number(info.epoch), info.evictions, info.max_entries,
                _number(info.taken_at), _number(info.started_at),
            ),
        ).fetchone()  # fmt: skip
        return int(row[0])

    def _entries(self, run: int, keys: Iterable[Key]) -> dict[Key, int]:
        """The number of each entry of the run, made for new ones."""
        rows = self._db.execute(
            "SELECT user_id, database_id, query_id, toplevel, id FROM entry WHERE run = ?", (run,)
        )
        ids = {Key(r[0], r[1], r[2], bool(r[3])): int(r[4]) for r in rows}
        for key in keys:
            if key not in ids:
                made = self._db.execute(
                    "INSERT INTO entry (run, user_id, database_id, query_id, toplevel)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (run, *key),
                )
                ids[key] = int(made.lastrowid or 0)
        return ids

    def _keep_standing(
        self, ids: Mapping[Key, int], before: Mapping[Key, Counts], after: Mapping[Key, Counts]
    ) -> None:
        self._db.executemany(
            "DELETE FROM standing WHERE entry = ?",
            [(ids[key],) for key in before.keys() - after.keys()],
        )
        self._db.executemany(
            f"INSERT OR REPLACE INTO standing VALUES (?, {_MARKS})",
            [(ids[k], *_plain(c)) for k, c in after.items() if before.get(k) != c],
        )

    def _keep_span(self, run: int, ids: Mapping[Key, int], change: Delta) -> None:
        span = self._db.execute(
            "INSERT INTO span VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                run, _number(change.start), _number(change.end), change.from_zero,
                change.restarted, change.gone, change.evicted, change.hidden,
            ),
        ).lastrowid  # fmt: skip
        self._db.executemany(
            f"INSERT INTO growth VALUES (?, ?, {_MARKS})",
            [(span, ids[key], *_plain(counts)) for key, counts in change.entries.items()],
        )

    def _forget(self, before: datetime) -> None:
        """Drop what is too old: spans, runs that nobody has seen since, entries without either."""
        limit = (_number(before),)
        if not self._db.execute("SELECT 1 FROM span WHERE ended < ? LIMIT 1", limit).fetchone():
            return
        self._db.execute("DELETE FROM span WHERE ended < ?", limit)
        self._db.execute("DELETE FROM run WHERE taken_at < ?", limit)
        self._db.execute(
            "DELETE FROM entry WHERE id NOT IN (SELECT entry FROM standing)"
            " AND id NOT IN (SELECT entry FROM growth)"
        )
        self._db.execute(
            "DELETE FROM text WHERE (database_id, query_id) NOT IN"
            " (SELECT database_id, query_id FROM entry)"
        )


def default_file() -> Path:
    """$XDG_STATE_HOME/filban/queries.sqlite, else below ~/.local/state."""
    state = os.environ.get("XDG_STATE_HOME")
    root = Path(state) if state and Path(state).is_absolute() else Path.home() / ".local" / "state"
    return root / "filban" / "queries.sqlite"


@contextlib.contextmanager
def opened(file: Path) -> Iterator[History]:
    """The history in `file`, made if need be, readable by its owner only: texts may hold secrets.

    Raises UsageError (no right, not such a file, of a newer filban), DiskFull.
    """
    with _errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with contextlib.closing(
            sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)
        ) as connection:
            _prepare(connection, file)
            yield History(connection)


def _prepare(connection: sqlite3.Connection, file: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # enough in WAL mode to stay whole
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN IMMEDIATE")  # two that begin a file at once
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        for statement in schema.TABLES.split(";"):
            connection.execute(statement)
    connection.execute("COMMIT")
    if version > schema.VERSION:
        raise UsageError(
            f"{file} was written by a newer filban",
            hint="upgrade filban, or name another file with --history",
        )


@contextlib.contextmanager
def _errors(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise DiskFull(f"no room to write {file}", hint="free some space there") from error
        raise UsageError(
            f"cannot use the history {file}: {error}", hint="name another file with --history"
        ) from error
    except OSError as error:
        raise UsageError(
            f"cannot use the history {file}: {error.strerror or error}",
            hint="name another file with --history",
        ) from error


def _number(time: datetime) -> int:
    return (time - _START) // timedelta(microseconds=1)


def _time(number: int) -> datetime:
    return _START + timedelta(microseconds=number)


def _plain(counts: Counts) -> Sequence[Any]:
    if counts.since is None:
        return counts
    return (*counts[:_SINCE], _number(counts.since), *counts[_SINCE + 1 :])


def _counts(values: Sequence[Any]) -> Counts:
    if values[_SINCE] is None:
        return Counts._make(values)
    return Counts._make((*values[:_SINCE], _time(values[_SINCE]), *values[_SINCE + 1 :]))
