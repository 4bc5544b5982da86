"""From a proof, or an estimate where none was asked for, to the plan file's content. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from filban.flows.prove import Compared, Proof
from filban.index.advice import Candidate
from filban.index.apply import Plan, Step, Watched, concurrently
from filban.pg import Server


def from_proof(proof: Proof, candidates: Iterable[Candidate], server: Server) -> Plan:
    """What stood the proof; existing indexes that are not needed beside it go last."""
    reasons = {c.spec: c.reason for c in candidates}
    creates = [
        Step(
            concurrently(built.definition),
            reasons.get(built.spec, ""),
            built.size_bytes,
            round(built.seconds, 3),
        )
        for built in proof.kept
    ]
    drops = [
        Step(f"DROP INDEX CONCURRENTLY {name}", "a new one does it all") for name in proof.drops
    ]
    return Plan(
        steps=(*creates, *drops),
        watched=tuple(w for c in proof.compared if (w := _watched(c)) is not None),
        system_identifier=server.system_identifier,
        database=server.database,
        proof={
            "cloned_at": proof.taken_at.isoformat(),
            "ratio": round(proof.ratio, 4),
            "statements": len(proof.compared),
            "executions": proof.executions,
            "seconds": round(proof.seconds, 1),
            "complete": proof.complete,
        },
    )


def _watched(compared: Compared) -> Watched | None:
    """The server's own mean, and the clone's ratio of it."""
    statement = compared.statement
    if statement.query_id is None or not statement.calls or not compared.before.ms:
        return None
    mean = statement.total_ms / statement.calls or compared.before.ms
    forecast = mean * compared.after.ms / compared.before.ms
    return Watched(statement.query_id, statement.sql, round(mean, 4), round(forecast, 4))


def from_estimate(chosen: Sequence[Candidate], server: Server, search_path: str) -> Plan:
    """Without a proof: no statement is promised anything, and names are as statements write them,
    to be found through the workload's search_path."""
    return Plan(
        steps=tuple(
            Step(
                c.spec.definition(concurrently=True), c.reason,
                int(c.numbers["size_bytes"]) if "size_bytes" in c.numbers else None,
            )
            for c in chosen
        ),
        system_identifier=server.system_identifier,
        database=server.database,
        search_path=search_path,
    )  # fmt: skip
