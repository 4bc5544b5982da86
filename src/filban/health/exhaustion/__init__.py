"""Counters that run out: transaction ids, multixacts, sequences, integer keys."""

from filban.health.exhaustion import collect
from filban.health.exhaustion.rules import ExhaustionThresholds
from filban.health.exhaustion.wraparound import WraparoundThresholds
from filban.pg.check import Check

CHECKS = (
    Check(
        "wraparound",
        ("wraparound.xid", "wraparound.multixact"),
        WraparoundThresholds,
        collect.ages,
    ),
    Check(
        "counters",
        ("sequence.exhaustion", "key.exhaustion"),
        ExhaustionThresholds,
        collect.counters,
    ),
)
