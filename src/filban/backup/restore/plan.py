"""Which backup, which timeline, and what will be lost; what cannot be reached is refused here.

Pure: what has to be read from the WAL for it (see `reading`) is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from filban.backup.restore.targets import RecoveryTarget
from filban.backup.shelf import Stored
from filban.backup.timeline import coverage, history
from filban.backup.timeline.coverage import Archive, Window
from filban.backup.timeline.history import History
from filban.errors import NotGood, UsageError
from filban.pg.lsn import format_lsn

# A drill that has read or replayed less than this has measured the start of a server, not a rate.
RATE_MIN_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a machine restores. The defaults are filban's own guess for two cores, and only for
    repositories without a drill."""

    unpack_bytes_per_second: float = 400e6
    replay_bytes_per_second: float = 150e6


def measured(drills: Sequence[Mapping[str, Any]]) -> Rates:
    """What the newest drills have measured, each rate by the newest drill that has it."""
    known = Rates()
    for field in ("unpack_bytes_per_second", "replay_bytes_per_second"):
        values = [
            d[field] for d in drills if isinstance(d.get(field), int | float) and d[field] > 0
        ]
        if values:
            known = replace(known, **{field: float(values[-1])})
    return known


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore will do. `at`: the LSN of the target where it is known; `lost_bytes`: WAL
    behind it that will not be replayed; `why`: how the timeline was chosen, in a sentence."""

    backup: Stored
    timeline: int
    target: RecoveryTarget
    window: Window
    at: int | None
    why: str

    @property
    def replay_bytes(self) -> int:
        return max((self.at or self.window.end) - self.backup.start_lsn, 0)

    @property
    def lost_bytes(self) -> int:
        return 0 if self.at is None else max(self.window.end - self.at, 0)

    def seconds(self, rates: Rates) -> float:
        """A forecast of the wall time."""
        return (
            self.backup.bytes / rates.unpack_bytes_per_second
            + self.replay_bytes / rates.replay_bytes_per_second
        )

    def through(self, segment_bytes: int) -> int:
        """For "latest": the last record must begin in the last whole segment, or behind it."""
        return (self.window.end // segment_bytes - 1) * segment_bytes


def choose_timeline(
    archive: Archive, backups: Sequence[Stored], wanted: int | None
) -> tuple[History, str]:
    """The line of descent to follow, and why.

    Without a wish it is the newest; but not silently where an older timeline went on after it had
    been left: what was committed there would be lost. Raises NotGood then, UsageError for a
    timeline that nothing is known of.
    """
    known = sorted({*archive.timelines(), *(b.timeline for b in backups)})
    chosen = history.newest(archive.histories, set(known)) if wanted is None else wanted
    line = archive.history(chosen) if chosen is not None else None
    if chosen is None or chosen not in known or line is None:
        raise UsageError(
            f"the repository has no timeline {chosen}" if chosen else "the repository is empty",
            hint="there are: " + ", ".join(map(str, known))
            if known
            else "a base backup and the WAL since it have to be there",
        )
    left = {b.timeline for b in line.ancestors}
    split = [a for a in coverage.abandoned(archive) if a.timeline in left]
    if split and wanted is None:
        one = split[0]
        raise NotGood(
            f"timeline {one.timeline} went on to {format_lsn(one.end)} after timeline {one.child} "
            f"had left it at {format_lsn(one.branched_at)}: two servers took commits, and one "
            "restore cannot have both",
            hint=f"choose: --timeline {chosen} is without what {one.timeline} committed then, "
            f"--timeline {one.timeline} without what {chosen} has",
        )
    return line, "as asked" if wanted else f"the newest: {history.described(line)}"


def choose(
    target: RecoveryTarget,
    backups: Sequence[Stored],
    archive: Archive,
    *,
    timeline: int | None = None,
    label: str | None = None,
    at: int | None = None,
    last_commit: datetime | None = None,
) -> Plan:
    """The newest backup from which the target can be reached.

    at: where the target is in the WAL, for lsn, xid and name. last_commit: the newest commit in it,
    for times. Raises UsageError with the range that can be reached if the target is outside of it,
    NotGood if no backup can be restored at all.
    """
    line, why = choose_timeline(archive, backups, timeline)
    usable = [w for w in coverage.windows(archive, backups) if w.timeline == line.timeline]
    usable = [w for w in usable if w.is_usable and label in (None, w.backup)]
    by_label = {b.label: b for b in backups}
    if not usable:
        raise NotGood(
            f"no backup{f' {label}' if label else ''} can be restored to timeline {line.timeline}",
            hint="filban backup verify says what is missing; filban backup timeline draws it",
        )
    fitting = [w for w in usable if _fits(w, by_label[w.backup], target, at, last_commit)]
    if not fitting:
        raise _unreachable(target, usable, by_label, last_commit)
    window = max(fitting, key=lambda w: (by_label[w.backup].end_lsn, w.backup))
    return Plan(by_label[window.backup], line.timeline, target, window, at, why)


def _fits(
    window: Window,
    backup: Stored,
    target: RecoveryTarget,
    at: int | None,
    last_commit: datetime | None,
) -> bool:
    if target.kind in ("latest", "immediate"):
        return True
    if isinstance(target.value, datetime):
        # Recovery ends with an error unless a later commit tells it that the moment has passed.
        reached = last_commit is not None and last_commit > target.value
        return backup.finished_at <= target.value and reached
    return at is not None and window.start <= at <= window.end


def _unreachable(
    target: RecoveryTarget,
    usable: Sequence[Window],
    by_label: dict[str, Stored],
    last_commit: datetime | None,
) -> UsageError:
    first = min(usable, key=lambda w: w.start)
    end = max(w.end for w in usable)
    if isinstance(target.value, datetime):
        start = by_label[first.backup].finished_at.astimezone(UTC)
        until = last_commit.astimezone(UTC) if last_commit else start
        reach = (
            f"from {start:%Y-%m-%d %H:%M:%S.%f}+00 to just before {until:%Y-%m-%d %H:%M:%S.%f}+00"
        )
    else:
        reach = f"from LSN {format_lsn(first.start)} to {format_lsn(end)}"
    gap = next((w.gap for w in usable if w.gap), None)
    tail = f"; WAL is missing from {gap} on (filban backup verify)" if gap else ""
    return UsageError(
        f"{target} cannot be reached", hint=f"what can be reached on timeline {first.timeline}: "
        f"{reach}{tail}",
    )  # fmt: skip
