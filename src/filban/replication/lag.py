"""How far standbys are behind, and whether commits wait for one that is not there. Pure.

Bytes of this server's own WAL, never a time that a standby computes: now() minus the last replayed
transaction grows on an idle primary, receive minus replay is 0 with a frozen receiver, and
replay_lag was half a millisecond on a standby that was delayed by ten seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.replication.rows import Sender, Standby, Synchronous
from filban.units import duration, number, size

# Levels of synchronous_commit at which COMMIT does not wait for a standby.
_DOES_NOT_WAIT = frozenset({"off", "local"})
_COUNT = re.compile(r"^\s*(?:(?:FIRST|ANY)\s+)?(\d+)\s*\(", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LagThresholds:
    """256 MB is sixteen WAL segments, which a sound standby makes good in seconds; 4 GB is four
    times the default max_wal_size, beyond what a primary keeps without a slot. The silence is one
    and a half times the default wal_receiver_timeout of 60 s, at which a receiver that still runs
    would have given up by itself."""

    replication_lag_warning_bytes: float = 256 * 1024**2
    replication_lag_critical_bytes: float = 4 * 1024**3
    replication_silent_seconds: float = 90.0


def behind(senders: Iterable[Sender], limits: LagThresholds) -> Iterator[Finding]:
    """replication.lag as a sending server sees it, one a receiver."""
    for s in senders:
        if s.behind_bytes is None or s.behind_bytes < limits.replication_lag_warning_bytes:
            continue
        critical = s.behind_bytes >= limits.replication_lag_critical_bytes
        where = f" at {s.address}" if s.address else ""
        yield Finding(
            code="replication.lag",
            severity=Severity.critical if critical else Severity.warning,
            subject=s.name,
            title=f"The receiver {s.name}{where} is {size(s.behind_bytes)} of WAL behind",
            why=f"{_where_it_hangs(s)} Reads there are old, and a failover to it loses or waits "
            "for what it lacks.",
            evidence={
                "behind": Quantity(round(s.behind_bytes), "bytes"),
                "not_sent": Quantity(round(s.not_sent_bytes or 0), "bytes"),
                "not_flushed": Quantity(round(s.not_flushed_bytes or 0), "bytes"),
                "state": Quantity(s.state or ""),
                "sync_state": Quantity(s.sync_state or ""),
            },
            fix=Fix(
                advice="On the standby: `filban check` says whether replay is paused or delayed. "
                "If not, look for long queries there (max_standby_streaming_delay), a slow disk, "
                "or a network that the WAL does not fit through."
            ),
        )


def _where_it_hangs(s: Sender) -> str:
    not_sent, not_flushed = s.not_sent_bytes or 0.0, s.not_flushed_bytes or 0.0
    most = max(not_sent, not_flushed - not_sent, (s.behind_bytes or 0.0) - not_flushed)
    if most == not_sent:
        return "Most of it was not sent yet: the network or this server's disk."
    if most == not_flushed - not_sent:
        return "Most of it is on its way or not flushed: the network or the standby's disk."
    return "Most of it has arrived and is not replayed: paused, delayed, or held up by a query."


def silent(standby: Standby, limits: LagThresholds) -> Iterator[Finding]:
    """replication.lag on the standby: nothing heard, or much received and not replayed."""
    seconds = standby.silent_seconds
    if seconds is not None and seconds >= limits.replication_silent_seconds:
        yield Finding(
            code="replication.lag",
            severity=Severity.warning,
            subject="this standby",
            title=f"Nothing was heard from the primary for {duration(seconds)}",
            why="The walreceiver runs, and gets not even the keepalives that an idle primary "
            "sends: how far this standby is behind is not known here.",
            evidence={
                "silent": Quantity(round(seconds), "seconds"),
                "receiver_pid": Quantity(standby.receiver or 0),
            },
            fix=Fix(
                advice="Is the primary frozen, or the network cut without a reset? A walreceiver "
                "that hangs is started anew after a signal: kill its pid on this machine."
            ),
        )
    yield from _not_replayed(standby, limits)


def _not_replayed(standby: Standby, limits: LagThresholds) -> Iterator[Finding]:
    waiting = standby.behind_bytes
    if waiting is None or waiting < limits.replication_lag_warning_bytes:
        return
    critical = waiting >= limits.replication_lag_critical_bytes
    yield Finding(
        code="replication.lag",
        severity=Severity.critical if critical else Severity.warning,
        subject="this standby",
        title=f"{size(waiting)} of WAL are there and not replayed",
        why="Reads here are old, and a promotion has to replay them first.",
        evidence={
            "behind": Quantity(round(waiting), "bytes"),
            "recovery_min_apply_delay": Quantity(standby.delay_seconds, "seconds"),
        },
        fix=Fix(
            advice="Delayed on purpose (recovery_min_apply_delay)? Paused "
            "(replication.replay_paused)? Else long queries hold replay up "
            "(max_standby_streaming_delay), or the disk does."
        ),
    )


def paused(standby: Standby) -> Iterator[Finding]:
    """replication.replay_paused"""
    if not standby.is_paused:
        return
    waiting = standby.behind_bytes or 0.0
    yield Finding(
        code="replication.replay_paused",
        severity=Severity.warning,
        subject="this standby",
        title=f"Replay is paused with {size(waiting)} of WAL waiting",
        why="Reads here stay as old as the pause, the WAL piles up on disk, and a promotion comes "
        "only after it is resumed. Somebody called pg_wal_replay_pause(), a recovery target was "
        "reached, or a setting such as max_connections is lower than the primary's.",
        evidence={"waiting": Quantity(round(waiting), "bytes")},
        fix=Fix(
            sql="SELECT pg_wal_replay_resume();",
            caution="Was it paused for a look at the past, or before a risky change? Then first "
            "ask who did it. After a reached recovery target it promotes.",
        ),
    )


def receiver_down(standby: Standby) -> Iterator[Finding]:
    """replication.receiver_down"""
    if standby.receiver is not None or not standby.has_upstream:
        return
    archive = (
        " Replay goes on from the archive as long as it has files." if standby.has_archive else ""
    )
    yield Finding(
        code="replication.receiver_down",
        severity=Severity.critical,
        subject="this standby",
        title="primary_conninfo is set and no WAL is being received",
        why="This standby falls behind with every write; once the primary has removed the WAL it "
        f"needs, it has to be built anew.{archive}",
        evidence={"not_replayed": Quantity(round(standby.behind_bytes or 0), "bytes")},
        fix=Fix(
            advice="This server's log says why, every few seconds: the primary is down, refuses "
            "the role (pg_hba.conf needs a `host replication` line), has dropped the slot, has "
            "removed the WAL, or went on another timeline (pg_rewind)."
        ),
    )


def sync_missing(setting: Synchronous, senders: Sequence[Sender]) -> Iterator[Finding]:
    """replication.sync_missing. Only for roles that see every sender, or when there is none."""
    wanted = standbys_wanted(setting.names)
    there = sum(s.sync_state in ("sync", "quorum") for s in senders)
    if setting.synchronous_commit in _DOES_NOT_WAIT or there >= wanted:
        return
    yield Finding(
        code="replication.sync_missing",
        severity=Severity.critical,
        subject="synchronous_standby_names",
        title=f"Commits wait for {number(wanted)} synchronous standby(s), and {number(there)} "
        "is connected",
        why="Each COMMIT hangs, without an error, until enough of them are back: to an "
        "application the server has stopped.",
        evidence={
            "wanted": Quantity(wanted, "count"),
            "connected": Quantity(there, "count"),
            "receivers": Quantity(len(senders), "count"),
            "waiting_commits": Quantity(setting.waiting, "count"),
            "synchronous_standby_names": Quantity(setting.names),
        },
        fix=Fix(
            sql="ALTER SYSTEM SET synchronous_standby_names = '';\nSELECT pg_reload_conf();",
            caution="Better to bring the standby back, or to correct the name it reports "
            "(application_name in its primary_conninfo). With this the waiting commits go through, "
            "and whoever loses this server then loses what no standby has. Under Patroni change "
            "its synchronous_mode instead.",
        ),
    )


def standbys_wanted(names: str) -> int:
    """How many standbys synchronous_standby_names asks for: "2 (a, b, c)" two, "a, b" one."""
    if not names.strip():
        return 0
    match = _COUNT.match(names)
    return int(match.group(1)) if match else 1
