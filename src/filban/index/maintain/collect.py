"""From a server to a plan of its maintenance. Reads only."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from filban.errors import NotSupported
from filban.index.maintain.plan import KINDS, Kind, Plan, plan
from filban.index.maintain.rows import ColumnGroup, Table
from filban.index.upkeep import bloat, collect
from filban.index.upkeep.invalid import invalid
from filban.index.upkeep.rows import IndexSpace
from filban.index.upkeep.thresholds import IndexBloatThresholds
from filban.pg import Query, Session
from filban.pg.driver_errors import statement_errors
from filban.units import count

_PACKAGE = __package__ or ""
_UPKEEP = "filban.index.upkeep"
# Extended statistics: below so many rows a wrong estimate costs little (as for foreign keys).
GROUP_MINIMUM_ROWS = 10_000
# As many rows as ANALYZE looks at with the default statistics target.
SAMPLE_ROWS = 30_000
# How far independence has to be wrong: an estimate wrong by ten changes plans (filban's own).
DEPENDENT_RATIO = 10.0


async def planned(
    session: Session, kinds: Collection[Kind] = KINDS, limits: IndexBloatThresholds | None = None
) -> Plan:
    """Raises NotSupported on a standby and behind a pooler."""
    fits(session)
    limits = limits or IndexBloatThresholds()
    known = await collect.indexes(session)
    spaces = await session.rows(Query(_UPKEEP, "spaces"), IndexSpace, limits.smallest())
    made = plan(
        invalid(known),
        list(bloat.bloated(spaces, limits)),
        await session.rows(Query(_PACKAGE, "tables"), Table),
        await _dependent(session) if "statistics" in kinds else [],
        {index.quoted: index for index in known},
        kinds,
    )
    unseen = sum(not space.is_visible for space in spaces)
    if not unseen:
        return made
    what = f"the bloat of {count(unseen, 'index', 'indexes')} is not visible: {collect.READ_ALL}"
    return replace(made, left=(*made.left, what))


def fits(opened: Session) -> None:
    """Whether this server can be maintained through this connection. Raises NotSupported."""
    if opened.server.pooled:
        raise NotSupported(
            "maintenance needs a session of its own, and a pooler may change it in the middle",
            hint="connect to the server itself",
        )
    if opened.server.in_recovery:
        raise NotSupported("this is a standby", hint="connect to its primary")


async def _dependent(session: Session) -> list[ColumnGroup]:
    groups = await session.rows(
        Query(_PACKAGE, "column_groups"), ColumnGroup, GROUP_MINIMUM_ROWS, SAMPLE_ROWS
    )
    return [group for group in groups if await _depend(session, group)]


async def _depend(session: Session, group: ColumnGroup) -> bool:
    """By a sample of the table's pages."""
    columns = ", ".join(group.columns_quoted)
    each = ", ".join(f"count(DISTINCT {column})" for column in group.columns_quoted)
    sql = (
        f"SELECT count(*), count(DISTINCT ({columns})), {each} FROM (SELECT {columns} "
        f"FROM {group.table_quoted} TABLESAMPLE SYSTEM ({group.sample_percent}) "
        f"LIMIT {SAMPLE_ROWS}) sampled"
    )
    with statement_errors(f"sampling {group.table_name}"):
        record = await session.connection.fetchrow(sql)
    rows, together, *alone = record or (0, 0)
    return dependent(rows, together, alone)


def dependent(rows: int, together: int, alone: Collection[int]) -> bool:
    """Whether far fewer combinations were seen than independent columns would show in so many
    rows: n draws from p equally frequent values show p * (1 - e^(-n/p)) of them."""
    possible = math.prod(alone)
    if not possible or not together:
        return False
    expected = -possible * math.expm1(-rows / possible)
    return expected >= DEPENDENT_RATIO * together
