"""What a stretch of samples says, as the report that terminal, JSON and page share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from filban.finding import Report
from filban.profile.waits.load import blocking, nearest, summarise
from filban.profile.waits.rows import Blocking, Load, Sample, Share

# The others are shown as they come: what is worth a table of its own, in this order.
DIMENSIONS = ("event", "query", "role", "application", "database", "client", "background")


@dataclass(frozen=True, slots=True)
class Watched:
    """load: over all samples; moment: the lock trees that were asked for, else the worst ones."""

    subject: str
    load: Load
    moment: Blocking | None

    def report(self) -> Report:
        """Without findings: what stands still now is `filban check`'s to judge."""
        load = self.load
        facts: dict[str, Any] = {
            "since": load.since.isoformat(timespec="milliseconds"),
            "until": load.until.isoformat(timespec="milliseconds"),
            "samples": load.samples,
            "average_active_sessions": round(load.sessions, 3),
            "idle_in_transaction_sessions": round(load.idle_in_transaction, 3),
            "hidden_sessions": round(load.hidden, 3),
            "classes": _shares(load.by["class"]),
            "by": {name: _shares(load.by[name]) for name in DIMENSIONS},
            "query_ids": _shares(load.by["query_id"]),
            "over_time": [
                {"at": s.at.isoformat(timespec="milliseconds")}
                | {name: round(value, 3) for name, value in s.classes.items()}
                for s in load.slices
            ],
            "blocking": None if self.moment is None else _blocking(self.moment),
        }
        return Report(title=self.subject, findings=(), facts=facts)


def watched(subject: str, samples: Sequence[Sample], at: datetime | None = None) -> Watched:
    """at: the moment whose lock trees are wanted; without it the one with the most waiters."""
    load = summarise(samples)
    if at is None:
        return Watched(subject, load, load.worst)
    found = nearest(samples, at)
    return Watched(subject, load, None if found is None else blocking(found))


def _shares(shares: Sequence[Share]) -> list[dict[str, Any]]:
    return [
        {"name": s.name, "sessions": round(s.sessions, 3), "percent": round(100 * s.share, 1)}
        for s in shares
    ]


def _blocking(found: Blocking) -> dict[str, Any]:
    return {
        "at": found.at.isoformat(timespec="milliseconds"),
        "waiting_sessions": found.waiting,
        "trees": [tree.splitlines() for tree in found.trees],
    }
