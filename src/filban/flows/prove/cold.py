"""The same from disk: the server's buffers and the system's cache emptied before an execution."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from filban.cluster import Cluster
from filban.flows.prove.execute import Runner
from filban.flows.prove.measure import once

# Opens a session on the restarted clone, for the block of one measurement.
Reopen = Callable[[Callable[[Runner], Awaitable[float]]], Awaitable[float]]


async def cold_ms(cluster: Cluster, reopen: Reopen, text: str, hidden: tuple[str, ...]) -> float:
    """Milliseconds of one execution that finds nothing in memory. Restarts the clone."""
    await cluster.stop("fast")
    await asyncio.to_thread(_forget, cluster.data_dir)
    await cluster.start()

    async def run(runner: Runner) -> float:
        return (await once(runner, text, hidden, cold=True)).ms

    return await reopen(run)


def _forget(directory: Path) -> None:
    """Have the system drop its cache of tables and indexes. They are clean after a shutdown's
    checkpoint, but with fsync off they need not be on disk: so they are written out first."""
    for path in directory.glob("base/**/*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fdatasync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
