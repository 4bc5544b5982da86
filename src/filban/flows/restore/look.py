"""Before anything is written: which backup and timeline, what will be lost, how long it takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from filban.backup.apart import apart
from filban.backup.restore import plan as planning
from filban.backup.restore.plan import Plan, Rates
from filban.backup.restore.reading import Reader
from filban.backup.restore.targets import RecoveryTarget
from filban.backup.shelf import Shelf
from filban.backup.timeline import read as wal
from filban.backup.timeline.coverage import Archive
from filban.cluster.binaries import Binaries, find_binaries
from filban.errors import NotGood, UsageError
from filban.pg.lsn import format_lsn

# What a look may read to count what will be lost: pg_waldump reads some 150 MB a second, so that it
# answers within half a minute.
COUNTED_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Look:
    """What a restore would do. `commits_lost`: transactions behind the target that the WAL has and
    the restored cluster will not; None where they were not counted (see COUNTED_BYTES).
    `last_commit`: the newest in the WAL."""

    plan: Plan
    archive: Archive
    binaries: Binaries
    last_commit: datetime | None
    commits_lost: int | None
    rates: Rates

    @property
    def forecast_seconds(self) -> float:
        """By what drills have measured on this repository, else by the rates of another machine."""
        return self.plan.seconds(self.rates)

    def as_json(self) -> dict[str, Any]:
        one = self.plan
        return {
            "backup": one.backup.label,
            "target": str(one.target),
            "timeline": one.timeline,
            "timeline_why": one.why,
            "reachable": {
                "from_lsn": format_lsn(one.window.start),
                "to_lsn": format_lsn(one.window.end),
                "last_commit": self.last_commit.isoformat() if self.last_commit else None,
            },
            "commits_lost": self.commits_lost,
            "wal_lost_bytes": one.lost_bytes,
            "replay_bytes": one.replay_bytes,
            "forecast_seconds": round(self.forecast_seconds, 1),
        }


async def look(
    shelf: Shelf,
    target: RecoveryTarget,
    *,
    timeline: int | None = None,
    label: str | None = None,
) -> Look:
    """Choose, and count what will be lost. Reads the repository only.

    Raises UsageError for a target that cannot be reached, with the range that can; NotGood if the
    repository has nothing that can be restored, or where a split brain needs a choice.
    """
    backups = await shelf.backups()
    if not backups:
        raise UsageError(
            f"there is no finished backup in {shelf.name}",
            hint=f"take one: pg_basebackup -Ft -X none -D {shelf.name}/base/LABEL",
        )
    if label is not None and label not in {b.label for b in backups}:
        known = ", ".join(b.label for b in backups)
        raise UsageError(f"there is no backup {label} in {shelf.name}", hint=f"there are: {known}")
    whose = backups[-1].system_identifier
    reading = partial(wal.read, shelf.wal(), system_identifier=whose, whole=False)
    found = await apart(lambda told: reading(on_bytes=told))
    binaries = find_binaries(backups[-1].major)
    line, _ = planning.choose_timeline(found.archive, backups, timeline)
    reader = Reader(shelf, found.archive, line, binaries)
    since = min(b.start_lsn for b in backups)
    at = await _where(reader, target, since)
    last = await reader.last_commit(since)
    plan = planning.choose(
        target, backups, found.archive, timeline=timeline, label=label, at=at, last_commit=last
    )
    rates = planning.measured(await shelf.drills())
    return Look(plan, found.archive, binaries, last, await _lost(reader, plan), rates)


async def _where(reader: Reader, target: RecoveryTarget, since: int) -> int | None:
    """The target's LSN. Raises UsageError for a name or a transaction that is not in the WAL."""
    if target.kind == "lsn" and isinstance(target.value, int):
        return target.value
    if target.kind not in ("name", "xid"):
        return None
    record = await reader.locate(target, since)
    if record is None:
        raise UsageError(
            f"{target} is not in the WAL of timeline {reader.line.timeline}",
            hint="filban backup timeline shows what is; another timeline: --timeline",
        )
    return record.lsn


async def _lost(reader: Reader, plan: Plan) -> int | None:
    """Commits in the WAL behind the target; None where counting them would take long."""
    target, at = plan.target, plan.at
    if target.kind == "latest":
        return 0
    start = plan.backup.start_lsn if at is None else at
    if reader.bytes_from(start) > COUNTED_BYTES:
        return None
    lost = 0
    async for record in reader.records(start):
        if record.what not in ("COMMIT", "COMMIT_PREPARED"):
            continue
        if isinstance(target.value, datetime):
            behind = record.time is not None and record.time > target.value
        else:
            reached = at if at is not None else plan.window.start
            behind = record.lsn > reached or (record.lsn == reached and not target.inclusive)
        lost += behind
    return lost


def assert_reachable(found: Look) -> None:
    """Raises NotGood where WAL is missing before the target."""
    if found.plan.window.gap is not None and found.plan.target.kind == "latest":
        raise NotGood(
            f"WAL segment {found.plan.window.gap} is missing, and later ones are there: `latest` "
            "would silently end before it",
            hint=f"restore up to the hole on purpose: --to-lsn {format_lsn(found.plan.window.end)}",
        )
