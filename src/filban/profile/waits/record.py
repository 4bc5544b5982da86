"""Samples kept in a file, so that an incident can be looked at later.

One SQLite file: a row a sample, its content as compressed JSON; each is a transaction of its own,
so that whatever kills the recorder leaves the file whole. SQLite lets one write while others read.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filban.errors import UsageError
from filban.pg.locks import LockWait
from filban.profile.waits.rows import Sample, Seen

# "filw": how `file` and we tell this from another SQLite file.
APPLICATION_ID = 0x66696C77
VERSION = 1
_SCHEMA = f"""
CREATE TABLE sample (at INTEGER NOT NULL, server TEXT NOT NULL, content BLOB NOT NULL);
CREATE INDEX sample_at ON sample (at);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""
_SEEN, _WAIT = [f.name for f in fields(Seen)], [f.name for f in fields(LockWait)]


class Recorder:
    """Appends samples to a file; those older than `keep` go. A context manager.

    Raises UsageError for a file that is none of ours or cannot be written.
    """

    def __init__(self, file: Path, server: str, keep: timedelta) -> None:
        self._file, self._server, self._keep = file, server, keep
        self._db = _open(file, make=True)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, one: Sample) -> None:
        """Raises UsageError when the file cannot be written (a full disk)."""
        oldest = _microseconds(one.at - self._keep)
        try:
            with self._db:
                self._db.execute(
                    "INSERT INTO sample VALUES (?, ?, ?)",
                    (_microseconds(one.at), self._server, _packed(one)),
                )
                self._db.execute("DELETE FROM sample WHERE at < ?", (oldest,))
        except sqlite3.Error as error:
            raise _unusable(self._file, error) from error


def recorded(
    file: Path, since: datetime | None = None, until: datetime | None = None
) -> Iterator[Sample]:
    """The samples of a file between two times, oldest first. Raises UsageError."""
    low = _microseconds(since) if since else -(2**62)
    high = _microseconds(until) if until else 2**62
    with closing(_open(file, make=False)) as db:
        try:
            found = db.execute(
                "SELECT at, content FROM sample WHERE at BETWEEN ? AND ? ORDER BY at", (low, high)
            )
            for at, content in found:
                yield _unpacked(at, content)
        except (sqlite3.Error, zlib.error, ValueError, TypeError) as error:
            raise _unusable(file, error) from error


def span(file: Path) -> tuple[datetime, datetime, int] | None:
    """The first and the last sample's time, and how many there are. Raises UsageError."""
    with closing(_open(file, make=False)) as db:
        try:
            query = "SELECT min(at), max(at), count(*) FROM sample"
            found = db.execute(query).fetchone()
        except sqlite3.Error as error:
            raise _unusable(file, error) from error
    return (_time(found[0]), _time(found[1]), found[2]) if found[2] else None


def _open(file: Path, *, make: bool) -> sqlite3.Connection:
    if not make and not file.is_file():
        raise UsageError(f"there is no file {file}", hint="record one: filban waits --record FILE")
    try:
        if make and not file.exists():
            # it holds texts of statements: for its owner only, and so are SQLite's files beside it
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        db = sqlite3.connect(file, timeout=10)
        known = db.execute("PRAGMA application_id").fetchone()[0]
        empty = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if known != APPLICATION_ID and not (make and empty):
            db.close()
            raise UsageError(f"{file} is not a recording of waits", hint="give another file name")
        if make and empty:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)
        return db
    except (sqlite3.Error, OSError) as error:
        raise _unusable(file, error) from error


def _unusable(file: Path, error: Exception) -> UsageError:
    return UsageError(
        f"{file} cannot be used: {error}", hint="is it a recording, and is there room on the disk?"
    )


def _packed(one: Sample) -> bytes:
    content = {
        "sessions": [list(asdict(s).values()) for s in one.sessions],
        "waits": [list(asdict(w).values()) for w in one.waits],
        "columns": [_SEEN, _WAIT],
    }
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode())


def _unpacked(at: int, content: bytes) -> Sample:
    """Columns that a later version has added are left out, missing ones are None."""
    found = json.loads(zlib.decompress(content))
    seen_columns, wait_columns = found["columns"]
    sessions: list[dict[str, Any]] = [
        dict(zip(seen_columns, s, strict=True)) for s in found["sessions"]
    ]
    waits: list[dict[str, Any]] = [dict(zip(wait_columns, w, strict=True)) for w in found["waits"]]
    return Sample(
        _time(at),
        tuple(Seen(**{name: _plain(s.get(name)) for name in _SEEN}) for s in sessions),
        tuple(LockWait(**{name: _plain(w.get(name)) for name in _WAIT}) for w in waits),
    )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _microseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000)


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
