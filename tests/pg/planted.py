"""What the tests of checks share: run them, find one finding, apply the fix that was printed."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from filban.cluster import Cluster, find_all, run_program
from filban.finding import Finding, Fix, Severity
from filban.pg import session
from filban.pg.check import Check, Hidden

DEADLINE_SECONDS = 30.0


async def run(
    dsn: str, checks: Sequence[Check], **thresholds: float
) -> tuple[list[Finding], list[Hidden]]:
    """All findings and what was hidden, as `filban check` would gather them."""
    known = {f.name for c in checks for f in dataclasses.fields(c.thresholds)}
    assert set(thresholds) <= known, set(thresholds) - known
    findings: list[Finding] = []
    hidden: list[Hidden] = []
    async with session(dsn) as opened:
        for check in checks:
            names = {f.name for f in dataclasses.fields(check.thresholds)}
            limits = check.thresholds(**{k: v for k, v in thresholds.items() if k in names})
            outcome = await check.run(opened, limits)
            assert {f.code for f in outcome.findings} <= set(check.codes)
            findings += outcome.findings
            hidden += outcome.hidden
    return findings, hidden


async def find(dsn: str, checks: Sequence[Check], code: str, **thresholds: float) -> list[Finding]:
    """The findings of one code."""
    return [f for f in (await run(dsn, checks, **thresholds))[0] if f.code == code]


async def verdicts(dsn: str, checks: Sequence[Check], **thresholds: float) -> set[tuple[str, str]]:
    """(code, subject) of everything above info."""
    findings, _ = await run(dsn, checks, **thresholds)
    return {(f.code, f.subject) for f in findings if f.severity > Severity.info}


async def apply(cluster: Cluster, dsn: str, fix: Fix | None) -> None:
    """Paste a fix: its SQL into psql, its command into a shell of the data directory's owner."""
    assert fix is not None
    assert bool(fix.sql) != bool(fix.command), "exactly one of the two can be pasted"
    psql = next(b for b in find_all() if b.has("psql"))
    if fix.sql:
        await run_program(
            psql.program("psql"), "-X", "-v", "ON_ERROR_STOP=1", "-d", dsn, input=fix.sql
        )
        return
    mine = cluster.binaries.program("pg_ctl").parent
    await run_program(
        "/bin/bash", "-c", fix.command, as_owner_of=cluster.data_dir,
        env={
            "PATH": f"{mine}:{psql.program('psql').parent}:{os.environ['PATH']}",
            "PGHOST": str(cluster.socket_dir), "PGPORT": str(cluster.port), "PGUSER": "postgres",
        },
    )  # fmt: skip


async def eventually(what: Callable[[], Awaitable[Any]]) -> Any:
    """Wait until `what` gives something true: servers do some things in their own time."""
    until = time.monotonic() + DEADLINE_SECONDS
    while not (got := await what()):
        assert time.monotonic() < until, "it has not happened"
        await asyncio.sleep(0.02)
    return got
