"""What the server's log says of the same statements; all there is where nothing is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from filban.profile.statements.report import Statement
from filban.sql import comments

if TYPE_CHECKING:
    from filban.profile.logs import LogReport
    from filban.profile.logs.rows import Statement as Logged


def with_log(statements: Sequence[Statement], log: LogReport) -> list[Statement]:
    """Each with the percentiles, applications and labels of the log's: the one with its query id,
    else (stderr without %Q) the one with its fingerprint in its database."""
    by_id: dict[int | None, Logged] = {s.query_id: s for s in log.statements if s.query_id}
    by_text = {s.fingerprint: s for s in log.statements}
    return [_joined(s, by_id.get(s.query_id) or by_text.get(s.fingerprint)) for s in statements]


def from_log(log: LogReport) -> list[Statement]:
    """The log's statements alone."""
    return [
        _joined(
            Statement(
                query_id=s.query_id, fingerprint=s.fingerprint, database_id=None,
                database=", ".join(s.databases) or None, query=s.query, source="logs",
                users=s.users, calls=s.calls, total_ms=s.total_ms, mean_ms=s.mean_ms,
                min_ms=s.min_ms, max_ms=s.max_ms,
            ),
            s,
        )
        for s in log.statements
    ]  # fmt: skip


def plans(statement: Statement, log: LogReport) -> tuple[str, ...]:
    """The slowest plans that auto_explain wrote for it."""
    return tuple(p.plan for p in log.plans if p.fingerprint == statement.fingerprint)


def _joined(statement: Statement, logged: Logged | None) -> Statement:
    if logged is None or (
        statement.database and logged.databases and not _same_database(statement, logged)
    ):
        return statement
    labels = dict(statement.labels)
    for example in logged.examples:
        labels |= comments.labels(example.text)
    return replace(
        statement,
        p50_ms=logged.p50_ms,
        p95_ms=logged.p95_ms,
        applications=tuple(sorted({*statement.applications, *logged.applications})),
        labels=labels,
    )


def _same_database(statement: Statement, logged: Logged) -> bool:
    return statement.source == "logs" or statement.database in logged.databases
