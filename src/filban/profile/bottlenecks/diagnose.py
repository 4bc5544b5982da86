"""`diagnose`: watch a server for an interval, and say what holds its workload back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filban.errors import UsageError
from filban.finding import Finding, Report
from filban.pg import Target, session
from filban.pg.check import Hidden
from filban.pg.server import Server
from filban.profile.bottlenecks.collect import observe
from filban.profile.bottlenecks.interval import Interval
from filban.profile.bottlenecks.parts import NAMES
from filban.profile.bottlenecks.rules import Verdict, judge
from filban.profile.bottlenecks.words import Held, one_line

# Below, samples are too few and counters, which sessions report once a second, too late.
SHORTEST_SECONDS = 2.0
LONGEST_SECONDS = 24 * 3600.0
_WAITS, _STATEMENTS = 10, 5


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """An interval, its verdict, the first things to do (at most three) and all parts of session
    time, the largest first. hidden: what this role or place could not see."""

    server: Server
    interval: Interval
    verdict: Verdict
    findings: tuple[Finding, ...]
    parts: tuple[Held, ...]
    hidden: tuple[Hidden, ...]

    @property
    def subject(self) -> str:
        """Which server was watched."""
        version = self.server.version_text.split(" ")[0]
        return f'{self.server.kind} "{self.server.database}", PostgreSQL {version}'

    def report(self) -> Report:
        """What terminal, JSON and HTML take; its facts have stable keys."""
        return Report(
            title=f"{self.subject}: {self.verdict.sentence}",
            findings=self.findings,
            facts=_facts(self),
        )


async def diagnose(target: str | Target | None = None, *, seconds: float = 30.0) -> Diagnosis:
    """Watch for so many seconds: counters at both ends, about a hundred samples of sessions in
    between. Reads only.

    Raises UsageError (too short or too long), ConnectError, NotSupported, RightsMissing,
    StatementFailed, ConnectionLost.
    """
    if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        raise UsageError(
            f"{seconds:g} s is not an interval to judge by",
            hint=f"from {SHORTEST_SECONDS:g} s to a day; 30 s is a good beginning",
        )
    async with session(target) as opened:
        interval, hidden = await observe(opened, seconds)
        server = opened.server
    verdict, findings, parts = judge(interval)
    return Diagnosis(server, interval, verdict, findings, tuple(parts), tuple(hidden))


def _facts(diagnosis: Diagnosis) -> dict[str, Any]:
    interval, verdict = diagnosis.interval, diagnosis.verdict
    return {
        "verdict": {
            "state": verdict.state,
            "bottleneck": verdict.bottleneck,
            "sentence": verdict.sentence,
            "share_percent": round(100 * verdict.share, 1),
            "margin_percent": round(100 * verdict.margin, 1),
            "average_sessions": round(verdict.sessions, 3),
            "runner_up": verdict.runner_up,
        },
        "interval_seconds": round(interval.seconds, 3),
        "samples": interval.load.samples,
        "session_time": [
            {
                "part": held.part.name,
                "what": NAMES[held.part.name],
                "share_percent": round(100 * held.share, 1),
                "average_sessions": round(held.part.sessions, 3),
            }
            for held in diagnosis.parts
            if held.share >= 0.001
        ],
        "waits": _waits(interval),
        "statements": _statements(interval),
        "rates": _rates(interval),
        "connections": {
            "used": interval.connections.used,
            "idle": interval.connections.idle,
            "allowed": interval.connections.allowed,
        },
        "machine": _machine(interval),
        "server": diagnosis.server.facts(),
        "not_visible": [{"what": h.what, "remedy": h.remedy} for h in diagnosis.hidden],
    }


def _waits(interval: Interval) -> list[dict[str, Any]]:
    ranked = sorted(interval.load.events.items(), key=lambda pair: -pair[1])[:_WAITS]
    return [
        {
            "event": f"{kind}:{event}" if event else "CPU",
            "average_sessions": round(sessions, 3),
        }
        for (kind, event), sessions in ranked
    ]


def _statements(interval: Interval) -> list[dict[str, Any]]:
    rows = []
    for statement in interval.load.statements[:_STATEMENTS]:
        known = interval.statement(statement.query_id)
        rows.append(
            {
                "query_id": None if statement.query_id is None else str(statement.query_id),
                "query": one_line(statement.query),
                "average_sessions": round(statement.total, 3),
                "calls_per_second": known and round(known.calls / interval.seconds, 2),
                "mean_ms": known and round(known.exec_ms / known.calls, 3),
            }
        )
    return rows


def _rates(interval: Interval) -> Mapping[str, float]:
    """What the counters grew by, a second."""
    database, wal = interval.database, interval.wal
    grown = {
        "transactions": database.transactions,
        "rollbacks": database.rollbacks,
        "connects": database.sessions,
        "blocks_read": database.blocks_read,
        "blocks_hit": database.blocks_hit,
        "rows_read": database.rows_returned,
        "rows_written": database.rows_written,
        "temp_written_bytes": database.temp_bytes,
        "wal_bytes": wal.bytes,
        "wal_page_images": wal.page_images,
        "checkpoints": interval.checkpoints.timed + interval.checkpoints.requested,
        "deadlocks": database.deadlocks,
        "replay_conflicts": database.conflicts,
    }
    rates = {f"{name}_per_second": round(n / interval.seconds, 3) for name, n in grown.items()}
    # as the server counts it: statements that are too short for samples are in it
    return {"active_sessions": round(database.active_ms / 1000 / interval.seconds, 3), **rates}


def _machine(interval: Interval) -> dict[str, Any] | None:
    machine = interval.machine
    if machine is None:
        return None
    return {
        "cores": machine.cores,
        "busy_percent": round(100 * machine.busy, 1),
        "waiting_for_disk_percent": round(100 * machine.iowait, 1),
        "stolen_percent": round(100 * machine.stolen, 1),
        "sessions_executing": round(machine.executing, 3),
        "sessions_queueing": round(machine.queueing, 3),
    }
