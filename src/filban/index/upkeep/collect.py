"""Reading indexes, foreign keys and their statistics from one server.

A standby has its primary's catalogue but its own counters: what rests on the catalogue is reported
there too (the fix runs on the primary), what rests on counters or progress is the primary's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from filban.finding import Finding, Fix
from filban.index.upkeep import bloat as _bloat
from filban.index.upkeep import foreign_keys as _foreign_keys
from filban.index.upkeep import invalid as _invalid
from filban.index.upkeep import redundancy as _redundancy
from filban.index.upkeep import unused as _unused
from filban.index.upkeep.partitions import whole
from filban.index.upkeep.redundancy import Superfluous
from filban.index.upkeep.rows import ForeignKey, Index, IndexSpace, Observation, Statement
from filban.index.upkeep.thresholds import (
    ForeignKeyThresholds,
    IndexBloatThresholds,
    UsageThresholds,
)
from filban.pg import Query, Session
from filban.pg.check import Hidden, Outcome
from filban.units import count

_PACKAGE = __package__ or ""
# The statistics of a column are visible to who may read it; pg_monitor is not enough.
READ_ALL = "grant pg_read_all_data"


@dataclasses.dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the cluster's other servers have counted. scans: oid -> how often; windows: for how many
    seconds each of them has counted, None where it does not say."""

    scans: Mapping[int, int] = dataclasses.field(default_factory=dict)
    windows: tuple[float | None, ...] = ()


NOWHERE = Elsewhere()


async def indexes(session: Session) -> list[Index]:
    """Every index of the database that is a user's; a partitioned one with its parts' numbers."""
    return whole(await session.rows(Query(_PACKAGE, "indexes"), Index))


async def foreign_keys(session: Session) -> list[ForeignKey]:
    """Every foreign key, inherited ones too."""
    return await session.rows(Query(_PACKAGE, "foreign_keys"), ForeignKey)


async def observation(session: Session) -> Observation:
    """Since when this server has counted scans."""
    return await session.row(Query(_PACKAGE, "observation"), Observation)


async def usage(
    session: Session, limits: UsageThresholds, elsewhere: Elsewhere = NOWHERE
) -> Outcome:
    """index.invalid, index.duplicate, index.redundant and index.unused."""
    known = await _with_scans(session, elsewhere)
    unread = sum(not i.is_readable for i in known)
    what = f"expressions of {count(unread, 'index', 'indexes')}: the tables are locked exclusively"
    superfluous = _redundancy.superfluous(known)
    parts = [await _superfluous(session, superfluous, limits)]
    if not session.server.in_recovery:
        gone = {s.index.oid for s in superfluous}
        parts += [
            await _invalid_ones(session, known),
            await _unused_ones(session, [i for i in known if i.oid not in gone], limits, elsewhere),
        ]
    return Outcome(
        findings=tuple(f for part in parts for f in part.findings),
        facts={
            "indexes": len(known),
            "indexes_size_bytes": sum(i.size_bytes for i in known if not i.is_partitioned),
        }
        | {k: v for part in parts for k, v in part.facts.items()},
        hidden=(Hidden(what, "look again later; lock.blocked names the holder"),) if unread else (),
    )


async def _with_scans(session: Session, elsewhere: Elsewhere) -> list[Index]:
    """Every index; its scans are those of all servers."""
    here = await session.rows(Query(_PACKAGE, "indexes"), Index)
    there = elsewhere.scans
    return whole([dataclasses.replace(i, scans=i.scans + there.get(i.oid, 0)) for i in here])


async def _superfluous(
    session: Session, found: list[Superfluous], limits: UsageThresholds
) -> Outcome:
    definitions = await _definitions(session, [s.index.oid for s in found])
    return Outcome(_where_they_run(session, _redundancy.findings(found, definitions, limits)))


async def _invalid_ones(session: Session, known: Sequence[Index]) -> Outcome:
    """A standby does not see what is being built: its primary reports these."""
    found = _invalid.invalid(known)
    completions = await _builds(session, indexes=[i.oid for i in found if i.is_partitioned])
    return Outcome(tuple(_invalid.findings(found, completions)))


async def _unused_ones(
    session: Session, staying: Sequence[Index], limits: UsageThresholds, elsewhere: Elsewhere
) -> Outcome:
    """While any server's counters are younger than the window: a fact, no verdict."""
    seen = await observation(session)
    facts = {"index_scans_counted_since": seen.since}
    windows = [w for w in (seen.window_seconds, *elsewhere.windows) if w is not None]
    if len(windows) <= len(elsewhere.windows) or min(windows) < limits.unused_window_seconds:
        return Outcome(facts=facts)
    found = _unused.unused(staying, await foreign_keys(session), limits)
    definitions = await _definitions(session, [index.oid for index in found])
    others = len(elsewhere.windows)
    return Outcome(tuple(_unused.findings(found, min(windows), definitions, others)), facts)


async def missing_foreign_keys(session: Session, limits: ForeignKeyThresholds) -> Outcome:
    """index.missing_foreign_key"""
    found = _foreign_keys.unsupported(await foreign_keys(session), await indexes(session))
    builds = await _builds(session, foreign_keys=[u.first.oid for u in found])
    return Outcome(_where_they_run(session, _foreign_keys.findings(found, builds, limits)))


async def completions(session: Session, indexes: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """Per invalid partitioned index the statements that build and attach what it lacks."""
    return await _builds(session, indexes=indexes)


async def bloat(session: Session, limits: IndexBloatThresholds) -> Outcome:
    """bloat.index"""
    if session.server.in_recovery:
        return Outcome()
    spaces = await session.rows(Query(_PACKAGE, "spaces"), IndexSpace, limits.smallest())
    unseen = sum(not s.is_visible for s in spaces)
    what = f"the bloat of {count(unseen, 'index', 'indexes')} (their columns' statistics)"
    return Outcome(
        findings=tuple(_bloat.findings(spaces, limits)),
        hidden=(Hidden(what, READ_ALL),) if unseen else (),
    )


async def _definitions(session: Session, oids: list[int]) -> dict[int, str]:
    """pg_get_indexdef is dear: for those reported only."""
    if not oids:
        return {}
    rows = await session.rows(Query(_PACKAGE, "definitions"), Statement, oids)
    return {row.oid: row.statement for row in rows}


async def _builds(
    session: Session, *, foreign_keys: Iterable[int] = (), indexes: Iterable[int] = ()
) -> dict[int, tuple[str, ...]]:
    keys, parents = list(foreign_keys), list(indexes)
    if not keys and not parents:
        return {}
    statements: dict[int, list[str]] = {}
    for row in await session.rows(Query(_PACKAGE, "builds"), Statement, keys, parents):
        statements.setdefault(row.oid, []).append(row.statement)
    return {oid: tuple(texts) for oid, texts in statements.items()}


def _where_they_run(session: Session, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    if not session.server.in_recovery:
        return tuple(findings)
    return tuple(dataclasses.replace(f, fix=_on_the_primary(f.fix)) for f in findings)


def _on_the_primary(fix: Fix | None) -> Fix | None:
    if fix is None:
        return None
    return dataclasses.replace(fix, caution=f"Run it on the primary. {fix.caution}")
