"""Texts of new statements -> what is remembered of them; samples of activity -> who sends them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from filban import sql
from filban.pg import Session
from filban.profile.statements.collect import names, texts
from filban.profile.statements.history import History, Known
from filban.profile.statements.rows import Active, Snapshot
from filban.sql import comments


async def learn(opened: Session, history: History, snapshot: Snapshot) -> int:
    """Fetch the texts of statements that the history has none of. Returns how many."""
    fresh = history.unknown(snapshot.cluster, snapshot.entries)
    if not fresh:
        return 0
    found = [known(t.database_id, t.query_id, t.query) for t in await texts(opened, fresh)]
    history.learn(snapshot.cluster, found, await names(opened))
    return len(found)


def known(database_id: int, query_id: int, text: str | None) -> Known:
    return Known(
        database_id, query_id, fingerprint(text or ""), text or "", comments.labels(text or "")
    )


def fingerprint(text: str) -> str:
    """Of the parse tree, as in `filban logs`; with a leading x where the text is cut or unknown."""
    try:
        return sql.fingerprint(text)
    except sql.SqlError:
        return f"x{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:15]}"


@dataclass(slots=True)
class Seen:
    """One statement in the samples: in how many, by whom, waiting for what."""

    query: str
    samples: int = 0
    waits: Counter[str] = field(default_factory=Counter)
    users: set[str] = field(default_factory=set)
    applications: set[str] = field(default_factory=set)
    labels: dict[str, str] = field(default_factory=dict)


class Samples:
    """Samples of pg_stat_activity, added up by (database, query id or fingerprint)."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str | None, int | str], Seen] = {}
        self.taken = 0
        self.hidden = 0

    def add(self, sessions: Iterable[Active]) -> None:
        self.taken += 1
        for session in sessions:
            if session.query is None:
                self.hidden += 1
                continue
            name = session.query_id or fingerprint(session.query)
            one = self.seen.setdefault((session.database, name), Seen(session.query))
            one.samples += 1
            one.waits[session.wait] += 1
            one.users |= {session.role} if session.role else set()
            one.applications |= {session.application} if session.application else set()
            one.labels |= comments.labels(session.query)
