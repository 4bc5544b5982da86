"""Reading the indexes of one database."""

from __future__ import annotations

from filban.index import rules
from filban.index.rows import ForeignKey, Index, IndexSpace
from filban.pg import Query, Session
from filban.pg.check import Hidden, Outcome

_PACKAGE = __package__ or ""
# The statistics of a table are visible to who may read it; pg_monitor is not enough.
READ_ALL = "grant pg_read_all_data"


async def indexes(session: Session, limits: rules.UsageThresholds) -> Outcome:
    """index.invalid, index.duplicate, index.redundant, index.unused."""
    found = await session.rows(Query(_PACKAGE, "indexes"), Index)
    findings = [*rules.invalid(found), *rules.duplicate(found), *rules.redundant(found)]
    if not session.server.in_recovery:
        # a standby counts only its own scans: what it never used the primary may live by
        superfluous = {f.subject for f in findings}
        findings += (f for f in rules.unused(found, limits) if f.subject not in superfluous)
    facts = {"indexes": len(found), "indexes_bytes": sum(i.size_bytes for i in found)}
    return Outcome(tuple(findings), facts)


async def foreign_keys(session: Session, limits: rules.ForeignKeyThresholds) -> Outcome:
    """index.missing_foreign_key"""
    found = await session.rows(Query(_PACKAGE, "foreign_keys"), ForeignKey)
    return Outcome(tuple(rules.missing_foreign_key(found, limits)))


async def bloat(session: Session, limits: rules.IndexBloatThresholds) -> Outcome:
    """bloat.index"""
    if session.server.in_recovery:  # the same bytes as on the primary, which can mend them
        return Outcome()
    smallest = int(limits.index_bloat_info_bytes)
    spaces = await session.rows(Query(_PACKAGE, "bloat"), IndexSpace, smallest)
    unseen = sum(not s.visible for s in spaces)
    what = f"the bloat of {unseen:,} indexes (their columns' statistics)"
    return Outcome(
        findings=tuple(rules.bloat(spaces, limits)),
        hidden=(Hidden(what, READ_ALL),) if unseen else (),
    )
