"""Run a recovery to its end and prove from its log where it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filban.backup.restore import ground, outcome
from filban.backup.restore.outcome import Outcome
from filban.backup.restore.targets import RecoveryTarget
from filban.cluster import Cluster, config, process, startup
from filban.cluster.config import AUTO_CONF, Setting
from filban.errors import ClusterError

Action = Literal["promote", "pause"]
# Recovery of a day's WAL may take hours, and each of them is its own business: this bounds only a
# server that neither recovers nor dies.
SILENT_SECONDS = 600.0
_POLL_SECONDS = 0.1
_HBA = "filban_recovery_hba.conf"
_TRUST = "local all all trust\nlocal replication all trust\n"


@dataclass(frozen=True, slots=True)
class Recovered:
    """A recovery that reached its target. `seconds` is wall time from start to its end; `log` the
    server's part of the log file."""

    outcome: Outcome
    seconds: float
    log: str


Told = Callable[[str], None]


async def recover(
    cluster: Cluster,
    target: RecoveryTarget,
    *,
    timeline: int | str,
    restore_command: str,
    action: Action = "promote",
    through: int | None = None,
    settings: Mapping[str, Setting] | None = None,
    on_restored: Told = lambda _: None,
) -> Recovered:
    """Recover a restored data directory and leave it running: promoted, or paused at the target.

    Only its Unix socket is open, and to everybody on this machine who may enter its directory: see
    `conclude`. `through`: see `outcome.assert_reached`. `on_restored` is told each WAL file that
    came from the archive. Raises NotGood if the target was not reached (the server is stopped
    then), ClusterError if it did not even start.
    """
    ground.clear(cluster.data_dir)
    config.write_file(cluster.data_dir / _HBA, _TRUST)
    ground.begin(
        cluster,
        {
            **await ground.limits_of_primary(cluster.binaries, cluster.data_dir),
            **ground.recovery_settings(
                target, timeline=timeline, restore_command=restore_command, action=action
            ),
            "hba_file": str(cluster.data_dir / _HBA),
            **(settings or {}),
        },
    )
    return await _run(cluster, target, action, through, on_restored)


async def go_on(
    cluster: Cluster,
    target: RecoveryTarget,
    *,
    action: Action = "pause",
    through: int | None = None,
) -> Recovered:
    """Bring a cluster that `recover` has paused further, to a later target."""
    await cluster.stop("fast")
    cleared: dict[str, Setting] = {
        f"recovery_target{s}": None for s in ("", "_time", "_lsn", "_xid", "_name", "_inclusive")
    }
    cluster.configure(cleared | {"recovery_target_action": action} | dict(target.settings()))
    return await _run(cluster, target, action, through, lambda _: None)


async def _run(
    cluster: Cluster, target: RecoveryTarget, action: Action, through: int | None, told: Told
) -> Recovered:
    since = cluster.log_file.stat().st_size if cluster.log_file.exists() else 0
    begun = time.monotonic()
    startup.same_version(cluster.binaries, cluster.data_dir)
    await startup.clear_the_way(cluster.data_dir)
    pid = await startup.launch(cluster.binaries, cluster.data_dir, cluster.log_file)
    try:
        log = await _until_over(cluster, pid, since, action, told)
        found = outcome.read(log)
        outcome.assert_reached(target, found, through=through)
    except BaseException:
        await startup.end([pid])
        raise
    return Recovered(found, time.monotonic() - begun, log)


async def _until_over(cluster: Cluster, pid: int, since: int, action: Action, told: Told) -> str:
    """Wait until recovery has ended one way or the other; its log."""
    log, heard = "", time.monotonic()
    while True:
        running = process.alive(pid)  # before the log is read: its last words are in there
        new = _read(cluster.log_file, since)
        if new:
            text, since, heard = new.decode(errors="replace"), since + len(new), time.monotonic()
            log += text
            for line in text.splitlines():
                if "restored log file" in line:
                    told(line.split('"')[1])
        found = outcome.read(log)
        if found.done or (action == "pause" and found.paused):
            await cluster.start()  # it runs: this waits until it lets us in
            return log
        if not running:
            return _ended(log, found, cluster.log_file)
        if time.monotonic() - heard > SILENT_SECONDS:
            raise ClusterError(
                f"the recovery of {cluster.data_dir} has said nothing for {SILENT_SECONDS:g} s",
                hint=f"look at {cluster.log_file}, and whether the repository answers",
            )
        await asyncio.sleep(_POLL_SECONDS)


def _ended(log: str, found: Outcome, log_file: Path) -> str:
    """The server is gone before its recovery was over."""
    if found.fatal is None and not found.damage:
        raise ClusterError(
            "the server ended in the middle of its recovery; the log's last lines:\n"
            + "\n".join(log.splitlines()[-10:]),
            hint=f"the whole log: {log_file}",
        )
    return log


def _read(path: Path, since: int) -> bytes:
    """Whole lines only: what comes in the middle of one is read at the next look."""
    with path.open("rb") as file:
        file.seek(since)
        data = file.read()
    return data[: data.rfind(b"\n") + 1]


async def conclude(cluster: Cluster, original_auto_conf: str) -> None:
    """Stop a promoted cluster and give it its own configuration back, archiving still off: it is
    as it was, to be started by whoever wants it."""
    await cluster.stop("fast")
    config.write_file(cluster.data_dir / AUTO_CONF, original_auto_conf)
    cluster.configure({**ground.ALONE, "restore_command": None})
    (cluster.data_dir / _HBA).unlink(missing_ok=True)


def auto_conf(data_dir: Path) -> str:
    """postgresql.auto.conf as it was restored, for `conclude`."""
    try:
        return (data_dir / AUTO_CONF).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
