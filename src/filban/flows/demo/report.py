"""What the demo measured as one report: a section a step, and a finding for what was proven."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from filban.cluster import Binaries
from filban.finding import Finding, Fix, Quantity, Report, Severity, in_order
from filban.flows.demo.backup import Restored, Taken
from filban.flows.demo.lag import Lag
from filban.flows.demo.news.load import Loaded
from filban.flows.demo.news.traffic import Ran
from filban.flows.demo.options import DemoOptions
from filban.flows.demo.prove import Advice, Measured, Trial
from filban.flows.demo.servers import EMBEDDED, STATEMENTS
from filban.flows.demo.statements import Slowest
from filban.pool import PoolStats
from filban.units import duration, number

SHOWN_STATEMENTS = 5
INDEX_PROVEN = "demo.index_proven"
BACKUP_RESTORED = "demo.backup_restored"
BACKUP_DIFFERS = "demo.backup_differs"
STANDBY_FOLLOWS = "demo.standby_follows"
CODES = (INDEX_PROVEN, BACKUP_RESTORED, BACKUP_DIFFERS, STANDBY_FOLLOWS)


@dataclass(frozen=True, slots=True)
class Measurements:
    """What every step returned, in their order."""

    binaries: Binaries
    contrib: bool
    loaded: Loaded
    ran: Ran
    pool: PoolStats
    lag_under_load: Lag
    slowest: Slowest
    advice: Advice
    taken: Taken
    restored: Restored
    lag_at_rest: Lag
    check: Report
    start_seconds: float
    took_seconds: float


def report(options: DemoOptions, m: Measurements, kept: dict[str, Any]) -> Report:
    """The page. `kept`: how to reach and stop what still runs, if it does."""
    proofs = [*_index_findings(m), _backup_finding(m), _standby_finding(m)]
    return Report(
        title=f"filban demo: a news database of {number(options.articles)} articles"
        f" on PostgreSQL {m.binaries.version_text}",
        findings=in_order([*proofs, *m.check.findings]),
        facts=_facts(options, m) | ({"still_running": kept} if kept else {}),
    )


def _facts(options: DemoOptions, m: Measurements) -> dict[str, Any]:
    return {
        "took": duration(m.took_seconds),
        "postgresql": _postgresql(m),
        "database": _database(options, m.loaded),
        "traffic": _traffic(options, m),
        "index": _index(m.advice),
        "backup": _backup(m.taken, m.restored),
        "standby": {
            "under_load": _lag(m.lag_under_load),
            "at_rest": _lag(m.lag_at_rest),
        },
        "check": _check(m.check),
    }


def _postgresql(m: Measurements) -> dict[str, Any]:
    less = []
    if not m.contrib:
        less.append(f"no {STATEMENTS} in this build: statements were timed by the client instead")
    if not m.taken.verified:
        less.append(m.taken.verified_by)
    return {
        "version": m.binaries.version_text,
        "programs": str(m.binaries.bin_dir),
        "origin": "embedded" if m.binaries.origin in EMBEDDED else "installed",
        "start_of_primary_and_standby_seconds": round(m.start_seconds, 3),
        "steps_that_did_less": less,
    }


def _database(options: DemoOptions, loaded: Loaded) -> dict[str, Any]:
    return {
        "seed": options.seed,
        "copied_bytes": loaded.copy_bytes,
        "generated_and_copied_in_seconds": round(loaded.copy_seconds, 3),
        "keys_and_statistics_in_seconds": round(loaded.keys_seconds, 3),
        "tables": [
            {"table": s.name, "count": loaded.rows[s.name], "size_bytes": s.size_bytes}
            for s in loaded.sizes
        ],
    }


def _traffic(options: DemoOptions, m: Measurements) -> dict[str, Any]:
    return {
        "statements": m.ran.calls,
        "ran_for_seconds": round(m.ran.seconds, 3),
        "throughput_per_second": round(m.ran.calls / m.ran.seconds, 1),
        "tasks": options.tasks,
        "connections": options.connections,
        "wait_for_a_connection_median_ms": round(1000 * median(m.ran.waits_seconds), 3),
        "session_resets_spared": m.pool.resets_skipped,
        "session_resets_done": m.pool.resets_done,
        "connections_leaked": m.pool.leaks + m.pool.dropped,
        "measured_by": m.slowest.source,
        "slowest": [
            {
                "statement": s.asked.name,
                "share_percent": round(100 * s.share_ratio, 1),
                "calls": s.calls,
                "mean_ms": round(s.mean_ms, 3),
                "total_ms": round(s.total_ms, 1),
            }
            for s in m.slowest.statements[:SHOWN_STATEMENTS]
        ],
    }


def _index(advice: Advice) -> dict[str, Any]:
    trial = advice.proven
    others: dict[str, Any] = {
        "no_index_of_this_kind_for": list(advice.without),
        "tried_and_dropped": [t.index.create_sql for t in advice.rejected],
    }
    if trial is None:
        return {"proven": False} | others
    return {
        "proven": True,
        "statement": trial.statement.name,
        "asks": _one_line(trial.statement.text),
        "scan_filtered_by": trial.filter_text,
        "create": trial.index.create_sql,
        "built_in_seconds": round(trial.build_seconds, 3),
        "size_bytes": trial.size_bytes,
        "times_faster": round(trial.speed_up, 1),
        "executions": [_side("before", trial.before), _side("after", trial.after)],
    } | others


def _side(when: str, measured: Measured) -> dict[str, Any]:
    return {
        "when": when,
        "median_ms": round(measured.median_ms, 3),
        "median_blocks": measured.median_blocks,
        "plan": "; ".join(measured.scans),
    }


def _backup(taken: Taken, restored: Restored) -> dict[str, Any]:
    return {
        "taken_in_seconds": round(taken.seconds, 3),
        "size_bytes": taken.size_bytes,
        "verified": taken.verified,
        "verified_by": taken.verified_by,
        "restored_to": f"a restore point at {restored.point.lsn}",
        "copied_in_seconds": round(restored.copy_seconds, 3),
        "writable_after_seconds": round(restored.rto_seconds, 3),
        "compared_in_seconds": round(restored.compare_seconds, 3),
        "compared_tables": restored.tables,
        "compared_rows": restored.rows,
        "equal_to_the_source": restored.equal,
        "differing": list(restored.differing),
    }


def _lag(lag: Lag) -> dict[str, Any]:
    return {
        "commits_followed": len(lag.samples),
        "visible_after_median_seconds": round(lag.median_seconds, 6),
        "visible_after_worst_seconds": round(lag.worst_seconds, 6),
        "still_to_replay_worst_bytes": lag.worst_bytes,
    }


def _check(check: Report) -> dict[str, Any]:
    return {
        "findings": len(check.findings),
        "worst": str(check.worst() or "none"),
        "codes": sorted({f.code for f in check.findings}),
        "checked_in_seconds": check.facts.get("seconds"),
    }


def _index_findings(m: Measurements) -> list[Finding]:
    return [] if m.advice.proven is None else [_index_finding(m.advice.proven)]


def _index_finding(trial: Trial) -> Finding:
    return Finding(
        code=INDEX_PROVEN,
        severity=Severity.info,
        subject=trial.index.qualified,
        title=f"An index made {trial.statement.name} {number(round(trial.speed_up))} times faster",
        why="It was built concurrently, the planner uses it, and the same statement was executed"
        " with the same arguments before and after.",
        evidence={
            "before": Quantity(round(trial.before.median_ms, 3), "ms"),
            "after": Quantity(round(trial.after.median_ms, 3), "ms"),
            "blocks_before": Quantity(trial.before.median_blocks, "pages"),
            "blocks_after": Quantity(trial.after.median_blocks, "pages"),
            "size": Quantity(trial.size_bytes, "bytes"),
        },
        fix=Fix(
            sql=trial.index.create_sql + ";",
            lock="SHARE UPDATE EXCLUSIVE",
            caution="Every write to the table maintains it from now on.",
        ),
    )


def _backup_finding(m: Measurements) -> Finding:
    evidence = {
        "time_to_a_writable_server": Quantity(round(m.restored.rto_seconds, 3), "seconds"),
        "backup": Quantity(m.taken.size_bytes, "bytes"),
        "tables": Quantity(m.restored.tables, "count"),
        "rows": Quantity(m.restored.rows, "rows"),
    }
    if m.restored.equal:
        return Finding(
            code=BACKUP_RESTORED,
            severity=Severity.info,
            subject="news",
            title="The backup gives every row back",
            why="It was restored in a cluster of its own and replayed to a restore point; rows and"
            " hashes of every table are those the source had at that point.",
            evidence=evidence,
        )
    return Finding(
        code=BACKUP_DIFFERS,
        severity=Severity.critical,
        subject="news",
        title="The restored backup is not the source",
        why="Rows or hashes differ in: " + ", ".join(m.restored.differing),
        evidence=evidence,
    )


def _standby_finding(m: Measurements) -> Finding:
    load = m.lag_under_load
    return Finding(
        code=STANDBY_FOLLOWS,
        severity=Severity.info,
        subject="standby1",
        title=f"The standby shows a commit after {duration(load.median_seconds)} under load",
        why="Measured by commits that a client made on the primary and then read on the standby.",
        evidence={
            "median": Quantity(round(load.median_seconds, 6), "seconds"),
            "worst": Quantity(round(load.worst_seconds, 6), "seconds"),
            "commits": Quantity(len(load.samples), "count"),
        },
    )


def _one_line(sql: str) -> str:
    return " ".join(sql.split())
