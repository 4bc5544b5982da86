"""The indexes of a database as every server of its cluster uses them.

Counters of scans are each server's own: an index that the primary never reads may be all that a
replica's reports live on. So scans are summed over all servers that are given, and the window in
which an index was not read is the shortest of theirs.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from filban.errors import UsageError
from filban.finding import Finding, Report, in_order
from filban.index.upkeep import collect
from filban.index.upkeep.thresholds import (
    ForeignKeyThresholds,
    IndexBloatThresholds,
    UsageThresholds,
)
from filban.index.usage.rows import Counted, Standbys, Survey, Use, Used
from filban.pg import Query, Session

_PACKAGE = __package__ or ""
_NEVER = (0, None, 0, 0, 0, 0)


async def survey(sessions: Sequence[Session], usage: UsageThresholds | None = None) -> Survey:
    """Look at one database through sessions on its servers, one of them the primary's if there is
    one among them.

    Raises UsageError when they are not servers of one cluster, or the same one twice.
    """
    _one_cluster(sessions)
    lead = next((s for s in sessions if not s.server.in_recovery), sessions[0])
    ordered = [lead, *(s for s in sessions if s is not lead)]
    counted = [await _counted(session) for session in ordered]
    elsewhere = collect.Elsewhere(
        scans=_sums(counted[1:]), windows=tuple(c.window_seconds for c in counted[1:])
    )
    outcomes = [
        await collect.usage(lead, usage or UsageThresholds(), elsewhere),
        await collect.missing_foreign_keys(lead, ForeignKeyThresholds()),
        await collect.bloat(lead, IndexBloatThresholds()),
    ]
    findings = in_order(f for outcome in outcomes for f in outcome.findings)
    streaming = (await lead.row(Query(_PACKAGE, "standbys"), Standbys)).streaming
    server = lead.server
    return Survey(
        subject=f'indexes of "{server.database}", PostgreSQL {server.version_text.split()[0]}',
        servers=tuple(counted),
        uncounted=max(0, streaming - sum(s.server.in_recovery for s in ordered[1:])),
        indexes=await _used(lead, counted, findings),
        findings=tuple(findings),
        hidden=tuple(hidden for outcome in outcomes for hidden in outcome.hidden),
    )


def _one_cluster(sessions: Sequence[Session]) -> None:
    systems = {s.server.system_identifier for s in sessions} - {None}
    if len(systems) > 1:
        raise UsageError(
            "these are servers of different clusters: their system identifiers differ",
            hint="give the primary and its own standbys",
        )
    if len({s.server.database for s in sessions}) > 1:
        raise UsageError(
            "these are different databases", hint="name the same database on every server"
        )
    primaries = [s for s in sessions if not s.server.in_recovery]
    if len(primaries) > 1:
        raise UsageError(
            "two of these are primaries: the same server twice, or two clusters",
            hint="give the primary once, and its standbys",
        )


async def _counted(session: Session) -> Counted:
    seen = await collect.observation(session)
    uses = await session.rows(Query(_PACKAGE, "uses"), Use)
    return Counted(
        address=str(session.target.addresses[0]),
        role="standby" if session.server.in_recovery else "primary",
        window_seconds=seen.window_seconds,
        since=seen.since,
        uses={use.oid: use for use in uses},
    )


def _sums(counted: Sequence[Counted]) -> dict[int, int]:
    found: dict[int, int] = {}
    for server in counted:
        for oid, use in server.uses.items():
            found[oid] = found.get(oid, 0) + use.scans
    return found


async def _used(
    lead: Session, counted: Sequence[Counted], findings: Collection[Finding]
) -> tuple[Used, ...]:
    codes: dict[str, list[str]] = {}
    for finding in findings:
        codes.setdefault(finding.subject, []).append(finding.code)
    known = await collect.indexes(lead)
    used = [
        Used(
            index,
            tuple(server.uses.get(index.oid, Use(index.oid, *_NEVER)) for server in counted),
            tuple(codes.get(index.name, ())),
        )
        for index in known
        if not index.is_partitioned
    ]
    return tuple(sorted(used, key=lambda u: (-u.index.size_bytes, u.index.name)))


def only(found: Survey, table: str) -> Survey:
    """The same of one table (schema.name). Raises UsageError when it has no index."""
    indexes = tuple(used for used in found.indexes if used.index.table_name == table)
    if not indexes:
        known = sorted({used.index.table_name for used in found.indexes})
        near = difflib.get_close_matches(table, known, n=3, cutoff=0.4)
        raise UsageError(
            f'no index of a table "{table}" in this database',
            hint=f"did you mean {', '.join(near)}?" if near else "give it as schema.name",
        )
    names = {used.index.name for used in indexes}
    findings = tuple(
        f for f in found.findings if f.subject in names or f.subject.split(" ")[0] == table
    )
    return replace(found, indexes=indexes, findings=findings)


def report(found: Survey) -> Report:
    """The survey as terminal, JSON and page take it."""
    facts: dict[str, Any] = {
        "servers": [
            {"address": s.address, "role": s.role, "counted_since": s.since} for s in found.servers
        ],
        "standbys_not_counted": found.uncounted,
        "indexes": [_row(used) for used in found.indexes],
        "not_visible": [{"what": h.what, "remedy": h.remedy} for h in found.hidden],
    }
    return Report(title=found.subject, findings=found.findings, facts=facts)


def _row(used: Used) -> dict[str, Any]:
    index = used.index
    return {
        "index": index.name,
        "table": index.table_name,
        "method": index.access_method,
        "size_bytes": index.size_bytes,
        "scans": used.scans,
        "scans_by_server": [use.scans for use in used.uses],
        "last_scan": used.last_scan.isoformat() if used.last_scan else None,
        "tuples_read": sum(use.tuples_read for use in used.uses),
        "tuples_fetched": sum(use.tuples_fetched for use in used.uses),
        "entries_written": index.entries_written,
        "codes": list(used.codes),
    }
