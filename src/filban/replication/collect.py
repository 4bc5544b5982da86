"""Reading replication as one server sees it."""

from __future__ import annotations

from filban.pg import Query, Session
from filban.pg.check import Hidden, Outcome
from filban.replication import rules
from filban.replication.rows import Sender, Slot, StandbyState

_PACKAGE = __package__ or ""


async def senders(session: Session, limits: rules.LagThresholds) -> Outcome:
    """replication.lag and replication.sync_missing, as the sending server sees it."""
    found = await session.rows(Query(_PACKAGE, "senders"), Sender)
    unseen = sum(not s.visible for s in found)
    wanted = session.server.setting("synchronous_standby_names")
    names = wanted.value if wanted is not None and not session.server.in_recovery else ""
    visible = [s for s in found if s.visible]
    findings = [*rules.lag(visible, limits)]
    if not unseen:
        findings += rules.sync_missing(visible, names)
    return Outcome(
        findings=tuple(findings),
        facts={"standbys": [_fact(s) for s in visible]} if visible else {},
        hidden=(Hidden(f"the state of {unseen:,} replication clients"),) if unseen else (),
    )


def _fact(sender: Sender) -> dict[str, object]:
    return {
        "name": sender.name,
        "state": sender.state,
        "sync_state": sender.sync_state,
        "replay_behind_bytes": sender.replay_behind_bytes,
    }


async def slots(session: Session, limits: rules.SlotThresholds) -> Outcome:
    """slot.inactive and slot.lost."""
    found = await session.rows(Query(_PACKAGE, "slots"), Slot)
    return Outcome((*rules.inactive(found, limits), *rules.lost(found, limits)))


async def standby(session: Session, limits: rules.StandbyThresholds) -> Outcome:
    """replication.replay_paused, replication.receiver_down and replication.lag on a standby."""
    if not session.server.in_recovery:
        return Outcome()
    state = await session.row(Query(_PACKAGE, "standby"), StandbyState)
    configured = session.server.setting("primary_conninfo")
    streams = None if configured is None else bool(configured.value)
    hidden = []
    if streams is None and not state.receivers:
        hidden.append(Hidden("whether this standby is meant to stream (primary_conninfo)"))
    if state.receivers and state.status is None:
        hidden.append(Hidden("the WAL receiver's state"))
    findings = rules.standby(state, streams=bool(streams), limits=limits)
    return Outcome(findings=tuple(findings), hidden=tuple(hidden))
