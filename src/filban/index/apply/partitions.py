"""The index of a partitioned table, without blocking writes.

PostgreSQL builds none CONCURRENTLY there: the parent's is made ON ONLY it, invalid and empty, then
each partition's is built CONCURRENTLY and attached; the last one makes the parent's valid. Which
statements that takes, and which partitions have theirs already, the server is asked after each.
"""

from __future__ import annotations

import time

from filban.index.apply.build import Builder, Built, only
from filban.index.apply.plan import Step
from filban.index.upkeep.collect import completions
from filban.pg import Session


async def build_partitioned(looks: Session, builder: Builder, step: Step) -> Built:
    """Build or complete it. Raises what `Builder.create` raises; what is there stays, as it takes
    nothing but disk, and is gone on with by the next run."""
    started = time.perf_counter()
    if await builder.found(step.schema, step.name) is None:
        await builder.insist(only(step.sql), f"making {step.index} on its parent")
    while (there := await builder.found(step.schema, step.name)) and not there.is_valid:
        statements = (await completions(looks, [there.oid])).get(there.oid, ())
        if not statements:
            break
        await _do(builder, statements[0].removesuffix(";"), step)
    return Built(step.index, time.perf_counter() - started, 0, 1)


async def _do(builder: Builder, sql: str, step: Step) -> None:
    if sql.startswith(("CREATE INDEX CONCURRENTLY", "CREATE UNIQUE INDEX CONCURRENTLY")):
        await builder.create(Step(sql, step.reason))
    else:
        await builder.insist(sql, f"completing {step.index}")
