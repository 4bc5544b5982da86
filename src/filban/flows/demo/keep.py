"""Leave the demo running, and stop it later: a note in its directory says what there is."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from filban.cluster import Cluster
from filban.cluster.config import write_file
from filban.errors import UsageError
from filban.flows.demo.servers import Servers

NOTE = "filban-demo.json"


def note(servers: Servers) -> dict[str, Any]:
    """Write the note; what a person needs to know of it."""
    known = {
        "directory": str(servers.base),
        "primary": servers.dsn,
        "standby": servers.standby_dsn,
        "stop": f"filban demo --stop {servers.base}",
    }
    write_file(servers.base / NOTE, json.dumps(known, indent=2) + "\n")
    return known


async def stop(directory: Path) -> None:
    """Stop the servers of a demo that was kept, and remove its directory.

    Raises UsageError for a directory that no demo has made.
    """
    if not (directory / NOTE).is_file():
        raise UsageError(
            f"{directory} is not the directory of a demo: it has no {NOTE}",
            hint="give the directory that `filban demo --keep` has printed",
        )
    for data_dir in _data_dirs(directory):
        await Cluster.open(data_dir).stop("fast")
    await asyncio.to_thread(shutil.rmtree, directory)


def _data_dirs(directory: Path) -> list[Path]:
    """The standby's before the primary's: it would complain of a primary that has gone."""
    return [file.parent for file in sorted(directory.glob("*/PG_VERSION"), reverse=True)]
