"""Replicas: who receives WAL, how far behind, and what holds it back."""

from filban.pg.check import Check
from filban.replication import collect
from filban.replication.lag import LagThresholds
from filban.replication.slots import SlotThresholds

CHECKS: tuple[Check, ...] = (
    Check(
        "replication",
        ("replication.lag", "replication.sync_missing"),
        LagThresholds,
        collect.senders,
    ),
    Check("slots", ("slot.inactive", "slot.lost"), SlotThresholds, collect.slots),
    Check(
        "standby",
        ("replication.lag", "replication.replay_paused", "replication.receiver_down"),
        LagThresholds,
        collect.standby,
    ),
)
