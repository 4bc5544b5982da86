"""Open and prepared transactions -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.health.activity.rows import (
    HorizonHolder,
    PreparedTransaction,
    Transaction,
)
from filban.pg.locks import who
from filban.units import duration

# Programs that are meant to hold a snapshot for long; pganalyze leaves them out as well.
MAINTENANCE_PROGRAMS = frozenset(
    {"pg_dump", "pg_dumpall", "pg_restore", "pg_amcheck", "pg_repack", "reindexdb", "vacuumdb"}
)


@dataclass(frozen=True, slots=True)
class TransactionThresholds:
    """Sources: idle in transaction, warning: pgEdge's alert rules, critical: pganalyze; active
    transactions: pganalyze. Info tells what a person looks for while something stands still: a
    service's transaction leaves its client no 5 s to think (filban's own), and PgHero lists what
    runs for 60 s. Horizon: a twentieth of autovacuum_freeze_max_age (200 million by default), and
    all of it, from where on anti-wraparound vacuums run in vain."""

    idle_in_transaction_info_seconds: float = 5.0
    idle_in_transaction_seconds: float = 300.0
    idle_in_transaction_critical_seconds: float = 3600.0
    long_transaction_info_seconds: float = 60.0
    long_transaction_seconds: float = 1800.0
    long_transaction_critical_seconds: float = 3600.0
    horizon_warning_xids: float = 10_000_000
    horizon_critical_xids: float = 200_000_000

    def idle(self, seconds: float) -> Severity | None:
        """How bad it is to be idle in a transaction for so long."""
        return tier(
            seconds,
            self.idle_in_transaction_info_seconds,
            self.idle_in_transaction_seconds,
            self.idle_in_transaction_critical_seconds,
        )

    def at_work(self, seconds: float) -> Severity | None:
        """How bad it is that a transaction at work is open for so long."""
        return tier(
            seconds,
            self.long_transaction_info_seconds,
            self.long_transaction_seconds,
            self.long_transaction_critical_seconds,
        )

    def shortest_at_work(self) -> float:
        """Transactions that are open for less than so many seconds are no finding."""
        return min(
            self.long_transaction_info_seconds,
            self.long_transaction_seconds,
            self.long_transaction_critical_seconds,
        )


def tier(value: float, info: float, warning: float, critical: float) -> Severity | None:
    """The worst severity whose threshold is reached, in whatever order they were set."""
    if value >= critical:
        return Severity.critical
    if value >= warning:
        return Severity.warning
    return Severity.info if value >= info else None


@dataclass(frozen=True, slots=True)
class PreparedThresholds:
    """Sources: a coordinator of two-phase commit resolves within seconds, check_postgres
    `prepared_txns` warns after one; five minutes allow it a restart. Critical after a day."""

    prepared_transaction_seconds: float = 300.0
    prepared_transaction_critical_seconds: float = 86_400.0


def idle_in_transaction(
    transactions: Iterable[Transaction], limits: TransactionThresholds
) -> Iterator[Finding]:
    """connection.idle_in_transaction, one a session."""
    for tx in transactions:
        if not (tx.state or "").startswith("idle in transaction") or tx.state_seconds is None:
            continue
        severity = limits.idle(tx.state_seconds)
        if severity is None:
            continue
        yield Finding(
            code="connection.idle_in_transaction",
            severity=severity,
            subject=f"pid {tx.pid}",
            title=f"Idle in its transaction for {duration(tx.state_seconds)}",
            why=f"{_who(tx)} has left a transaction open: it keeps its locks, and vacuum must keep "
            f"every row that died since. Its last statement: {_one_line(tx.query)}",
            evidence={"idle": Quantity(round(tx.state_seconds, 1), "seconds"), **_evidence(tx)},
            fix=_end(tx, "idle_in_transaction_session_timeout ends such sessions by itself."),
        )


def long_transaction(
    transactions: Iterable[Transaction], limits: TransactionThresholds
) -> Iterator[Finding]:
    """transaction.long for sessions at work; those that idle have a code of their own."""
    for tx in transactions:
        if (tx.state or "").startswith("idle in transaction"):
            continue
        severity = limits.at_work(tx.transaction_seconds)
        if severity is None:
            continue
        yield Finding(
            code="transaction.long",
            severity=Severity.info if tx.application in MAINTENANCE_PROGRAMS else severity,
            subject=f"pid {tx.pid}",
            title=f"A transaction has been open for {duration(tx.transaction_seconds)}",
            why=f"{_who(tx)} keeps its locks, and vacuum must keep every row that died since it "
            f"began. It runs: {_one_line(tx.query)}",
            evidence=_evidence(tx),
            fix=_end(tx, "Its work since BEGIN is lost. A backup or a migration may be meant."),
        )


def held_horizon(
    holders: Iterable[HorizonHolder], limits: TransactionThresholds
) -> Iterator[Finding]:
    """transaction.long for slots and walsenders that keep an old snapshot alive."""
    for holder in holders:
        if holder.xmin_age < limits.horizon_warning_xids:
            continue
        critical = holder.xmin_age >= limits.horizon_critical_xids
        kept = "rows of the system catalogs" if holder.catalog_only else "every row"
        yield Finding(
            code="transaction.long",
            severity=Severity.critical if critical else Severity.warning,
            subject=f"{holder.kind} {holder.name}",
            title=f"A {'replication slot' if holder.kind == 'slot' else 'standby'} holds vacuum "
            f"back by {holder.xmin_age:,} transactions",
            why=f"Vacuum must keep {kept} that died in the last {holder.xmin_age:,} transactions, "
            "as an old transaction of its client or standby might still read them.",
            evidence={
                "xmin_age": Quantity(holder.xmin_age, "xids"),
                "active": Quantity(holder.active),
            },
            fix=_release(holder),
        )


def _release(holder: HorizonHolder) -> Fix:
    if holder.kind == "slot":
        return Fix(
            sql=holder.release_sql,
            reversible=False,
            caution="Its standby or subscriber has to be built anew if it comes back"
            + (
                "; stop that client first, an active slot cannot be dropped."
                if holder.active
                else "."
            ),
        )
    return Fix(
        sql=holder.release_sql,
        caution="The standby reconnects at once: end the long query there, or set "
        "hot_standby_feedback = off on it.",
    )


def orphaned(
    prepared: Iterable[PreparedTransaction], limits: PreparedThresholds
) -> Iterator[Finding]:
    """prepared.orphaned, one a prepared transaction."""
    for p in prepared:
        if p.age_seconds < limits.prepared_transaction_seconds:
            continue
        critical = p.age_seconds >= limits.prepared_transaction_critical_seconds
        yield Finding(
            code="prepared.orphaned",
            severity=Severity.critical if critical else Severity.warning,
            subject=p.gid,
            title=f"A prepared transaction has been waiting for {duration(p.age_seconds)}",
            why="It belongs to no session: it keeps its locks and holds vacuum back, across "
            "restarts, until somebody commits it or rolls it back.",
            evidence={
                "age": Quantity(round(p.age_seconds, 1), "seconds"),
                "xmin_age": Quantity(p.xmin_age, "xids"),
                "locks": Quantity(p.locks, "count"),
                "database": Quantity(p.database),
                "owner": Quantity(p.owner),
            },
            fix=rollback_prepared(p),
        )


def rollback_prepared(p: PreparedTransaction) -> Fix:
    where = "" if p.here else f'Run it in the database "{p.database}". '
    return Fix(
        sql=p.rollback_sql,
        reversible=False,
        caution=where + "Ask its coordinator first: if the other side has committed, "
        "this one has to be COMMIT PREPARED.",
    )


def _who(tx: Transaction) -> str:
    return who(tx.application, tx.role, tx.database, tx.client)


def _one_line(query: str) -> str:
    return " ".join(query.split()) or "(not known)"


def _evidence(tx: Transaction) -> dict[str, Quantity]:
    known = {"open": Quantity(round(tx.transaction_seconds, 1), "seconds")}
    if tx.xmin_age is not None:
        known["xmin_age"] = Quantity(tx.xmin_age, "xids")
    return known | {"role": Quantity(tx.role or ""), "application": Quantity(tx.application)}


def _end(tx: Transaction, caution: str) -> Fix:
    return Fix(sql=tx.end_sql, reversible=False, caution=caution)
