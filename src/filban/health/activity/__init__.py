"""What sessions do to each other: connections, open transactions, locks, prepared transactions."""

from filban.health.activity import collect
from filban.health.activity.connections import ConnectionThresholds
from filban.health.activity.locks import LockThresholds
from filban.health.activity.rules import (
    PreparedThresholds,
    TransactionThresholds,
)
from filban.pg.check import Check

CHECKS = (
    Check("connections", ("connections.near_limit",), ConnectionThresholds, collect.connections),
    Check(
        "transactions",
        ("connection.idle_in_transaction", "transaction.long"),
        TransactionThresholds,
        collect.transactions,
    ),
    Check("prepared", ("prepared.orphaned",), PreparedThresholds, collect.prepared),
    Check("locks", ("lock.blocked",), LockThresholds, collect.locks),
)
