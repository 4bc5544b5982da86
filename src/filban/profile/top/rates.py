"""Two looks -> what happened in a second between them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from filban.profile.top.rows import Look

BLOCK_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second; None where it is not known: the first look, or counters that were reset.

    hit_ratio: of the blocks asked for, the part (0..1) in shared buffers. disk_*: pg_stat_io,
    from 16 on.
    """

    commits: float | None = None
    rollbacks: float | None = None
    read_bytes: float | None = None
    hit_ratio: float | None = None
    temp_bytes: float | None = None
    wal_bytes: float | None = None
    disk_read_bytes: float | None = None
    disk_written_bytes: float | None = None


def rates(before: Look | None, after: Look) -> Rates:
    """What happened between two looks at one server."""
    if before is None or after.counters.at <= before.counters.at:
        return Rates()
    a, b = before.counters, after.counters
    seconds = b.at - a.at

    def rate(low: float | None, high: float | None, unit: int = 1) -> float | None:
        if low is None or high is None or high < low:  # a reset, or another server
            return None
        return (high - low) * unit / seconds

    read, hit = rate(a.blocks_read, b.blocks_read), rate(a.blocks_hit, b.blocks_hit)
    asked = None if read is None or hit is None else read + hit
    return Rates(
        commits=rate(a.commits, b.commits),
        rollbacks=rate(a.rollbacks, b.rollbacks),
        read_bytes=rate(a.blocks_read, b.blocks_read, BLOCK_BYTES),
        hit_ratio=hit / asked if asked and hit is not None else None,
        temp_bytes=rate(a.temp_bytes, b.temp_bytes),
        wal_bytes=rate(a.wal_bytes, b.wal_bytes),
        disk_read_bytes=rate(before.io.read_bytes, after.io.read_bytes),
        disk_written_bytes=rate(before.io.written_bytes, after.io.written_bytes),
    )
