"""What a drill measures and finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filban.backup.restore.plan import RATE_MIN_BYTES
from filban.config import Assertion
from filban.finding import Finding, Fix, Quantity, Report, Severity
from filban.flows.drill.equality import Mode
from filban.units import duration

CODES = ("drill.failed",)


@dataclass(frozen=True, slots=True)
class Options:
    """How thorough. `equality` None compares nothing; `tables` None are all of the database.

    deep: heapallindexed as well (each index against its table), which reads everything again.
    """

    equality: Mode | None = "sample"
    tables: tuple[str, ...] | None = None
    amcheck: bool = True
    deep: bool = False
    dump: bool = True
    checksums: bool = True
    manifest: bool = True
    assertions: tuple[Assertion, ...] = ()
    scratch: Path | None = None
    label: str | None = None


@dataclass(slots=True)
class Step:
    """One check. `ok` None: it could not be made, and `said` says why."""

    name: str
    ok: bool | None
    seconds: float
    said: str = ""


@dataclass(slots=True)
class Result:
    """A drill. Seconds are wall time.

    archive_seconds: from the moment of comparison until its WAL was in the repository, which is
    what would have been lost (RPO) had the primary burned then; None without a primary.
    files_seconds + replay_seconds + ready_seconds is the RTO of this machine.
    """

    backup: str
    repository: str
    target: str
    steps: list[Step] = field(default_factory=list)
    archive_seconds: float | None = None
    lock_seconds: float | None = None
    files_seconds: float = 0.0
    replay_seconds: float = 0.0
    bytes: int = 0
    replay_bytes: int = 0
    segments: int = 0
    tables_compared: int = 0
    rows_compared: int = 0

    @property
    def rto_seconds(self) -> float:
        return self.files_seconds + self.replay_seconds

    @property
    def passed(self) -> bool:
        return all(s.ok is not False for s in self.steps)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(_finding(self, s) for s in self.steps if s.ok is False)

    def facts(self) -> Mapping[str, Any]:
        return {
            "passed": self.passed,
            "backup": self.backup,
            "repository": self.repository,
            "target": self.target,
            "rpo_seconds": None if self.archive_seconds is None else round(self.archive_seconds, 2),
            "rto_seconds": round(self.rto_seconds, 2),
            "rto_parts": {
                "files_seconds": round(self.files_seconds, 2),
                "replay_seconds": round(self.replay_seconds, 2),
            },
            "restored_bytes": self.bytes,
            "replayed_bytes": self.replay_bytes,
            "replayed_segments": self.segments,
            "lock_held_seconds": None if self.lock_seconds is None else round(self.lock_seconds, 4),
            "tables_compared": self.tables_compared,
            "rows_compared": self.rows_compared,
            "steps": [
                {"step": s.name, "ok": s.ok, "seconds": round(s.seconds, 2), "said": s.said}
                for s in self.steps
            ],
        }

    def record(self) -> Mapping[str, Any]:
        """What a repository remembers of a drill; rates are of this machine and its disk."""
        return {
            "backup": self.backup,
            "passed": self.passed,
            "rto_seconds": round(self.rto_seconds, 2),
            "rpo_seconds": self.archive_seconds,
            "unpack_bytes_per_second": _rate(self.bytes, self.files_seconds),
            "replay_bytes_per_second": _rate(self.replay_bytes, self.replay_seconds),
            "failed": [s.name for s in self.steps if s.ok is False],
        }

    def report(self) -> Report:
        verdict = "passed" if self.passed else "FAILED"
        back = f": back in {duration(self.rto_seconds)}" if self.replay_seconds else ""
        title = f"Drill of {self.backup or self.repository} {verdict}{back}"
        return Report(title, self.findings(), self.facts())


def _rate(amount: int, seconds: float) -> float | None:
    return round(amount / seconds) if seconds > 0 and amount >= RATE_MIN_BYTES else None


def _finding(result: Result, step: Step) -> Finding:
    return Finding(
        code="drill.failed",
        severity=Severity.critical,
        subject=f"{result.backup or result.repository}: {step.name}",
        title=f"The drill failed at {step.name}: {step.said}",
        why="What the repository has is not what the server had: a restore in earnest would end "
        "the same way.",
        evidence={"after": Quantity(round(step.seconds, 2), "seconds")},
        fix=Fix(
            command=f"filban backup verify --repo {result.repository}",
            advice="Take a new full backup now and drill it; keep this one until that has passed.",
        ),
    )
