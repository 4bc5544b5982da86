"""What a person reads of an advice. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from filban.finding import Finding, Fix, Quantity, Severity
from filban.flows.prove import Built, Compared, Dropped, Proof, WriteCost
from filban.index.advice import Candidate, IndexSpec, Refused, Remedy, Workload
from filban.index.advice.planning import nodes
from filban.index.apply import concurrently
from filban.units import size

CODES = (
    "index.advised",
    "index.candidate",
    "index.not_proven",
    "index.why_not",
    "statement.remedy",
)
_LOCK = "SHARE UPDATE EXCLUSIVE"
_NOT_IN_TRANSACTION = "Not inside a transaction; `filban apply PLAN` does it with care."
LONGEST_SHOWN = 160
MOST_REFUSED = 50
# The part of the workload's time whose statements make an advice more than a note.
WARNING_SHARE = 0.01


def subject(spec: IndexSpec) -> str:
    """An index as its definition says it, without a name: it is the same advice next month."""
    return spec.definition("").partition(" ON ")[2].replace(" USING btree", "")


def advised(
    built: Built, proof: Proof, reason: str, drops: Sequence[str], workload: Workload
) -> Finding:
    """index.advised: one index that stood the proof."""
    served = [c for c in proof.compared if built.name in c.indexes]
    before = sum(c.statement.calls * c.before.cost for c in served)
    after = sum(c.statement.calls * c.after.cost for c in served)
    best = max(served, key=lambda c: c.gain_ms, default=None)
    share = _share(served, workload)
    sql = [f"{concurrently(built.definition)};"]
    sql += [f"DROP INDEX CONCURRENTLY {name};" for name in drops]
    return Finding(
        code="index.advised",
        severity=Severity.warning if share >= WARNING_SHARE else Severity.info,
        subject=subject(built.spec),
        title=f"An index with which its statements take {after / before:.1%} of their time"
        if before
        else "An index",
        why=_sentence(reason)
        + (f" Most is gained by: {_short(best.statement.sql)}" if best is not None else ""),
        evidence={
            "statements": Quantity(len(served), "count"),
            "share_of_all_time": Quantity(round(share, 4), "ratio"),
            "after_to_before": Quantity(round(after / before, 4) if before else 1.0, "ratio"),
            **(_best(best) if best is not None else {}),
            "size": Quantity(built.size_bytes, "bytes"),
            "build": Quantity(round(built.seconds, 2), "seconds"),
            **_writes([w for w in proof.writes if built.spec.on in w.statement.tables]),
            "proven_on": Quantity(proof.taken_at.isoformat(timespec="seconds"), "date"),
        },
        fix=Fix(sql="\n".join(sql), lock=_LOCK, caution=_NOT_IN_TRANSACTION),
    )


def _share(served: Iterable[Compared], workload: Workload) -> float:
    whole = sum(s.total_ms for s in workload.statements)
    return sum(c.statement.total_ms for c in served) / whole if whole else 0.0


def _best(found: Compared) -> dict[str, Quantity]:
    evidence = {
        "best_before": Quantity(round(found.before.ms, 3), "ms"),
        "best_after": Quantity(round(found.after.ms, 3), "ms"),
        "best_ratio_low": Quantity(round(found.ratio.low, 4), "ratio"),
        "best_ratio_high": Quantity(round(min(found.ratio.high, 1e6), 4), "ratio"),
    }
    if found.cold_before_ms is not None and found.cold_after_ms is not None:
        evidence["best_before_from_disk"] = Quantity(round(found.cold_before_ms, 2), "ms")
        evidence["best_after_from_disk"] = Quantity(round(found.cold_after_ms, 2), "ms")
    return evidence


def _writes(costs: Sequence[WriteCost]) -> dict[str, Quantity]:
    if not costs:
        return {}
    calls = sum(w.statement.calls for w in costs) or 1.0
    before = sum(w.statement.calls * w.before.cost for w in costs)
    after = sum(w.statement.calls * w.after.cost for w in costs)
    wal = sum(w.statement.calls * (w.after.wal_bytes - w.before.wal_bytes) for w in costs) / calls
    return {
        "writes_after_to_before": Quantity(round(after / before, 3) if before else 1.0, "ratio"),
        "more_wal_a_write": Quantity(round(wal), "bytes"),
        **_hot(costs),
    }


def _hot(costs: Sequence[WriteCost]) -> dict[str, Quantity]:
    """The share of updates that were heap-only, of all calls."""
    updates = [w for w in costs if w.hot_before is not None and w.hot_after is not None]
    calls = sum(w.statement.calls for w in updates)
    if not calls:
        return {}
    before = sum(w.statement.calls * (w.hot_before or 0.0) for w in updates) / calls
    after = sum(w.statement.calls * (w.hot_after or 0.0) for w in updates) / calls
    return {
        "hot_updates_before": Quantity(round(before, 3), "ratio"),
        "hot_updates_after": Quantity(round(after, 3), "ratio"),
    }


def estimated(candidate: Candidate) -> Finding:
    """index.candidate: nothing was executed, so it is no advice yet."""
    return Finding(
        code="index.candidate",
        severity=Severity.info,
        subject=subject(candidate.spec),
        title="An index that may help; nothing was executed yet",
        why=_sentence(candidate.reason),
        evidence={
            "statements": Quantity(len(candidate.statements), "count"),
            **{k: Quantity(round(v, 4)) for k, v in candidate.numbers.items()},
        },
        fix=Fix(
            sql=f"{candidate.spec.definition(concurrently=True)};",
            lock=_LOCK,
            caution=f"An estimate: --prove executes it on a clone. {_NOT_IN_TRANSACTION}",
        ),
    )


def not_proven(dropped: Dropped) -> Finding:
    """index.not_proven: it was tried."""
    evidence = {"reason": Quantity(dropped.why)}
    if dropped.size_bytes is not None:
        evidence["size"] = Quantity(dropped.size_bytes, "bytes")
    return Finding(
        code="index.not_proven",
        severity=Severity.info,
        subject=subject(dropped.spec),
        title="An index that was tried on the clone and is not worth it",
        why=dropped.detail,
        evidence=evidence,
    )


def refused(candidate: Refused) -> Finding:
    """index.why_not: the answer to one's own idea."""
    return Finding(
        code="index.why_not",
        severity=Severity.info,
        subject=subject(candidate.spec) if candidate.spec else "",
        title=f"Not worth it: {candidate.code.replace('_', ' ')}",
        why=candidate.reason,
        evidence={k: Quantity(round(v, 4)) for k, v in candidate.numbers.items()},
    )


