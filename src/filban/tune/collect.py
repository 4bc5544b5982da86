"""Reading settings and checkpoint counters of one server."""

from __future__ import annotations

from filban.pg import Query, Session
from filban.pg.check import Hidden, Outcome
from filban.tune import settings
from filban.tune.checkpoints import CheckpointSettings, CheckpointThresholds, too_frequent
from filban.tune.rows import Checkpoints, SettingScope, TableWithoutAutovacuum
from filban.tune.settings import SettingThresholds

_PACKAGE = __package__ or ""
_NEEDED = ("max_wal_size", "checkpoint_timeout", "checkpoint_completion_target")


async def risky_settings(session: Session, limits: SettingThresholds) -> Outcome:
    """setting.*"""
    scope = await session.row(Query(_PACKAGE, "quote_setting_scope"), SettingScope)
    tables = await session.rows(
        Query(_PACKAGE, "tables_without_autovacuum"),
        TableWithoutAutovacuum,
        int(limits.table_autovacuum_off_minimum_bytes),
    )
    found = (*settings.risky(session.server, scope), *settings.pending_restart(session.server))
    if session.server.in_recovery:  # a table's parameters are its primary's
        return Outcome(found)
    return Outcome((*found, *settings.tables_without_autovacuum(tables)))


async def checkpoints(session: Session, limits: CheckpointThresholds) -> Outcome:
    """checkpoint.too_frequent. A standby makes restartpoints, by its primary's checkpoints."""
    if session.server.in_recovery:
        return Outcome()
    known = [session.server.setting(name) for name in _NEEDED]
    if any(setting is None for setting in known):
        return Outcome(hidden=(Hidden("checkpoint settings", "GRANT pg_read_all_settings TO …"),))
    size, timeout, target = (setting for setting in known if setting is not None)
    seen = await session.row(Query(_PACKAGE, "checkpoints"), Checkpoints)
    values = CheckpointSettings(size.bytes(), timeout.seconds(), target.number())
    return Outcome(
        findings=tuple(too_frequent(seen, values, limits, managed_by=session.server.managed_by)),
        facts={"checkpoints_timed": seen.timed, "checkpoints_requested": seen.requested},
    )
