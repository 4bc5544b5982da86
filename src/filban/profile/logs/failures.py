"""Errors, FATALs, PANICs and warnings by SQLSTATE and wording; and what was cancelled.

Only the level decides what an error is: a LOG line about a lock wait is none.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import polars as pl

from filban.profile.logs.rows import Cancelled, Failure

LEVELS = ("PANIC", "FATAL", "ERROR", "WARNING")
MOST = 2_000  # wordings that are kept apart; the rest is counted by level and SQLSTATE
TEXT_CHARACTERS = 2_000
_FEW = 16

# Names and values in a wording: "…" identifiers, '…' values, numbers.
_VALUES = r"\"[^\"]*\"|'[^']*'|\b[0-9]+(?:\.[0-9]+)*\b"

# Where the log has no SQLSTATE (stderr without %e): the wording of PostgreSQL's source, in English,
# as a regular expression -> its code. The most frequent ones of a service's life.
SQLSTATES = (
    (r"^duplicate key value violates unique constraint", "23505"),
    (r"violates foreign key constraint", "23503"),
    (r"violates check constraint|is violated by some row", "23514"),
    (r"violates not-null constraint", "23502"),
    (r"violates exclusion constraint", "23P01"),
    (r"^(?:relation|table|view|index|sequence) \".*\" does not exist", "42P01"),
    (r"^column .* does not exist", "42703"),
    (r"^function .* does not exist", "42883"),
    (r"^operator does not exist", "42883"),
    (r"^(?:type|role|trigger|extension) \".*\" does not exist", "42704"),
    (r"^schema \".*\" does not exist", "3F000"),
    (r"^database \".*\" does not exist", "3D000"),
    (r"^prepared statement \".*\" does not exist", "26000"),
    (r"^prepared statement \".*\" already exists", "42P05"),
    (r"^relation \".*\" already exists", "42P07"),
    (r"^database \".*\" already exists", "42P04"),
    (r"^(?:syntax error|unterminated quoted|INSERT has more|subquery in)", "42601"),
    (r"^column reference .* is ambiguous", "42702"),
    (r"must appear in the GROUP BY clause", "42803"),
    (r"^cannot cast|cannot be cast", "42846"),
    (r"^there is no parameter", "42P02"),
    (r"^there is no unique or exclusion constraint matching", "42P10"),
    (r"cannot affect row a second time", "21000"),
    (r"^savepoint .* does not exist", "3B001"),
    (r"^cannot drop .* because", "2BP01"),
    (r"violates row-level security policy", "42501"),
    (r"^no partition of relation", "23514"),
    (r"^malformed (?:array|record|range) literal", "22P02"),
    (r"^invalid regular expression", "2201B"),
    (r"^permission denied", "42501"),
    (r"^must be (?:owner|superuser)", "42501"),
    (r"^division by zero", "22012"),
    (r"^invalid input syntax for", "22P02"),
    (r"^value too long for type", "22001"),
    (r"out of range$|out of range for type", "22003"),
    (r"^invalid byte sequence for encoding", "22021"),
    (r"^deadlock detected", "40P01"),
    (r"^could not serialize access", "40001"),
    (r"^canceling statement due to lock timeout", "55P03"),
    (r"^could not obtain lock", "55P03"),
    (r"^canceling statement due to conflict with recovery", "40001"),
    (r"^terminating connection due to conflict with recovery", "40001"),
    (r"^canceling (?:statement|autovacuum|authentication)", "57014"),
    (r"^terminating connection due to administrator command", "57P01"),
    (r"^terminating .* due to administrator command", "57P01"),
    (r"^terminating connection because of crash", "57P02"),
    (r"^the database system is (?:starting|shutting|in recovery|not yet)", "57P03"),
    (r"^terminating connection due to idle-in-transaction timeout", "25P03"),
    (r"^terminating connection due to idle-session timeout", "57P05"),
    (r"^terminating connection due to transaction timeout", "25P04"),
    (r"^current transaction is aborted", "25P02"),
    (r"^cannot execute .* in a read-only transaction", "25006"),
    (r"^password authentication failed", "28P01"),
    (r"^no pg_hba.conf entry|authentication failed|is not permitted to log in", "28000"),
    (r"^sorry, too many clients|^remaining connection slots|^too many connections", "53300"),
    (r"^out of memory", "53200"),
    (r"No space left on device", "53100"),
    (r"^connection to client lost|^could not (?:receive data from|send data to) client", "08006"),
    (r"^unexpected EOF on client connection", "08P01"),
)  # fmt: skip

_WHY = (
    ("statement timeout", "statement_timeout"),
    ("lock timeout", "lock_timeout"),
    ("user request", "user"),
    ("conflict with recovery", "recovery"),
    ("idle-in-transaction timeout", "idle_in_transaction"),
    ("idle-session timeout", "idle_session"),
    ("transaction timeout", "transaction_timeout"),
    ("administrator command", "admin_shutdown"),
    ("canceling autovacuum task", "autovacuum"),
)


class Failures:
    """Adds batches up by (level, SQLSTATE, wording)."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str | None, str], dict[str, Any]] = {}
        self._cancelled: dict[str, Counter[str]] = {}

    def take(self, events: pl.DataFrame) -> None:
        failures = events.filter(pl.col("level").is_in(LEVELS) & pl.col("message").is_not_null())
        if failures.is_empty():
            return
        failures = failures.with_columns(
            pl.col("message")
            .str.head(TEXT_CHARACTERS)
            .str.replace_all(_VALUES, "?")
            .alias("wording"),
        )
        self._cancellations(failures)
        groups = failures.group_by("level", "sqlstate", "wording", maintain_order=True).agg(
            pl.len().alias("count"),
            pl.col("time").min().alias("first"), pl.col("time").max().alias("last"),
            pl.col("user").drop_nulls().unique(maintain_order=True).head(_FEW),
            pl.col("db").drop_nulls().unique(maintain_order=True).head(_FEW),
            pl.col("message", "detail", "statement").first(),
        )  # fmt: skip
        for row in groups.iter_rows(named=True):
            self._add(row)

    def _add(self, row: dict[str, Any]) -> None:
        sqlstate = row["sqlstate"] or _derived(row["message"])
        key = (row["level"], sqlstate, row["wording"])
        if key not in self._kept and len(self._kept) >= MOST:
            key = (row["level"], sqlstate, "(other messages)")
        known = self._kept.get(key)
        if known is None:
            self._kept[key] = {**row, "wording": key[2], "derived": row["sqlstate"] is None}
            return
        known["count"] += row["count"]
        known["first"] = min(filter(None, (known["first"], row["first"])), default=None)
        known["last"] = max(filter(None, (known["last"], row["last"])), default=None)
        for names in ("user", "db"):
            known[names] = list(dict.fromkeys([*known[names], *row[names]]))[:_FEW]

    def _cancellations(self, failures: pl.DataFrame) -> None:
        message = pl.col("message")
        ended = failures.filter(message.str.contains("^(?:canceling|terminating) ")).select(
            message, pl.col("statement").str.head(TEXT_CHARACTERS).str.replace_all(_VALUES, "?")
        )
        for text, statement in ended.iter_rows():
            why = next((why for words, why in _WHY if words in text), None)
            if why is not None:
                counts = self._cancelled.setdefault(why, Counter())
                statement = statement or ""
                counts[statement if statement in counts or len(counts) < MOST else ""] += 1

    def rows(self) -> list[Failure]:
        """Worst level first, then by count."""
        order = {level: index for index, level in enumerate(LEVELS)}
        rows = [_failure(key, row) for key, row in self._kept.items()]
        return sorted(rows, key=lambda f: (order[f.level], -f.count, f.message))

    def cancelled(self) -> list[Cancelled]:
        rows = [
            Cancelled(
                why,
                counts.total(),
                tuple((text, n) for text, n in counts.most_common(_FEW) if text),
            )
            for why, counts in self._cancelled.items()
        ]
        return sorted(rows, key=lambda row: -row.count)


def _failure(key: tuple[str, str | None, str], row: dict[str, Any]) -> Failure:
    level, sqlstate, wording = key
    return Failure(
        level=level,
        sqlstate=sqlstate,
        derived=row["derived"] and sqlstate is not None,
        message=wording,
        count=row["count"],
        first=row["first"],
        last=row["last"],
        users=tuple(row["user"]),
        databases=tuple(row["db"]),
        example=row["message"][:TEXT_CHARACTERS],
        detail=row["detail"][:TEXT_CHARACTERS] if row["detail"] else None,
        statement=row["statement"][:TEXT_CHARACTERS] if row["statement"] else None,
    )


def _derived(message: str) -> str | None:
    return next((code for pattern, code in SQLSTATES if re.search(pattern, message)), None)
