"""A copy of the cluster for a while: nobody's data, no TCP, no archive, as fast as it can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from filban.backup.restore import lay, recover
from filban.backup.restore.recover import Action, Recovered
from filban.backup.shelf import Shelf
from filban.cluster import Cluster
from filban.cluster.config import Setting
from filban.cluster.owner import server_user
from filban.flows.restore.look import Look

# autovacuum would change the copy while it is looked at.
SETTINGS: Mapping[str, Setting] = {
    "fsync": False,
    "autovacuum": False,
    "cluster_name": "filban_scratch",
    "shared_buffers": "128MB",
    "dynamic_shared_memory_type": "mmap",
}


async def lay_scratch(shelf: Shelf, found: Look, data: Path) -> int:
    """The backup's files in `data`, its tablespaces beside it; the bytes written."""
    owner, backup = server_user(), found.plan.backup
    names = lay.tablespaces(shelf, backup)
    spaces = {oid: data.with_name(f"tablespace-{oid}") for oid in names}
    for path in (data, *spaces.values()):
        path.mkdir(mode=0o700)
        owner.take(path)
    return await lay.lay_out(shelf, backup, data, found.binaries, owner, tablespaces=spaces)


async def recover_scratch(
    shelf: Shelf,
    found: Look,
    data: Path,
    *,
    action: Action = "promote",
    superuser: str | None = None,
    on_restored: Callable[[str], None] = lambda _: None,
) -> tuple[Cluster, Recovered]:
    """Recover what `lay_scratch` has laid out; it runs. Raises as `recover.recover` does.

    superuser: the name of the role that initdb made, where it is known better than by the backup.
    """
    name = superuser or found.plan.backup.superuser
    copy = Cluster(data, found.binaries, superuser=name, tcp=False)
    copy.own_address()
    done = await recover.recover(
        copy, found.plan.target, timeline=found.plan.timeline, settings=SETTINGS, action=action,
        restore_command=shelf.restore_command(), on_restored=on_restored,
        through=found.plan.through(found.archive.segment_bytes),
    )  # fmt: skip
    return copy, done
