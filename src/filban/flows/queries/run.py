"""The flow: connect, snapshot, show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from filban.errors import UsageError
from filban.finding import Finding, in_order
from filban.flows.queries.counted import (
    SAMPLE_SECONDS,
    Shown,
    from_counters,
    hidden,
    points,
    sample,
)
from filban.flows.queries.logged import from_log, plans, with_log
from filban.flows.queries.result import Queries
from filban.flows.queries.window import ALL, Window
from filban.pg import Session, Target, session
from filban.profile.statements import collect, rules
from filban.profile.statements.history import History, Point, opened
from filban.profile.statements.learn import Samples, fingerprint
from filban.profile.statements.report import Statement, ranked, with_shares
from filban.units import count

if TYPE_CHECKING:
    from filban.profile.logs import LogReport


async def run_queries(
    target: str | Target | None,
    *,
    history: Path,
    window: Window | None = None,
    by: str = "total",
    database: str | None = None,
    only: str | None = None,
    log: LogReport | None = None,
    limits: rules.Limits | None = None,
) -> Queries:
    """Take a snapshot, keep it in the file `history`, and show what happened in the window.

    only: one statement, by query id or fingerprint, in all of the history unless a window is given;
    database: only its statements. Nothing on the
    server is changed or reset. Raises ConnectError, ConnectionLost, NotSupported (an extension left
    behind by an upgrade), UsageError (no such statement, an unusable history), DiskFull.
    """
    limits = limits or rules.Limits()
    window = window or Window()
    if only is not None and window == Window():
        window = Window(last=ALL)
    async with session(target) as server:
        with opened(history) as kept:
            if not collect.ready(server.server):
                shown = await _uncounted(server, window, log)
            else:
                shown = await from_counters(server, kept, window, limits)
                if log is not None:
                    shown.statements = with_log(shown.statements, log)
            statements = [s for s in shown.statements if database in (None, s.database)]
            statements = ranked(with_shares(statements), by)
            if only is not None:
                statements = _only(statements, only)
                shown.findings = [f for f in shown.findings if _about(f, statements)]
            over_time = _points(kept, shown, statements) if only else ()
    described = server.server
    return Queries(
        title=f'{described.kind} "{described.database}", '
        f"PostgreSQL {described.version_text.split(' ')[0]}",
        statements=tuple(statements),
        findings=in_order(shown.findings),
        facts=shown.facts | {"by": by, "server": described.facts()},
        one=only is not None,
        points=over_time,
        plans=tuple(p for s in statements for p in plans(s, log)) if only and log else (),
    )


def _about(finding: Finding, statements: list[Statement]) -> bool:
    return finding.subject in {rules.subject(s) for s in statements}


def _points(kept: History, shown: Shown, statements: list[Statement]) -> tuple[Point, ...]:
    if not shown.cluster:
        return ()
    return tuple(points(kept, shown.cluster, statements[0]))


def _only(statements: list[Statement], name: str) -> list[Statement]:
    """Those with this query id or fingerprint: one a database."""
    found = [s for s in statements if name in (str(s.query_id), s.fingerprint)]
    if not found:
        raise UsageError(
            f'no statement "{name}" ran in this time',
            hint="a query id or fingerprint as shown by filban queries; a longer time: --since 1d",
        )
    return found


async def _uncounted(server: Session, window: Window, log: LogReport | None) -> Shown:
    """Without the extension: the log if there is one, else samples."""
    finding = rules.not_installed(server.server)
    if log is not None:
        words = "the log's statements: nothing else is counted here"
        return Shown(from_log(log), [finding], {"source": "logs", "basis": words})
    samples = Samples()
    if window.seconds is not None:
        await sample(server, samples, window.seconds)
    else:
        samples.add(await collect.activity(server))
    facts: dict[str, Any] = {
        "source": "activity",
        "basis": f"{count(samples.taken, 'sample')} of pg_stat_activity: times are estimates, "
        "and what is shorter than the time between two samples is hardly seen",
        "not_visible": hidden(0, samples.hidden),
    }
    return Shown(_sampled(samples, window.seconds or 0.0), [finding], facts)


def _sampled(samples: Samples, seconds: float) -> list[Statement]:
    each = 1000 * seconds / samples.taken if samples.taken else 1000 * SAMPLE_SECONDS
    return [
        Statement(
            query_id=name if isinstance(name, int) else None,
            fingerprint=fingerprint(seen.query),
            database_id=None,
            database=database,
            query=seen.query,
            source="activity",
            users=tuple(sorted(seen.users)),
            applications=tuple(sorted(seen.applications)),
            labels=seen.labels,
            total_ms=each * seen.samples,
            waits=dict(seen.waits.most_common()),
        )
        for (database, name), seen in samples.seen.items()
    ]