def remedy(one: Remedy, workload: Workload) -> Finding:
    """statement.remedy: what helps a statement beside an index."""
    texts = {s.id: s.sql for s in workload.statements}
    return Finding(
        code="statement.remedy",
        severity=Severity.info,
        subject=f"{one.kind}: {_short(texts.get(one.statement, one.statement))}",
        title=f"Beside an index: {one.kind.replace('_', ' ')}",
        why=one.reason,
        evidence={k: Quantity(round(v, 4)) for k, v in one.numbers.items()},
        fix=Fix(sql=one.sql) if one.sql else Fix(advice=one.reason),
    )


def proof_facts(proof: Proof) -> dict[str, Any]:
    """The tables of a proof."""
    return {
        "cloned_at": proof.taken_at.isoformat(timespec="seconds"),
        "seconds_of_proof": round(proof.seconds, 1),
        "executions": proof.executions,
        "complete": proof.complete,
        "after_to_before_ratio": round(proof.ratio, 4),
        "new_indexes_bytes": proof.size_bytes,
        "statements_compared": [_compared(c) for c in proof.compared],
        "statements_unchanged": len(proof.unchanged),
        "writes_compared": [_write(w) for w in proof.writes],
        "not_executed": [
            {"statement": _short(r.statement.sql), "why": r.why} for r in proof.refused
        ],
    }


def _compared(found: Compared) -> dict[str, Any]:
    return {
        "statement": _short(found.statement.sql),
        "calls": found.statement.calls,
        "pairs": found.pairs,
        "before_ms": round(found.before.ms, 3),
        "after_ms": round(found.after.ms, 3),
        "before_cpu_ms": _rounded(found.before.cpu_ms),
        "after_cpu_ms": _rounded(found.after.cpu_ms),
        "ratio": round(found.ratio.value, 4),
        "ratio_low": round(found.ratio.low, 4),
        "ratio_high": round(min(found.ratio.high, 1e6), 4),
        "before_blocks": round(found.before.blocks),
        "after_blocks": round(found.after.blocks),
        "from_disk_before_ms": _rounded(found.cold_before_ms),
        "from_disk_after_ms": _rounded(found.cold_after_ms),
        "plan_before": scans(found.before.plan),
        "plan_after": scans(found.after.plan),
    }


def _write(cost: WriteCost) -> dict[str, Any]:
    return {
        "statement": _short(cost.statement.sql),
        "calls": cost.statement.calls,
        "before_ms": round(cost.before.ms, 3),
        "after_ms": round(cost.after.ms, 3),
        "ratio": round(cost.ratio.value, 4),
        "ratio_low": round(cost.ratio.low, 4),
        "ratio_high": round(min(cost.ratio.high, 1e6), 4),
        "before_wal_bytes": round(cost.before.wal_bytes),
        "after_wal_bytes": round(cost.after.wal_bytes),
        "hot_before_ratio": _rounded(cost.hot_before),
        "hot_after_ratio": _rounded(cost.hot_after),
    }


def workload_facts(workload: Workload, refusals: Sequence[Refused]) -> dict[str, Any]:
    """What was looked at, what could not be read, and what was turned down."""
    return {
        "statements": len(workload.statements),
        "calls": round(sum(s.calls for s in workload.statements)),
        "total_ms": round(sum(s.total_ms for s in workload.statements), 1),
        "unread": [
            {"statement": _short(u.sql), "calls": u.calls, "why": u.why} for u in workload.unread
        ],
        "turned_down": [
            {
                "index": subject(r.spec) if r.spec else "",
                "why": r.code,
                "reason": r.reason,
                **{k: round(v, 4) for k, v in r.numbers.items()},
            }
            for r in refusals[:MOST_REFUSED]
        ],
        "turned_down_in_all": len(refusals),
    }


def scans(plan: dict[str, Any]) -> str:
    """How a plan reads its tables: "Seq Scan on articles, Index Scan using articles_pkey"."""
    return ", ".join(
        f"{n['Node Type']} using {n['Index Name']}"
        if "Index Name" in n
        else f"{n['Node Type']} on {n['Relation Name']}"
        for n in nodes(plan)
        if "Index Name" in n or "Relation Name" in n
    )


def summary(proof: Proof) -> str:
    """One line."""
    return (
        f"{len(proof.kept)} of {len(proof.kept) + len(proof.dropped)} indexes kept, "
        f"{size(proof.size_bytes)}, the workload at {proof.ratio:.0%}"
    )


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _short(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
