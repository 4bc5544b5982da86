"""From pg_stat_statements: snapshots into the history, and out of it what the window asks for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from filban.finding import Finding
from filban.flows.queries.window import Window, basis, chosen, earlier
from filban.pg import Session
from filban.profile.statements import collect, rules
from filban.profile.statements.history import History, Known, Point, Span
from filban.profile.statements.learn import Samples, learn
from filban.profile.statements.report import (
    Statement,
    Summed,
    compared,
    counted,
    summed,
    with_shares,
)
from filban.profile.statements.rows import Snapshot

# Of pg_stat_activity, during --interval: ten a second see what takes 100 ms or more at each call.
SAMPLE_SECONDS = 0.1


@dataclass(slots=True)
class Shown:
    """What a source gave. cluster: its name in the history, "" where it has none."""

    statements: list[Statement]
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    cluster: str = ""


async def from_counters(
    server: Session, kept: History, window: Window, limits: rules.Limits
) -> Shown:
    """Take a snapshot (two, with `window.seconds`), keep it, and read the window back."""
    samples = Samples()
    snapshot = await _snapshot(server, kept)
    if window.seconds is None:
        samples.add(await collect.activity(server))
    else:
        await sample(server, samples, window.seconds)
        snapshot = await _snapshot(server, kept)
    spans = kept.spans(snapshot.cluster)
    shown = chosen(spans, window, snapshot.taken_at)
    before, compared_with = earlier(spans, shown)
    statements = _statements(kept, snapshot.cluster, shown, samples)
    statements = _beside(kept, before, statements)
    found = _regressions(kept, snapshot, statements, limits)
    dropped = sum(s.evicted for s in shown)
    seconds = (shown[-1].end - shown[0].start).total_seconds()
    return Shown(
        _marked(statements, found),
        [*map(rules.regression, found), *rules.evicting(server.server, dropped, seconds)],
        {
            "source": "pg_stat_statements",
            "basis": basis(shown, window),
            "start": shown[0].start.isoformat(),
            "end": shown[-1].end.isoformat(),
            "window_seconds": round(seconds, 3),
            "snapshots": len(shown),
            "compared_with": compared_with,
            "counters_began": snapshot.info.epoch.isoformat(),
            **_entries(snapshot, shown),
            "not_visible": hidden(snapshot.hidden, samples.hidden),
        },
        snapshot.cluster,
    )


async def sample(server: Session, samples: Samples, seconds: float) -> None:
    """Look at pg_stat_activity for so long."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        samples.add(await collect.activity(server))
        await asyncio.sleep(min(SAMPLE_SECONDS, left))


def hidden(entries: int, sessions: int) -> list[dict[str, str]]:
    """What a role without pg_read_all_stats does not see."""
    found = []
    if entries:
        found.append(f"{entries:,} statements of other users (their texts and ids)")
    elif sessions:
        found.append("what other users' sessions are executing")
    return [{"what": what, "remedy": "GRANT pg_read_all_stats TO …;"} for what in found]


async def _snapshot(server: Session, kept: History) -> Snapshot:
    snapshot = await collect.take(server)
    kept.add(snapshot)
    await learn(server, kept, snapshot)
    return snapshot


def _entries(snapshot: Snapshot, shown: Sequence[Span]) -> dict[str, int]:
    return {
        "entries": len(snapshot.entries),
        "entries_max": snapshot.info.max_entries,
        "entries_evicted": sum(s.evicted for s in shown),
        "entries_gone": sum(s.gone for s in shown),
        "entries_restarted": sum(s.restarted for s in shown),
    }


def _statements(
    kept: History, cluster: str, shown: Sequence[Span], samples: Samples
) -> list[Statement]:
    texts, names = kept.statements(cluster), kept.names(cluster)
    totals = summed(kept.totals(shown))
    return with_shares(
        _statement(name, one, texts.get(name), names, samples) for name, one in totals.items()
    )


def _statement(
    name: tuple[int, int],
    one: Summed,
    text: Known | None,
    names: Mapping[tuple[str, int], str],
    samples: Samples,
) -> Statement:
    database = names.get(("database", name[0]), f"(dropped, {name[0]})")
    made = counted(
        one,
        name=name,
        fingerprint=text.fingerprint if text else "",
        database=database,
        query=text.query if text else "",
        users=tuple(sorted(names.get(("role", u), f"(dropped, {u})") for u in one.user_ids)),
        labels=text.labels if text else {},
    )
    seen = samples.seen.get((database, name[1]))
    if seen is None:
        return made
    return replace(
        made,
        labels={**made.labels, **seen.labels},
        waits=dict(seen.waits.most_common()),
        applications=tuple(sorted(seen.applications)),
    )


def _beside(
    kept: History, before: Sequence[Span], statements: Sequence[Statement]
) -> list[Statement]:
    means = summed(kept.totals(before)) if before else {}
    return [
        compared(s, one.counts if one else None)
        for s in statements
        for one in [means.get((s.database_id or 0, s.query_id or 0))]
    ]


def _regressions(
    kept: History, snapshot: Snapshot, statements: Sequence[Statement], limits: rules.Limits
) -> list[rules.Regression]:
    since = snapshot.taken_at - rules.LOOK_BACK
    return rules.regressions(
        [(s, points(kept, snapshot.cluster, s, since)) for s in rules.candidates(statements)],
        limits,
    )


def points(
    kept: History, cluster: str, statement: Statement, since: datetime | None = None
) -> list[Point]:
    """A statement of the history over time."""
    name = (statement.database_id or 0, statement.query_id or 0)
    return kept.series(cluster, name, since)


def _marked(statements: Sequence[Statement], found: Sequence[rules.Regression]) -> list[Statement]:
    slower = {(r.statement.database_id, r.statement.query_id): r for r in found}
    return [
        s if one is None else replace(s, slower_since=one.since, slower_ratio=one.change.ratio)
        for s in statements
        for one in [slower.get((s.database_id, s.query_id))]
    ]
