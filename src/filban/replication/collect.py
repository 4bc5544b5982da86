"""Reading the state of replication from either end."""

from __future__ import annotations

from filban.pg import Query, Session
from filban.pg.check import Hidden, Outcome
from filban.replication import lag as _lag
from filban.replication import slots as _slots
from filban.replication.rows import Sender, Slot, Standby, Synchronous

_PACKAGE = __package__ or ""
_UNSEEN = "how far {} receivers of WAL are behind, and whether commits wait for one"


async def senders(session: Session, limits: _lag.LagThresholds) -> Outcome:
    """replication.lag and replication.sync_missing, as the sending server sees them."""
    found = await session.rows(Query(_PACKAGE, "senders"), Sender)
    visible = [s for s in found if s.is_visible]
    unseen = len(found) - len(visible)
    findings = [*_lag.behind(visible, limits)]
    hidden = (Hidden(_UNSEEN.format(unseen)),) if unseen else ()
    if not unseen and not session.server.in_recovery:  # a standby makes nobody wait
        setting = await session.row(Query(_PACKAGE, "synchronous"), Synchronous)
        findings += _lag.sync_missing(setting, visible)
    return Outcome(tuple(findings), {"standbys": [_fact(s) for s in visible]}, hidden)


def _fact(sender: Sender) -> dict[str, object]:
    return {
        "name": sender.name,
        "state": sender.state,
        "sync_state": sender.sync_state,
        "behind_bytes": sender.behind_bytes,
    }


async def standby(session: Session, limits: _lag.LagThresholds) -> Outcome:
    """replication.lag, replication.replay_paused and replication.receiver_down on a standby."""
    if not session.server.in_recovery:
        return Outcome()
    state = await session.row(Query(_PACKAGE, "standby"), Standby)
    findings = (*_lag.silent(state, limits), *_lag.paused(state), *_lag.receiver_down(state))
    return Outcome(findings, hidden=tuple(_hidden_on_standby(state)))


def _hidden_on_standby(standby: Standby) -> list[Hidden]:
    hidden = []
    if standby.receiver is None and standby.has_upstream is None:
        what = "whether this standby should receive WAL (primary_conninfo); it does not"
        hidden.append(Hidden(what, "grant pg_read_all_settings"))
    if standby.receiver is not None and standby.receiver_status is None:
        hidden.append(Hidden("when the primary was last heard from"))
    return hidden


async def slots(session: Session, limits: _slots.SlotThresholds) -> Outcome:
    """slot.inactive and slot.lost"""
    found = await session.rows(Query(_PACKAGE, "slots"), Slot)
    keep = session.server.setting("max_slot_wal_keep_size")
    keep_bytes = keep.bytes() if keep is not None and keep.number() > 0 else None
    findings = (*_slots.inactive(found, limits), *_slots.lost(found, keep_bytes, limits))
    return Outcome(findings, {"replication_slots": len(found)})
