"""Replicas: so far what `filban check` says of senders, slots and standbys."""

from filban.pg.check import Check
from filban.replication import collect
from filban.replication.rules import LagThresholds, SlotThresholds, StandbyThresholds

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
        ("replication.replay_paused", "replication.receiver_down", "replication.lag"),
        StandbyThresholds,
        collect.standby,
    ),
)
