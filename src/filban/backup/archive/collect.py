"""Reading the archiver's state."""

from __future__ import annotations

from filban.backup.archive import rules
from filban.backup.archive.rows import Archiver, Waiting
from filban.errors import NotSupported, RightsMissing
from filban.pg import Query, Session
from filban.pg.check import Hidden, Outcome

_PACKAGE = __package__ or ""


async def archive(session: Session, limits: rules.ArchiveThresholds) -> Outcome:
    """archive.not_configured, archive.failing and archive.lag"""
    archiver = await session.row(Query(_PACKAGE, "archiver"), Archiver)
    facts = {"archive_mode": archiver.mode}
    if not rules.active(archiver, in_recovery=session.server.in_recovery):
        return Outcome(facts=facts)
    if not archiver.is_configured:
        return Outcome(tuple(rules.not_configured(archiver)), facts)
    waiting = await _waiting(session)
    hidden = (Hidden("how many WAL files wait to be archived"),) if waiting is None else ()
    findings = tuple(rules.failing(archiver, waiting, limits))
    if waiting is not None and not findings:
        findings = tuple(rules.lag(waiting, limits))
    return Outcome(findings, facts, hidden)


async def _waiting(session: Session) -> Waiting | None:
    """None where this role may not list the directory, or the service offers it to nobody."""
    try:
        return await session.row(Query(_PACKAGE, "waiting"), Waiting)
    except (RightsMissing, NotSupported):
        return None
