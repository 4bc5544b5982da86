"""Reading the archiver's state."""

from __future__ import annotations

from filban.backup import rules
from filban.backup.rows import Archiver
from filban.pg import Query, Session
from filban.pg.check import Hidden, Outcome

_PACKAGE = __package__ or ""


async def archiver(session: Session, limits: rules.ArchiveThresholds) -> Outcome:
    """archive.failing and archive.not_configured."""
    server = session.server
    row = await session.row(Query(_PACKAGE, "archiver"), Archiver)
    if row.mode == "off" or (server.in_recovery and row.mode != "always"):
        return Outcome(facts={"wal_archiving": False})
    command, library = server.setting("archive_command"), server.setting("archive_library")
    hidden = command is None
    # archive_command reads "(disabled)" where archive_mode is off; archive_library is new in 15
    texts = [s.value for s in (command, library) if s is not None]
    configured = hidden or any(text not in {"", "(disabled)"} for text in texts)
    return Outcome(
        findings=tuple(rules.archiver(row, configured=configured, limits=limits)),
        facts={"wal_archiving": True, "wal_segments_archived": row.archived},
        hidden=(Hidden("archive_command", "grant pg_read_all_settings"),) if hidden else (),
    )
