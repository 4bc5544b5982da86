"""Reading how the server is installed; most of it was probed already."""

from __future__ import annotations

from filban.health.installation import rules
from filban.health.installation.rows import ExtensionUpdate
from filban.pg import Query, Session
from filban.pg.check import Outcome

_PACKAGE = __package__ or ""


async def installation(session: Session, limits: rules.InstallationThresholds) -> Outcome:
    """extension.update and checksums.off. A standby's extensions are its primary's."""
    del limits
    checksums = tuple(rules.checksums_off(session.server))
    if session.server.in_recovery:
        return Outcome(checksums)
    return Outcome((*rules.outdated(await _updates(session)), *checksums))


async def _updates(session: Session) -> list[ExtensionUpdate]:
    versions = {
        e.name: e.default_version
        for e in session.server.extensions.values()
        if e.installed_version and e.default_version not in (None, e.installed_version)
    }
    if not versions:
        return []
    return await session.rows(
        Query(_PACKAGE, "extension_updates"),
        ExtensionUpdate,
        list(versions),
        list(versions.values()),
    )
