"""Transaction and multixact ids that run out -> findings. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from filban.finding import Finding, Fix, Quantity, Severity
from filban.health.exhaustion.rows import DatabaseAge, UnfrozenTable
from filban.pg import Target

# Half of the 32-bit circle: what is older than this would lie in the future.
WRAP_LIMIT = 2**31
# The server refuses new transactions this far before (xidStopLimit in varsup.c, 14 on).
STOP_MARGIN = 3_000_000
# So many VACUUM statements are still read before they are pasted; beyond, the whole database.
TABLES_SHOWN = 20

Kind = Literal["xid", "multixact"]
_WORDS = {"xid": "transaction", "multixact": "multixact"}


@dataclass(frozen=True, slots=True)
class WraparoundThresholds:
    """Percent of 2^31. Sources: Amazon RDS and postgres_exporter advise an alarm at one billion
    (47 %); critical is where the server itself gives up caution (vacuum_failsafe_age, 1.6 billion,
    75 %). The ratio is to autovacuum_freeze_max_age: there autovacuum is forced to start, and when
    the age has doubled it has not come through."""

    wraparound_warning_percent: float = 47.0
    wraparound_critical_percent: float = 75.0
    wraparound_autovacuum_ratio: float = 2.0

    def warning_age(self, freeze_max_age: int) -> int:
        """The age from which on it is a finding."""
        share = WRAP_LIMIT * self.wraparound_warning_percent / 100
        return int(min(share, freeze_max_age * self.wraparound_autovacuum_ratio))


def wraparound(
    kind: Kind,
    databases: Iterable[DatabaseAge],
    tables: Sequence[UnfrozenTable],
    freeze_max_age: int,
    limits: WraparoundThresholds,
    target: Target,
    *,
    standby: bool,
) -> Iterator[Finding]:
    """wraparound.xid or wraparound.multixact, one a database. tables: of the connected one;
    target: the server as it was reached, for commands about its other databases."""
    for database in databases:
        age = age_of(kind, database)
        if age < limits.warning_age(freeze_max_age):
            continue
        percent = 100.0 * age / WRAP_LIMIT
        critical = percent >= limits.wraparound_critical_percent
        old = _old(kind, tables, min(freeze_max_age, limits.warning_age(freeze_max_age)))
        left = max(0, WRAP_LIMIT - STOP_MARGIN - age)
        yield Finding(
            code=f"wraparound.{kind}",
            severity=Severity.critical if critical else Severity.warning,
            subject=database.name,
            title=f"The oldest {_WORDS[kind]} id is {age:,} old, {percent:.0f} % of the way to "
            "wraparound",
            why=f"After {left:,} more the server refuses every write until it is vacuumed. "
            f"Autovacuum should have frozen it at {freeze_max_age:,}: a long transaction, a "
            "replication slot or a prepared transaction may hold it back, or it is too slow.",
            evidence={
                "age": Quantity(age, "xids"),
                "wraparound_percent": Quantity(round(percent, 1), "percent"),
                "left": Quantity(left, "xids"),
                "freeze_max_age": Quantity(freeze_max_age, "xids"),
                **_worst(kind, database, old),
            },
            fix=_freeze(database, old, target, standby=standby),
        )


def age_of(kind: Kind, aged: DatabaseAge | UnfrozenTable) -> int:
    return aged.xid_age if kind == "xid" else aged.multixact_age


def _old(kind: Kind, tables: Iterable[UnfrozenTable], age: int) -> list[UnfrozenTable]:
    old = [t for t in tables if age_of(kind, t) >= age]
    return sorted(old, key=lambda t: (-age_of(kind, t), t.name))


def _worst(kind: Kind, database: DatabaseAge, old: Sequence[UnfrozenTable]) -> dict[str, Quantity]:
    if not database.here or not old:
        return {}
    return {
        "tables": Quantity(len(old), "count"),
        "oldest_table": Quantity(old[0].name),
        "oldest_table_age": Quantity(age_of(kind, old[0]), "xids"),
    }


def _freeze(
    database: DatabaseAge, old: Sequence[UnfrozenTable], target: Target, *, standby: bool
) -> Fix:
    caution = "Run it on the primary. " if standby else ""
    caution += (
        "It reads each table whole. End long transactions and drop dead slots first "
        "(transaction.long, prepared.orphaned): it cannot freeze beyond them."
    )
    lock = "SHARE UPDATE EXCLUSIVE"
    if not database.here:
        return Fix(command=_freeze_command(database, target), lock=lock, caution=caution)
    few = 0 < len(old) <= TABLES_SHOWN
    sql = "\n".join(f"VACUUM (FREEZE) {t.quoted};" for t in old) if few else "VACUUM (FREEZE);"
    return Fix(sql=sql, lock=lock, caution=caution)


def _freeze_command(database: DatabaseAge, target: Target) -> str:
    there = target.in_database(database.name).uri()
    vacuum = shlex.join(["vacuumdb", "--freeze", f"--dbname={there}"])
    if database.connectable:
        return vacuum
    allow = f"ALTER DATABASE {database.quoted} ALLOW_CONNECTIONS "
    return " && ".join(
        (
            shlex.join(["psql", "-c", allow + "true", target.uri()]),
            vacuum,
            shlex.join(["psql", "-c", allow + "false", target.uri()]),
        )
    )
