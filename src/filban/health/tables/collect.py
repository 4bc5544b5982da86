"""Reading table counters, statistics and the cache of one database.

A standby keeps no such counters and cannot vacuum: its primary reports the tables.
"""

from __future__ import annotations

from filban.health.tables import rules
from filban.health.tables.rows import CacheUse, TableActivity, TableSpace
from filban.pg import Query, Session
from filban.pg.check import Hidden, Outcome
from filban.units import count

_PACKAGE = __package__ or ""
# The statistics of a table are visible to who may read it; pg_monitor is not enough.
READ_ALL = "grant pg_read_all_data"


async def vacuum(session: Session, limits: rules.VacuumThresholds) -> Outcome:
    """vacuum.stale_statistics and vacuum.dead_tuples."""
    if session.server.in_recovery:
        return Outcome()
    smallest = int(min(limits.stale_minimum_rows, limits.dead_minimum_rows))
    tables = await session.rows(Query(_PACKAGE, "tables"), TableActivity, smallest)
    unknown = sum(t.analysed is None and not t.system for t in tables)
    what = f"whether the planner knows {count(unknown, 'table')}"
    return Outcome(
        findings=(
            *rules.stale_statistics(tables, session.server.database, limits),
            *rules.dead_tuples(tables, limits),
        ),
        hidden=(Hidden(what, READ_ALL),) if unknown else (),
    )


async def bloat(session: Session, limits: rules.BloatThresholds) -> Outcome:
    """bloat.table"""
    if session.server.in_recovery:
        return Outcome()
    spaces = await session.rows(Query(_PACKAGE, "bloat"), TableSpace, limits.smallest())
    unseen = sum(not s.visible for s in spaces)
    what = f"the bloat of {count(unseen, 'table')}"
    return Outcome(
        findings=tuple(rules.bloat(spaces, limits)),
        hidden=(Hidden(what, READ_ALL),) if unseen else (),
    )


async def cache(session: Session, limits: rules.CacheThresholds) -> Outcome:
    """cache.hit_ratio"""
    buffers = session.server.setting("shared_buffers")
    if buffers is None:
        return Outcome(hidden=(Hidden("shared_buffers", "grant pg_read_all_settings"),))
    use = await session.row(Query(_PACKAGE, "cache"), CacheUse)
    total = use.hit + use.read
    facts = {"cache_hit_percent": round(100.0 * use.hit / total, 1)} if total else {}
    return Outcome(tuple(rules.cache_hit(use, buffers.bytes(), limits)), facts)
