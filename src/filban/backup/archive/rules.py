"""Whether WAL reaches the archive -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from filban.backup.archive.rows import Archiver, Waiting
from filban.finding import Finding, Fix, Quantity, Severity
from filban.units import duration, size


@dataclass(frozen=True, slots=True)
class ArchiveThresholds:
    """A failing archiver is critical after a quarter of an hour: it tries once a minute
    (PGARCH_AUTOWAKE_INTERVAL), and as much of the past is lost with this server. Files wait for
    moments even in health: sixteen segments (256 MB) or five minutes are a queue; filban's own."""

    archive_failing_critical_seconds: float = 900.0
    archive_waiting_files: float = 16
    archive_waiting_seconds: float = 300.0


def active(archiver: Archiver, *, in_recovery: bool) -> bool:
    """Whether this server archives now: a standby only with archive_mode=always."""
    return archiver.mode == "always" or (archiver.mode == "on" and not in_recovery)


def not_configured(archiver: Archiver) -> Iterator[Finding]:
    """archive.not_configured"""
    if archiver.is_configured:
        return
    yield Finding(
        code="archive.not_configured",
        severity=Severity.critical,
        subject="archive_command",
        title="archive_mode is on and neither archive_command nor archive_library is set",
        why="Every WAL file is kept until it is archived, so the disk fills up; and no backup can "
        "be brought further than its own end.",
        evidence={"archived": Quantity(archiver.archived_count, "count")},
        fix=Fix(
            advice="Set archive_command (a reload is enough), or turn archive_mode off (a "
            "restart) where nobody wants an archive.",
            caution="archive_command = '/bin/true' stops the growth and throws the WAL away: after "
            "it, take a new base backup.",
        ),
    )


def failing(
    archiver: Archiver, waiting: Waiting | None, limits: ArchiveThresholds
) -> Iterator[Finding]:
    """archive.failing"""
    if not archiver.is_failing:
        return
    since = archiver.archived_seconds_ago
    lasting = _lasting(archiver, waiting)
    critical = lasting is not None and lasting >= limits.archive_failing_critical_seconds
    ago = "never since counting began" if since is None else f"last {duration(since)} ago"
    yield Finding(
        code="archive.failing",
        severity=Severity.critical if critical else Severity.warning,
        subject="archiver",
        title=f"Archiving fails: {archiver.failed_count:,} failures, it worked {ago}",
        why="WAL piles up until the disk is full and the server stops; and what is not archived is "
        "lost with this server.",
        evidence=_evidence(archiver, waiting),
        fix=Fix(
            advice=f"The server's log has the command's error for {archiver.last_failed_file}: "
            "no room, no rights, no network, or a file of that name that differs is there "
            "already. The archiver tries again by itself.",
        ),
    )


def _lasting(archiver: Archiver, waiting: Waiting | None) -> float | None:
    """Since when it has failed, in seconds. The file that waits longest knows: a server that had
    written nothing for days has archived nothing for days either."""
    if waiting is not None and waiting.oldest_seconds is not None:
        return waiting.oldest_seconds
    since = archiver.archived_seconds_ago
    return archiver.counted_seconds if since is None else since


def _evidence(archiver: Archiver, waiting: Waiting | None) -> dict[str, Quantity]:
    evidence = {
        "failed": Quantity(archiver.failed_count, "count"),
        "archived": Quantity(archiver.archived_count, "count"),
        "last_failed_file": Quantity(archiver.last_failed_file or ""),
    }
    if archiver.failed_seconds_ago is not None:
        evidence["last_failure"] = Quantity(round(archiver.failed_seconds_ago), "seconds")
    if archiver.archived_seconds_ago is not None:
        evidence["last_success"] = Quantity(round(archiver.archived_seconds_ago), "seconds")
    if waiting is not None:
        evidence |= _queue(waiting)
    return evidence


def _queue(waiting: Waiting) -> dict[str, Quantity]:
    queue = {
        "waiting_files": Quantity(waiting.files, "count"),
        "waiting": Quantity(waiting.size_bytes, "bytes"),
    }
    if waiting.oldest_seconds is not None:
        queue["oldest_waits"] = Quantity(round(waiting.oldest_seconds), "seconds")
    return queue


def lag(waiting: Waiting, limits: ArchiveThresholds) -> Iterator[Finding]:
    """archive.lag: a queue, where nothing fails."""
    oldest = waiting.oldest_seconds
    if oldest is None:
        return
    long = oldest >= limits.archive_waiting_seconds
    if waiting.files < limits.archive_waiting_files and not long:
        return
    yield Finding(
        code="archive.lag",
        severity=Severity.warning,
        subject="archiver",
        title=f"{waiting.files:,} WAL files ({size(waiting.size_bytes)}) wait to be archived, "
        f"the oldest for {duration(oldest)}",
        why="What is not archived is lost with this server, and the files take up its disk.",
        evidence=_queue(waiting),
        fix=Fix(
            advice="The archive command is slower than this server writes, or hangs: time one call "
            "of it; one that compresses and starts up fast, or archive_library (15 and later), "
            "is worth it from a few segments a second on."
        ),
    )
