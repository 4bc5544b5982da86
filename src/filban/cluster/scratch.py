"""Throwaway clusters."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from filban.cluster import abandoned
from filban.cluster.binaries import Binaries, find_binaries
from filban.cluster.cluster import Cluster
from filban.cluster.config import Setting

# For servers whose data nobody will miss: no fsync, little memory, and dynamic shared memory as
# files in the data directory, so that a killed server leaves none in /dev/shm.
THROWAWAY_SETTINGS: Mapping[str, Setting] = {
    "fsync": False,
    "shared_buffers": "16MB",
    "max_connections": 50,
    "dynamic_shared_memory_type": "mmap",
}


@contextlib.asynccontextmanager
async def throwaway(
    *,
    major: int | None = None,
    binaries: Binaries | None = None,
    settings: Mapping[str, Setting] | None = None,
    hba: Sequence[str] = (),
    keep: bool = False,
    tcp: bool = True,
    checksums: bool = True,
    locale: str | None = None,
    template_cache: bool = True,
) -> AsyncIterator[Cluster]:
    """A running cluster in a temporary directory; see `Cluster.create` for the arguments.

    At the end it is stopped and removed with everything beside its data directory, standbys
    included. `keep` leaves all that running, unless the block ends with an exception. What killed
    programs have left is removed first (see `leftovers`).
    """
    programs = binaries or find_binaries(major)
    base, state = abandoned.begin()
    kept = False
    try:
        cluster = await Cluster.create(
            base / "data", binaries=programs, settings={**THROWAWAY_SETTINGS, **(settings or {})},
            hba=hba, checksums=checksums, locale=locale, template_cache=template_cache, tcp=tcp,
            durable=False,
        )  # fmt: skip
        await cluster.start()
        yield cluster
        kept = keep
    finally:
        if kept:
            abandoned.forget(state)
        else:
            await abandoned.remove(base, state)
