"""Replication slots that hold WAL back, or have lost theirs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.replication.rows import Slot
from filban.units import duration, size


@dataclass(frozen=True, slots=True)
class SlotThresholds:
    """Critical from 10 GB on: ten times the default max_wal_size, and what fills a small disk
    within a day. A quarter of max_slot_wal_keep_size is the room in which one can still act: a
    slot goes from reserved to lost at once. Both filban's own."""

    slot_critical_bytes: float = 10 * 1024**3
    slot_safe_percent: float = 25.0


def inactive(slots: Iterable[Slot], limits: SlotThresholds) -> Iterator[Finding]:
    """slot.inactive, one a slot. One that was never used holds nothing back yet."""
    for s in slots:
        if s.is_active or s.is_synced or s.wal_status in ("lost", "unreserved"):
            continue
        held = s.retained_bytes or 0.0
        yield Finding(
            code="slot.inactive",
            severity=_severity(s, held, limits),
            subject=s.name,
            title=f"Nobody reads this {s.kind} slot, and it holds back {size(held)} of WAL",
            why=_why(s),
            evidence=_evidence(s),
            fix=_drop(s, "Whoever read it cannot go on from where it was: a standby catches up "
            "from an archive or is built anew, a subscriber copies its tables again. Only "
            "away for a moment? Then bring it back instead."),
        )  # fmt: skip


def _severity(s: Slot, held: float, limits: SlotThresholds) -> Severity:
    if held >= limits.slot_critical_bytes:
        return Severity.critical
    holds_something = s.retained_bytes is not None or s.catalog_xmin_age is not None
    return Severity.warning if holds_something else Severity.info


def _why(s: Slot) -> str:
    if s.retained_bytes is None:
        return "It was never used. From its first use on it keeps WAL, until the disk is full."
    away = "" if s.inactive_seconds is None else f" It was left {duration(s.inactive_seconds)} ago."
    limit = (
        "until the disk is full and the server stops"
        if s.safe_bytes is None
        else f"for another {size(s.safe_bytes)} (max_slot_wal_keep_size), then it is lost"
    )
    rows = " It also keeps vacuum from removing dead rows." if _oldest(s) is not None else ""
    return f"The WAL it holds back grows with every write, {limit}.{rows}{away}"


def _oldest(s: Slot) -> int | None:
    ages = [age for age in (s.xmin_age, s.catalog_xmin_age) if age is not None]
    return max(ages, default=None)


def lost(
    slots: Iterable[Slot], keep_bytes: int | None, limits: SlotThresholds
) -> Iterator[Finding]:
    """slot.lost: lost, about to be, or with little room left of max_slot_wal_keep_size."""
    for s in slots:
        if s.wal_status == "lost":
            yield _lost(s)
        elif s.wal_status == "unreserved":
            yield _nearly(s, Severity.critical, "its WAL goes with the next checkpoint")
        elif s.safe_bytes is not None and keep_bytes:
            percent = 100.0 * s.safe_bytes / keep_bytes
            if percent < limits.slot_safe_percent:
                left = f"{size(max(0, s.safe_bytes))} more WAL and it is lost"
                yield _nearly(s, Severity.warning, left)


def _lost(s: Slot) -> Finding:
    return Finding(
        code="slot.lost",
        severity=Severity.critical,
        subject=s.name,
        title=f"This {s.kind} slot is lost: the WAL that it needs has been removed",
        why="Whoever reads it cannot go on: a standby needs the archive or has to be built anew, a "
        "subscriber has to copy its tables again.",
        evidence=_evidence(s),
        fix=_drop(s, "Then create it anew with what reads it (a fresh standby, a fresh copy)."),
    )


def _nearly(s: Slot, severity: Severity, title: str) -> Finding:
    return Finding(
        code="slot.lost",
        severity=severity,
        subject=s.name,
        title=f"This {s.kind} slot is about to be lost: {title}",
        why="It is further behind than max_slot_wal_keep_size allows or nearly so; what reads it "
        "has to catch up now.",
        evidence=_evidence(s),
        fix=Fix(
            sql="ALTER SYSTEM SET max_slot_wal_keep_size = -1;\nSELECT pg_reload_conf();",
            caution="Buys time at the price of disk: the WAL grows until the reader has caught up. "
            "Watch the disk and set it back after. Nobody reads it? Then drop it: "
            f"{s.drop_statement}",
        ),
    )


def _drop(s: Slot, caution: str) -> Fix:
    return Fix(sql=s.drop_statement, reversible=False, caution=caution)


def _evidence(s: Slot) -> dict[str, Quantity]:
    evidence = {"kind": Quantity(s.kind), "wal_status": Quantity(s.wal_status or "never used")}
    if s.retained_bytes is not None:
        evidence["retained"] = Quantity(round(s.retained_bytes), "bytes")
    if s.safe_bytes is not None:
        evidence["safe"] = Quantity(s.safe_bytes, "bytes")
    if (oldest := _oldest(s)) is not None:
        evidence["oldest_xmin_age"] = Quantity(oldest, "xids")
    if s.inactive_seconds is not None:
        evidence["inactive"] = Quantity(round(s.inactive_seconds), "seconds")
    if s.database is not None:
        evidence["database"] = Quantity(s.database)
    return evidence
