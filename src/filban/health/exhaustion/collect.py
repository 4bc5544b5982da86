"""Reading the ages, sequences and keys of one server."""

from __future__ import annotations

from filban.health.exhaustion import rules
from filban.health.exhaustion.rows import DatabaseAge, IntegerKey, SequenceUse, UnfrozenTable
from filban.health.exhaustion.wraparound import WraparoundThresholds, wraparound
from filban.pg import Query, Session
from filban.pg.check import Hidden, Outcome
from filban.units import count

_PACKAGE = __package__ or ""
# pg_read_all_data reads sequences and, through the tables, their statistics; pg_monitor does not.
READ_ALL = "grant pg_read_all_data"


async def ages(session: Session, limits: WraparoundThresholds) -> Outcome:
    """wraparound.xid and wraparound.multixact."""
    databases = await session.rows(Query(_PACKAGE, "databases"), DatabaseAge)
    freeze = _freeze_max_age(session, "autovacuum_freeze_max_age")
    freeze_multi = _freeze_max_age(session, "autovacuum_multixact_freeze_max_age")
    at, at_multi = limits.warning_age(freeze), limits.warning_age(freeze_multi)
    tables: list[UnfrozenTable] = []
    if any(d.here and (d.xid_age >= at or d.multixact_age >= at_multi) for d in databases):
        tables = await session.rows(
            Query(_PACKAGE, "unfrozen_tables"),
            UnfrozenTable,
            min(freeze, at),
            min(freeze_multi, at_multi),
        )
    standby, target = session.server.in_recovery, session.target
    return Outcome(
        findings=(
            *wraparound("xid", databases, tables, freeze, limits, target, standby=standby),
            *wraparound(
                "multixact", databases, tables, freeze_multi, limits, target, standby=standby
            ),
        ),
        facts={"oldest_xid_age": max(d.xid_age for d in databases)},
    )


def _freeze_max_age(session: Session, name: str) -> int:
    setting = session.server.setting(name)
    # Every role may see it; 200 million is what PostgreSQL is built with.
    return int(setting.value) if setting is not None else 200_000_000


async def counters(session: Session, limits: rules.ExhaustionThresholds) -> Outcome:
    """sequence.exhaustion and key.exhaustion. A standby's are its primary's."""
    if session.server.in_recovery:
        return Outcome()
    uses = await session.rows(Query(_PACKAGE, "sequences"), SequenceUse)
    keys = await session.rows(Query(_PACKAGE, "integer_keys"), IntegerKey)
    sequences = tuple(rules.exhausted_sequences(uses, limits))
    subjects = {f.subject for f in sequences}
    covered = {u.column_name: u for u in uses if u.column_name and u.name in subjects}
    return Outcome(
        findings=(*sequences, *rules.exhausted_keys(keys, covered, limits)),
        hidden=tuple(_hidden(uses, keys)),
    )


def _hidden(uses: list[SequenceUse], keys: list[IntegerKey]) -> list[Hidden]:
    hidden = []
    unread = {u.name for u in uses if not u.readable}
    if unread:
        hidden.append(Hidden(f"the position of {count(len(unread), 'sequence')}", READ_ALL))
    unseen = {k.name for k in keys if not k.visible}
    if unseen:
        hidden.append(Hidden(f"the highest value of {count(len(unseen), 'integer key')}", READ_ALL))
    return hidden
