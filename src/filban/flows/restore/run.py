"""Do what was looked at: lay the backup out, recover, prove from the log, leave it ready."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filban.backup.restore import lay, recover
from filban.backup.restore.outcome import Outcome
from filban.backup.shelf import Shelf
from filban.cluster import Cluster
from filban.cluster.directory import beside, claimed
from filban.cluster.owner import owner_of, server_user
from filban.cluster.places import file_errors
from filban.errors import ClusterBusy
from filban.flows.progress import Progress, Silent, step
from filban.flows.restore.look import Look, assert_reachable
from filban.pg.lsn import format_lsn

log = logging.getLogger("filban.restore")

# DATA_DIR.restoring says that a restore into DATA_DIR did not come to its end: what is in there is
# ours, and the next restore empties it.
MARK = "restoring"


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore that was proven. Seconds are wall time: laying the files out, and replaying."""

    data_dir: Path
    look: Look
    outcome: Outcome
    bytes: int
    files_seconds: float
    replay_seconds: float
    segments: int

    def as_json(self) -> dict[str, Any]:
        found = self.outcome
        return self.look.as_json() | {
            "data_directory": str(self.data_dir),
            "stopped": found.stopped,
            "redo_done": format_lsn(found.redo_done) if found.redo_done else None,
            "last_commit_replayed": found.last_commit,
            "new_timeline": found.timeline,
            "bytes": self.bytes,
            "files_seconds": round(self.files_seconds, 2),
            "replay_seconds": round(self.replay_seconds, 2),
            "segments_replayed": self.segments,
        }


async def restore(
    shelf: Shelf,
    found: Look,
    into: Path,
    *,
    tablespaces: Mapping[str, Path] | None = None,
    delta: bool = False,
    progress: Progress | None = None,
) -> Restored:
    """Restore as `look` has found, into an empty directory (or with `delta` over the old cluster).

    The restored cluster is stopped at the end, promoted to a timeline of its own, with archiving
    off. If it fails, an empty directory is empty again; with `delta` the directory keeps a mark and
    must be restored again. Raises NotGood if the target was not reached, and what `lay_out` raises.
    """
    assert_reachable(found)
    told = progress or Silent()
    places = dict(tablespaces or {})
    if delta:
        await lay.old_cluster(into, found.binaries, found.plan.backup)
        with _marked(into, keep=True):
            return await _steps(shelf, found, into, places, told, delta=True)
    _forget_interrupted(into)
    owner = server_user()
    with contextlib.ExitStack() as stack:
        for path in (into, *places.values()):
            stack.enter_context(claimed(path, owner))
        stack.enter_context(_marked(into))
        return await _steps(shelf, found, into, places, told, delta=False)


async def _steps(
    shelf: Shelf,
    found: Look,
    into: Path,
    places: Mapping[str, Path],
    told: Progress,
    *,
    delta: bool,
) -> Restored:
    owner, plan = owner_of(into), found.plan
    begun = time.monotonic()
    with step(told, f"files of {plan.backup.label}", plan.backup.bytes, "bytes") as running:
        size = await lay.lay_out(
            shelf, plan.backup, into, found.binaries, owner,
            tablespaces=places, delta=delta, on_bytes=running.advance,
        )  # fmt: skip
        files_seconds = time.monotonic() - begun
        running.summary = f"{size:,} bytes"
    with _segments(told, plan.replay_bytes // found.archive.segment_bytes + 1) as count:
        recovered, original = await _recover(shelf, found, into, count)
    cluster = Cluster.open(into, binaries=found.binaries)
    await recover.conclude(cluster, original)
    return Restored(
        into, found, recovered.outcome, size, files_seconds, recovered.seconds, count.segments
    )


class _Count:
    """How many segments came from the archive."""

    def __init__(self) -> None:
        self.segments = 0
        self.advance: Callable[[int], None] = lambda _: None

    def one(self, _: str) -> None:
        self.segments += 1
        self.advance(self.segments)


@contextlib.contextmanager
def _segments(told: Progress, total: int) -> Iterator[_Count]:
    count = _Count()
    with step(told, "replay", total, "segments") as running:
        count.advance = running.advance
        yield count
        running.summary = f"{count.segments} segments"


async def _recover(
    shelf: Shelf, found: Look, into: Path, count: _Count
) -> tuple[recover.Recovered, str]:
    cluster = Cluster.open(into, binaries=found.binaries)
    original = recover.auto_conf(into)
    done = await recover.recover(
        cluster,
        found.plan.target,
        timeline=found.plan.timeline,
        restore_command=shelf.restore_command(),
        through=found.plan.through(found.archive.segment_bytes),
        on_restored=count.one,
    )
    return done, original


@contextlib.contextmanager
def _marked(into: Path, *, keep: bool = False) -> Iterator[None]:
    """`keep`: what fails in the block leaves the directory half overwritten, and so marked."""
    mark = beside(into, MARK)
    with file_errors(f"{mark} cannot be written"):
        mark.write_text(f"{os.getpid()}\n")
    try:
        yield
    except BaseException:
        if not keep:
            mark.unlink()
        raise
    mark.unlink()


def _forget_interrupted(into: Path) -> None:
    """A restore that was killed has left its mark: what it wrote is ours to remove."""
    if not beside(into, MARK).exists() or not into.exists():
        return
    if (into / "PG_VERSION").exists() and Cluster.open(into).status().running:
        raise ClusterBusy(f"a server runs on {into}", hint="it may be another restore: wait for it")
    log.warning("removing what an interrupted restore has left in %s", into)
    for entry in into.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
