"""Replication -> findings. Pure.

Bytes come from the sender's own positions. Three usual measures of seconds lie: now minus the last
replayed commit grows on an idle primary and under clock skew, receive minus replay is zero with a
frozen receiver, and replay_lag follows only what was replayed. So seconds are those since the
standby was last heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.replication.rows import Sender, Slot, StandbyState
from filban.units import duration, size

SEGMENT = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class LagThresholds:
    """A standby four segments (64 MB) behind replays for about half a second at the 150 MB/s that
    replay reaches; at 1 GB, the default max_wal_size, a failover waits for seconds to minutes. A
    standby reports every wal_receiver_status_interval (10 s): silent for three of them, it hangs,
    and wal_sender_timeout (60 s) will cut it off."""

    lag_warning_bytes: float = 4 * SEGMENT
    lag_critical_bytes: float = 1024**3
    standby_silent_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class SlotThresholds:
    """An inactive slot is a fault from the first segment that it keeps; at 10 GB (a tenth of a
    small cloud disk), or less than four segments before max_slot_wal_keep_size, it is urgent."""

    slot_warning_bytes: float = SEGMENT
    slot_critical_bytes: float = 10 * 1024**3
    slot_safe_bytes: float = 4 * SEGMENT


@dataclass(frozen=True, slots=True)
class StandbyThresholds:
    """As for the sender: three status intervals of silence; four segments not replayed."""

    receiver_silent_seconds: float = 30.0
    replay_warning_bytes: float = 4 * SEGMENT


def lag(senders: Iterable[Sender], limits: LagThresholds) -> Iterator[Finding]:
    """replication.lag, one a standby that streams."""
    for s in senders:
        behind = s.replay_behind_bytes if s.replay_behind_bytes is not None else s.sent_behind_bytes
        silent = s.silent_seconds or 0.0
        quiet = silent >= limits.standby_silent_seconds
        if s.state not in {"streaming", "catchup"} or behind is None:
            continue
        if behind < limits.lag_warning_bytes and not quiet:
            continue
        critical = behind >= limits.lag_critical_bytes
        yield Finding(
            code="replication.lag",
            severity=Severity.critical if critical else Severity.warning,
            subject=s.name,
            title=f"The standby is {size(behind)} behind"
            + (f" and was last heard {duration(silent)} ago" if quiet else ""),
            why="Reads there are stale by as much, a failover to it waits or loses it. "
            + _where(s),
            evidence=_positions(s),
            fix=Fix(
                sql="SELECT pid, wait_event_type, wait_event, state, query FROM pg_stat_activity "
                "WHERE backend_type IN ('startup', 'walreceiver') OR state <> 'idle';",
                advice="Run it on the standby: it shows what replay waits for, and long queries "
                "that hold it up. `filban check` there names a paused replay.",
            ),
        )


def _positions(s: Sender) -> dict[str, Quantity]:
    known = {
        "sent_behind": s.sent_behind_bytes,
        "flush_behind": s.flush_behind_bytes,
        "replay_behind": s.replay_behind_bytes,
    }
    evidence = {k: Quantity(v, "bytes") for k, v in known.items() if v is not None}
    if s.silent_seconds is not None:
        evidence["silent"] = Quantity(round(s.silent_seconds, 1), "seconds")
    return evidence


def _where(s: Sender) -> str:
    sent, flushed, replayed = (
        v or 0.0 for v in (s.sent_behind_bytes, s.flush_behind_bytes, s.replay_behind_bytes)
    )
    if sent >= 0.5 * replayed:
        return "Most of it was not even sent: the network, or the sender, is too slow."
    if flushed >= 0.5 * replayed:
        return "Most of it was sent but not written there: its disk or the network is too slow."
    return "It was received but not replayed: replay is paused, waits for a query, or is too slow."


def sync_missing(senders: Sequence[Sender], names: str) -> Iterator[Finding]:
    """replication.sync_missing: commits wait for a standby that is not there."""
    if not names.strip() or any(s.sync_state in {"sync", "quorum"} for s in senders):
        return
    yield Finding(
        code="replication.sync_missing",
        severity=Severity.critical,
        subject="synchronous_standby_names",
        title="No synchronous standby is connected: every commit waits",
        why=f"synchronous_standby_names asks for {names}, and none of them streams. A commit hangs "
        "until one does; cancelled, it stays committed here only.",
        evidence={
            "streaming": Quantity(len(senders), "count"),
            "synchronous_standby_names": Quantity(names),
        },
        fix=Fix(
            sql="ALTER SYSTEM SET synchronous_standby_names = '';\nSELECT pg_reload_conf();",
            caution="From then on a failover may lose acknowledged commits. Better: bring the "
            "standby back.",
        ),
    )


def inactive(slots: Iterable[Slot], limits: SlotThresholds) -> Iterator[Finding]:
    """slot.inactive: nobody reads it, and WAL piles up."""
    for slot in slots:
        held = slot.retained_bytes or 0.0
        if slot.active or slot.wal_status == "lost" or slot.restart_is_unset():
            continue
        urgent = held >= limits.slot_critical_bytes or _nearly_lost(slot, limits)
        severity = Severity.critical if urgent else Severity.warning
        if held < limits.slot_warning_bytes:
            severity = Severity.info
        yield Finding(
            code="slot.inactive",
            severity=severity,
            subject=slot.name,
            title=f"A {slot.kind} slot that nobody reads holds back {size(held)} of WAL",
            why="It grows with every write until the disk is full and the server stops, or until "
            "max_slot_wal_keep_size cuts it off."
            + (" A logical slot also keeps vacuum from the catalogs." if slot.database else ""),
            evidence=_held(slot),
            fix=_drop(slot),
        )


def lost(slots: Iterable[Slot], limits: SlotThresholds) -> Iterator[Finding]:
    """slot.lost: its WAL is gone, or about to go while a client still reads it."""
    for slot in slots:
        gone = slot.wal_status == "lost"
        if not gone and not (slot.active and _nearly_lost(slot, limits)):
            continue
        yield Finding(
            code="slot.lost",
            severity=Severity.critical,
            subject=slot.name,
            title="The WAL of this slot is gone"
            if gone
            else f"{size(slot.safe_wal_bytes or 0)} of writes until this slot is lost",
            why="Its standby or subscriber cannot go on from it and has to be built anew."
            if gone
            else "max_slot_wal_keep_size is nearly used up: then its client must be built anew.",
            evidence=_held(slot),
            fix=_drop(slot)
            if gone
            else Fix(
                sql="ALTER SYSTEM SET max_slot_wal_keep_size = -1;\nSELECT pg_reload_conf();",
                caution="Without a limit the slot can fill the disk: watch it, and set it again.",
            ),
        )


def _nearly_lost(slot: Slot, limits: SlotThresholds) -> bool:
    if slot.wal_status == "unreserved":
        return True
    return slot.safe_wal_bytes is not None and slot.safe_wal_bytes < limits.slot_safe_bytes


def _held(slot: Slot) -> dict[str, Quantity]:
    known = {
        "retained": Quantity(slot.retained_bytes or 0.0, "bytes"),
        "wal_status": Quantity(slot.wal_status or "none"),
    }
    if slot.safe_wal_bytes is not None:
        known["safe"] = Quantity(slot.safe_wal_bytes, "bytes")
    return known


def _drop(slot: Slot) -> Fix:
    where = f'Run it in the database "{slot.database}". ' if slot.database else ""
    return Fix(
        sql=slot.drop_sql,
        reversible=False,
        caution=f"{where}Its standby or subscriber has to be built anew if it comes back.",
    )


def standby(state: StandbyState, *, streams: bool, limits: StandbyThresholds) -> Iterator[Finding]:
    """What a standby knows of itself. streams: whether primary_conninfo is set."""
    behind = state.replay_behind_bytes or 0.0
    evidence = {"not_replayed": Quantity(behind, "bytes")}
    if state.pause_state != "not paused":
        yield Finding(
            code="replication.replay_paused",
            severity=Severity.warning,
            subject="standby",
            title=f"Replay is paused, {size(behind)} wait",
            why="Reads here stay as they were; WAL piles up on this disk.",
            evidence=evidence,
            fix=Fix(sql="SELECT pg_wal_replay_resume();"),
        )
    elif behind >= limits.replay_warning_bytes:
        yield Finding(
            code="replication.lag",
            severity=Severity.warning,
            subject="standby",
            title=f"{size(behind)} were received and not replayed",
            why="Reads here are stale by as much. Replay is one process: it waits for a query "
            "that still needs old rows, for the disk, or it cannot keep up.",
            evidence=evidence,
            fix=Fix(
                sql="SELECT pid, wait_event_type, wait_event FROM pg_stat_activity "
                "WHERE backend_type = 'startup';",
                advice="A wait for recovery conflicts names long queries: cancel them, or lower "
                "max_standby_streaming_delay.",
            ),
        )
    silent = state.silent_seconds
    if streams and not state.receivers:
        yield _receiver("No WAL receiver runs here though primary_conninfo is set", evidence)
    elif silent is not None and silent >= limits.receiver_silent_seconds:
        yield _receiver(
            f"Nothing has come from the primary for {duration(silent)}",
            evidence | {"silent": Quantity(round(silent, 1), "seconds")},
        )


def _receiver(title: str, evidence: dict[str, Quantity]) -> Finding:
    return Finding(
        code="replication.receiver_down",
        severity=Severity.critical,
        subject="standby",
        title=title,
        why="This standby falls behind from now on, and looks up to date to whoever compares what "
        "was received with what was replayed.",
        evidence=evidence,
        fix=Fix(
            sql="ALTER SYSTEM RESET primary_conninfo;\nSELECT pg_reload_conf();",
            advice="That makes it follow no primary any more, if that is meant. Otherwise look "
            "into its log: the primary is down, refuses the connection, or has removed the WAL.",
        ),
    )
