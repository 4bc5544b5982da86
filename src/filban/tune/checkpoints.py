"""Checkpoints that WAL volume forces before their time -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from filban.finding import Finding, Quantity, Severity
from filban.tune.rows import Checkpoints
from filban.tune.settings import alter_system
from filban.units import duration, size

_MB = 1024**2


@dataclass(frozen=True, slots=True)
class CheckpointThresholds:
    """Sources: most checkpoints should be timed (PostgreSQL's manual, 28.5: raise max_wal_size when
    they come too close); a majority of requested ones is the usual alarm. The sample is filban's
    own: an hour and ten checkpoints, below which one bulk load makes the picture."""

    checkpoint_requested_percent: float = 50.0
    checkpoint_minimum_count: float = 10
    checkpoint_minimum_window_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """max_wal_size in bytes, checkpoint_timeout in seconds."""

    max_wal_size_bytes: int
    checkpoint_timeout_seconds: float
    completion_target: float

    @property
    def trigger_bytes(self) -> float:
        """WAL after which a checkpoint is requested: CalculateCheckpointSegments in xlog.c."""
        return self.max_wal_size_bytes / (1.0 + self.completion_target)


def too_frequent(
    seen: Checkpoints,
    settings: CheckpointSettings,
    limits: CheckpointThresholds,
    *,
    managed_by: str | None = None,
) -> Iterator[Finding]:
    """checkpoint.too_frequent: at most one finding."""
    window = seen.window_seconds or 0.0
    forced = forced_by_wal(seen, settings.trigger_bytes)
    share = _percent(forced, seen, settings)
    if window < limits.checkpoint_minimum_window_seconds or window <= 0:
        return
    if forced < limits.checkpoint_minimum_count or share < limits.checkpoint_requested_percent:
        return
    wanted = roomy_max_wal_size(seen, settings, limits)
    yield Finding(
        code="checkpoint.too_frequent",
        severity=Severity.warning,
        subject="max_wal_size",
        title=f"WAL volume forces a checkpoint every {duration(window / forced)}",
        why="Each checkpoint writes every dirty page and makes the next change of a page log it "
        "whole: too many of them multiply writes and WAL.",
        evidence={
            "forced": Quantity(round(forced), "count"),
            "requested": Quantity(seen.requested, "count"),
            "timed": Quantity(seen.timed, "count"),
            "window": Quantity(round(window), "seconds"),
            "wal": Quantity(seen.wal_bytes, "bytes"),
            "max_wal_size": Quantity(settings.max_wal_size_bytes, "bytes"),
        },
        fix=alter_system(
            "max_wal_size",
            f"'{wanted // _MB}MB'",
            managed_by,
            f"pg_wal may grow to {size(wanted)}, and recovery after a crash takes longer.",
        ),
    )


def forced_by_wal(seen: Checkpoints, trigger_bytes: float) -> float:
    """How many of the requested checkpoints WAL volume can account for.

    A CHECKPOINT by hand, a base backup and CREATE DATABASE count as requested as well; what was
    written bounds what it can have forced. The two counters may have been reset at different times.
    """
    wal_window = seen.wal_window_seconds or 0.0
    scale = (seen.window_seconds or 0.0) / wal_window if wal_window > 0 else 1.0
    return min(float(seen.requested), seen.wal_bytes * scale / trigger_bytes)


def _percent(forced: float, seen: Checkpoints, settings: CheckpointSettings) -> float:
    """Forced ones against those that time alone would have made in the window."""
    by_time = max(seen.timed, (seen.window_seconds or 0.0) / settings.checkpoint_timeout_seconds)
    return 100.0 * forced / (forced + by_time) if forced else 0.0


def roomy_max_wal_size(
    seen: Checkpoints, settings: CheckpointSettings, limits: CheckpointThresholds
) -> int:
    """The size doubled until the same WAL would have forced less than half of the allowed share,
    or (where next to nothing is allowed) not a single checkpoint."""
    size_bytes = settings.max_wal_size_bytes
    while True:
        size_bytes *= 2
        trigger = size_bytes / (1.0 + settings.completion_target)
        forced = forced_by_wal(seen, trigger)
        share = _percent(forced, seen, settings)
        if forced < 1 or share < limits.checkpoint_requested_percent / 2:
            return size_bytes
