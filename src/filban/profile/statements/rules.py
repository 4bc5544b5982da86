"""Statements -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from filban.finding import Finding, Fix, Quantity, Severity
from filban.pg import Server
from filban.profile.statements.change import ALPHA, Change, change_point
from filban.profile.statements.collect import EXTENSION, loaded
from filban.profile.statements.deltas import together
from filban.profile.statements.history import Point
from filban.profile.statements.report import Statement
from filban.profile.statements.rows import Counts
from filban.units import count, duration

CODES = ("query.regression", "statements.evicted", "statements.not_installed")


@dataclass(frozen=True, slots=True)
class Limits:
    """regression_ratio: a change may be certain and too small to act on; half as slow again is what
    users of a page notice (Nielsen's and Google's response-time studies speak of 20 % to 100 %).
    """

    regression_ratio: float = 1.5


# A regression is looked for in what makes up nearly all of the time: a test of everything else
# would cost power (Bonferroni divides by the number of tests).
CANDIDATE_SHARE = 0.95
MOST_CANDIDATES = 50
# As far as the search for the change goes back; older intervals say nothing about "since when".
LOOK_BACK = timedelta(days=1)
# So many times the blocks per call are hardly more data: the plan, or the parameters, changed.
BLOCKS_RATIO = 2.0


def candidates(statements: Sequence[Statement]) -> list[Statement]:
    """The ones to test: those that make up most of the time."""
    chosen: list[Statement] = []
    share = 0.0
    for statement in sorted(statements, key=lambda s: -s.total_ms):
        if share >= CANDIDATE_SHARE or len(chosen) == MOST_CANDIDATES:
            break
        chosen.append(statement)
        share += statement.share
    return chosen


@dataclass(frozen=True, slots=True)
class Regression:
    """A statement that is slower `since`; before and after: its counters on both sides."""

    statement: Statement
    since: datetime
    change: Change
    before: Counts
    after: Counts

    @property
    def blocks_ratio(self) -> float:
        return _blocks(self.after) / max(_blocks(self.before), 1.0)


def regressions(
    tested: Sequence[tuple[Statement, Sequence[Point]]], limits: Limits | None = None
) -> list[Regression]:
    """Those that a test says are slower, at ALPHA over all that are tested."""
    limits = limits or Limits()
    found = []
    for statement, points in tested:
        called = [p for p in points if p.counts.calls]
        change = change_point([p.counts.mean_ms for p in called])
        if change is None or change.ratio < limits.regression_ratio:
            continue
        if change.probability * len(tested) > ALPHA:
            continue
        found.append(
            Regression(
                statement,
                called[change.index].start,
                change,
                _sum(called[: change.index]),
                _sum(called[change.index :]),
            )
        )
    return found


def subject(statement: Statement) -> str:
    """What findings call it."""
    return f"{statement.database}:{statement.query_id}"


def regression(found: Regression) -> Finding:
    """query.regression."""
    s, c = found.statement, found.change
    times = f"{c.ratio:.1f}x"
    why = (
        f"A call takes {duration(c.after / 1000)} (median of the intervals) instead of "
        f"{duration(c.before / 1000)}."
    )
    if found.blocks_ratio >= BLOCKS_RATIO:
        why += (
            f" Each touches {found.blocks_ratio:,.0f} times as many blocks: another plan, "
            "other parameters, or much more data."
        )
    return Finding(
        code="query.regression",
        severity=Severity.warning,
        subject=subject(s),
        title=f"{times} slower since {found.since:%Y-%m-%d %H:%M} UTC: {_short(s.query)}",
        why=why,
        evidence={
            "before_ms": Quantity(c.before, "ms"),
            "after_ms": Quantity(c.after, "ms"),
            "since": Quantity(found.since.isoformat(), "date"),
            "probability_of_chance": Quantity(c.probability),
            "calls_before": Quantity(found.before.calls, "count"),
            "calls_after": Quantity(found.after.calls, "count"),
            "blocks_per_call_before": Quantity(_blocks(found.before)),
            "blocks_per_call_after": Quantity(_blocks(found.after)),
            "share": Quantity(s.share, "ratio"),
        },
        fix=Fix(
            command=f"filban queries --id {s.query_id}",
            advice="Look at its plan (filban explain) and at what was deployed, dropped or loaded "
            "at that time; stale statistics: ANALYZE.",
        ),
    )


def evicting(server: Server, dropped: int, window: float) -> Iterator[Finding]:
    """statements.evicted: what was dropped for room is missing in every sum."""
    if not dropped:
        return
    setting = server.setting("pg_stat_statements.max")
    most = int(setting.number()) if setting else 5000
    yield Finding(
        code="statements.evicted",
        severity=Severity.info,
        subject="pg_stat_statements.max",
        title=f"The server dropped {count(dropped, 'entry', 'entries')} for room",
        why="What they had counted since the snapshot before is in no sum; statements that are "
        "rare, or differ in their texts (IN lists, names of temporary tables), push others out.",
        evidence={
            "entries_dropped": Quantity(dropped, "count"),
            "window_seconds": Quantity(window, "seconds"),
            "max": Quantity(most, "count"),
        },
        fix=Fix(
            sql=f"ALTER SYSTEM SET pg_stat_statements.max = {2 * most};",
            caution="Takes effect with the next restart; about 1 kB of shared memory an entry.",
        ),
    )


def not_installed(server: Server) -> Finding:
    """statements.not_installed, with the lines that are missing of the three."""
    libraries = server.setting("shared_preload_libraries")
    return Finding(
        code="statements.not_installed",
        severity=Severity.info,
        subject=server.database,
        title="pg_stat_statements is not installed: nothing is counted",
        why="Without it there are only samples (--interval) and the server's log (--logs).",
        evidence={
            "shared_preload_libraries": Quantity(libraries.value if libraries else "not visible"),
            "library_loaded": Quantity(loaded(server)),
            "extension_created": Quantity(server.installed(EXTENSION) is not None),
        },
        fix=Fix(sql="\n".join(_missing_lines(server)), caution=_caution(server)),
    )


def _missing_lines(server: Server) -> Iterator[str]:
    if not loaded(server) and server.managed_by is None:
        libraries = server.setting("shared_preload_libraries")
        others = [n.strip() for n in (libraries.value if libraries else "").split(",")]
        names = ", ".join(f"'{n}'" for n in [*filter(None, others), EXTENSION])
        yield f"ALTER SYSTEM SET shared_preload_libraries = {names};"
        yield "-- restart the server: pg_ctl restart, or systemctl restart postgresql"
    if server.installed(EXTENSION) is None:
        yield f"CREATE EXTENSION {EXTENSION};"


def _caution(server: Server) -> str:
    if loaded(server):
        return ""
    if server.managed_by is None:
        return "Needs a restart."
    return (
        f"{server.managed_by} has shared_preload_libraries in its console or parameter group: add "
        f"{EXTENSION} there, if it is not there already, and restart."
    )


def _sum(points: Sequence[Point]) -> Counts:
    whole = points[0].counts
    for point in points[1:]:
        whole = together(whole, point.counts)
    return whole


def _blocks(counts: Counts) -> float:
    return (counts.hit_blocks + counts.read_blocks) / counts.calls if counts.calls else 0.0


def _short(query: str) -> str:
    flat = " ".join(query.split())
    return flat if len(flat) <= 60 else flat[:59] + "…"
