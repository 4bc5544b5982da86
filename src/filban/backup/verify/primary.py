"""A repository against the live server that it should be of."""

from __future__ import annotations

from dataclasses import replace

from filban.backup.verify.check import Verified
from filban.backup.verify.faults import Fault
from filban.pg import Target, session
from filban.pg.driver_errors import statement_errors
from filban.pg.lsn import parse_lsn

_WHERE = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() "
    "ELSE pg_current_wal_flush_lsn() END::text"
)


async def compare(live: Target, found: Verified) -> tuple[Verified, int | None]:
    """The verification with what the server adds to it, and how many bytes of WAL the server has
    that no window reaches; None where that cannot be said."""
    async with session(live) as opened:
        with statement_errors("asking how far the server's WAL goes"):
            text = await opened.connection.fetchval(_WHERE)
        whose, timeline = opened.server.system_identifier, opened.server.timeline
    others = [b for b in found.backups if whose is not None and b.system_identifier != whose]
    faults = tuple(
        Fault(
            "backup.foreign",
            b.label,
            f"it is of the cluster {b.system_identifier}, the server is {whose}",
        )
        for b in others
    )
    ends = [w.end for w in found.windows if timeline in (None, w.timeline)]
    behind = None if others or not ends or text is None else parse_lsn(text) - max(ends)
    return replace(found, faults=(*found.faults, *faults)), None if behind is None else max(
        behind, 0
    )
