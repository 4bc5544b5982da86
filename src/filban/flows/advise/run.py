"""The whole loop: statements, candidates, a set, its proof, what to say and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from filban.finding import Finding, Report, in_order
from filban.flows.advise import choosing, findings, planning
from filban.flows.advise.options import AdviseOptions
from filban.flows.advise.sources import givens
from filban.flows.progress import Progress, step
from filban.flows.prove import Clone, Proof, clone, prove
from filban.index.advice import Candidate, Found, Workload, candidates, why_not, workload_of
from filban.index.apply import Plan
from filban.pg import Server, Target, session
from filban.units import count


@dataclass(frozen=True, slots=True)
class Advice:
    """report: what to read; plan: what `filban apply` takes, without steps when there is nothing
    to do; proof: None where none was asked for or there was nothing to prove."""

    report: Report
    plan: Plan
    proof: Proof | None


async def advise(
    target: Target,
    options: AdviseOptions,
    progress: Progress,
    *,
    copy: Clone | None = None,
) -> Advice:
    """Advise on the indexes of one database. Nothing but EXPLAIN is run on the server.

    copy: a clone that is there already. Raises NotSupported (no statements, no clone), UsageError,
    ServerError, DiskFull.
    """
    async with session(target) as opened:
        server = opened.server
        with step(progress, "reading the workload", None, "statements") as running:
            workload = await workload_of(opened, await givens(opened, options))
            running.summary = count(len(workload.statements), "statement")
        with step(progress, "asking the planner", None, "plans") as running:
            found = await candidates(opened, workload)
            if options.why_not is not None:
                found = _only(found, await why_not(opened, workload, options.why_not))
            picked = await choosing.chosen(opened, workload, found.candidates, options)
            running.summary = count(len(found.candidates), "candidate")
    proof = None
    if options.prove and picked:
        async with _cloned(target, copy, progress) as ready:
            proof = await prove(
                ready, workload, [c.spec for c in picked], progress, options.limits,
                replaces={c.spec: c.replaces for c in picked},
                candidates=picked if options.why_not is None else (),
            )  # fmt: skip
    return _advice(server, workload, found, picked, proof, options)


def _only(found: Found, verdict: Any) -> Found:
    """One's own idea alone."""
    if isinstance(verdict, Candidate):
        return Found((verdict,), (), (), found.unread)
    return Found((), (verdict,), (), found.unread)


@contextlib.asynccontextmanager
async def _cloned(target: Target, copy: Clone | None, progress: Progress) -> AsyncIterator[Clone]:
    if copy is not None:
        yield copy
        return
    async with clone(target, progress) as made:
        yield made


def _advice(
    server: Server,
    workload: Workload,
    found: Found,
    picked: Sequence[Candidate],
    proof: Proof | None,
    options: AdviseOptions,
) -> Advice:
    told = [findings.remedy(r, workload) for r in found.remedies]
    facts: dict[str, Any] = {
        "server": server.facts(),
        "workload": findings.workload_facts(workload, found.refused),
        "candidates": len(found.candidates),
        "budget_bytes": options.budget_bytes,
    }
    if options.why_not is not None:
        told += [findings.refused(r) for r in found.refused]
    if proof is None:
        plan = planning.from_estimate(picked, server, workload.search_path)
        told += [findings.estimated(c) for c in picked]
    else:
        plan = planning.from_proof(proof, picked, server)
        told += _proven(proof, picked, workload)
        facts["proof"] = findings.proof_facts(proof)
    title = f'Indexes of "{server.database}"' + (": proven" if proof else ": estimated")
    return Advice(Report(title, in_order(told), facts), plan, proof)


def _proven(proof: Proof, picked: Sequence[Candidate], workload: Workload) -> list[Finding]:
    of = {c.spec: c for c in picked}
    return [
        *(
            findings.advised(
                built, proof, of[built.spec].reason,
                [d for d in of[built.spec].replaces if d in proof.drops], workload,
            )
            for built in proof.kept
        ),
        *(findings.not_proven(d) for d in proof.dropped),
    ]  # fmt: skip
