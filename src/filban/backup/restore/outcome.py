"""What the log says about a recovery: pure, and the only proof that a target was reached.

`pg_ctl -w start` (and postmaster.pid) say "ready" as soon as a standby is consistent, minutes
before a recovery that then ends with "recovery ended before configured recovery target was
reached"; and damage in the middle of the WAL ends a recovery without a target like any honest end.
Messages: access/transam/xlogrecovery.c, xlogreader.c of PostgreSQL 14 to 18, in English.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from filban.backup.restore.targets import RecoveryTarget
from filban.errors import NotGood
from filban.pg.lsn import parse_lsn

_STOPPED = re.compile(r"LOG:\s+recovery stopping (before|after|at) (.*)")
_REDO_DONE = re.compile(r"redo done at ([0-9A-F]+/[0-9A-F]+)")
_CONSISTENT = re.compile(r"consistent recovery state reached at ([0-9A-F]+/[0-9A-F]+)")
_LAST_COMMIT = re.compile(r"last completed transaction was at log time (.+)$")
_TIMELINE = re.compile(r"selected new timeline ID: (\d+)")
_FATAL = re.compile(r"(?:FATAL|PANIC):\s+(.*)")
# Never the honest end of WAL in a segment that was archived whole.
_DAMAGE = re.compile(
    r"incorrect resource manager data checksum|invalid resource manager ID|"
    r"record with incorrect prev-link|invalid magic number|unexpected pageaddr|"
    r"out-of-sequence timeline|WAL file is from different database system|"
    r"invalid contrecord|archive file .* has wrong size"
)
_SAYS = {
    "time": r"(before|after) (commit|abort) of transaction|after reaching",
    "xid": r"(before|after) (commit|abort|prepare)",
    "lsn": r"(before|after) WAL location",
    "name": r"at restore point",
    "immediate": r"after reaching consistency",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A recovery as its log tells it. LSNs are integers; None where the log has not (yet) said.

    stopped: the server's own words for where it stopped. redo_done: where the last record that was
    replayed begins. done: it was promoted. damage: lines that tell of broken WAL.
    """

    stopped: str | None = None
    consistent: int | None = None
    redo_done: int | None = None
    last_commit: str | None = None
    timeline: int | None = None
    paused: bool = False
    done: bool = False
    fatal: str | None = None
    damage: tuple[str, ...] = field(default=())


def read(log: str) -> Outcome:
    """Everything from one start's part of the log."""
    stopped = _STOPPED.search(log)
    redo, consistent = _REDO_DONE.search(log), _CONSISTENT.search(log)
    commit, timeline, fatal = (
        re.search(p.pattern, log, re.MULTILINE) for p in (_LAST_COMMIT, _TIMELINE, _FATAL)
    )
    return Outcome(
        stopped=f"{stopped[1]} {stopped[2]}" if stopped else None,
        consistent=parse_lsn(consistent[1]) if consistent else None,
        redo_done=parse_lsn(redo[1]) if redo else None,
        last_commit=commit[1].strip() if commit else None,
        timeline=int(timeline[1]) if timeline else None,
        paused="pausing at the end of recovery" in log,
        done="archive recovery complete" in log,
        fatal=fatal[1].strip() if fatal else None,
        damage=tuple(line.strip() for line in log.splitlines() if _DAMAGE.search(line)),
    )


def assert_reached(target: RecoveryTarget, outcome: Outcome, *, through: int | None = None) -> None:
    """Raises NotGood unless the log proves that recovery went to the target.

    `through`: for "latest", the LSN that the last record must have come past, because the archive
    has WAL until there; recovery that ends earlier has lost commits.
    """
    if outcome.damage:
        raise NotGood(
            f"recovery met damaged WAL: {outcome.damage[0]}",
            hint="filban backup verify names the segment; restore to a point before it",
        )
    if outcome.fatal is not None and not outcome.done:
        raise NotGood(
            f"recovery did not reach {target}: {outcome.fatal}",
            hint="filban backup timeline shows what can be reached",
        )
    if target.kind == "latest":
        _assert_latest(outcome, through)
    elif outcome.stopped is None or not re.search(_SAYS[target.kind], outcome.stopped):
        raise NotGood(
            f"the log does not say that recovery stopped at {target}",
            hint="look at the whole log, beside the data directory",
        )
    elif target.kind == "name" and f'"{target.value}"' not in outcome.stopped:
        raise NotGood(f"recovery stopped at another point: {outcome.stopped}")


def _assert_latest(outcome: Outcome, through: int | None) -> None:
    # A log without "redo done" had nothing to replay after the backup's own WAL ("redo is not
    # required"): it still reached consistency.
    end = outcome.redo_done or outcome.consistent
    if end is None:
        raise NotGood("the log does not say that recovery came to an end")
    if through is not None and end < through:
        raise NotGood(
            f"recovery ended at {end >> 32:X}/{end & 0xFFFFFFFF:X}, before the end of the WAL that "
            "the repository has",
            hint="a segment is damaged or missing: filban backup verify names it",
        )
