"""Make a restored data directory ready to recover here: on its own, archiving nowhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from filban.backup.restore.targets import RecoveryTarget
from filban.cluster import Cluster, config, run_program
from filban.cluster.binaries import Binaries
from filban.cluster.config import Setting
from filban.cluster.directory import socket_dir
from filban.cluster.owner import owner_of

# What a restored cluster must not go on doing: it would archive into the old one's repository,
# follow the old one's primary, or wait for standbys that it does not have.
ALONE: Mapping[str, Setting] = {
    "archive_mode": "off",
    "archive_command": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "synchronous_standby_names": "",
}
# While it recovers nobody but us may see it, and we read its log.
PRIVATE: Mapping[str, Setting] = {
    "listen_addresses": "",
    "ssl": False,
    "hot_standby": True,
    "logging_collector": False,
    "log_destination": "stderr",
    "log_min_messages": "warning",
    "lc_messages": "C",
}
_TARGETS = ("", "_time", "_lsn", "_xid", "_name", "_inclusive", "_timeline", "_action")
# The five that a hot standby must have at least as large as its primary; pg_controldata's words.
_LIMIT = re.compile(
    r"^(max_connections|max_worker_processes|max_wal_senders|max_prepared_xacts|"
    r"max_locks_per_xact) setting:\s+(\d+)$",
    re.MULTILINE,
)
_RENAMED = {
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}
_STALE = ("postmaster.pid", "postmaster.opts", "standby.signal", "recovery.signal")
# initdb makes them and a server does not start without them; a plain copy has lost the empty
# ones (bin/initdb/initdb.c: subdirs).
_DIRECTORIES = (
    "pg_wal", "pg_wal/archive_status", "pg_commit_ts", "pg_dynshmem", "pg_notify", "pg_serial",
    "pg_snapshots", "pg_subtrans", "pg_twophase", "pg_multixact", "pg_multixact/members",
    "pg_multixact/offsets", "pg_replslot", "pg_tblspc", "pg_stat", "pg_stat_tmp", "pg_xact",
    "pg_logical", "pg_logical/snapshots", "pg_logical/mappings",
)  # fmt: skip
# A Debian cluster's configuration lies under /etc and is in no base backup.
_CONFIGURATION = ("postgresql.conf", "pg_hba.conf", "pg_ident.conf")


def clear(data_dir: Path) -> None:
    """Remove what a copy must not have of the server that it was copied from, and give it the
    configuration files and the empty directories that it lacks."""
    owner = owner_of(data_dir)
    for name in _DIRECTORIES:
        path = data_dir / name
        if not path.exists():
            path.mkdir(mode=0o700)
            owner.take(path)
    for name in _STALE:
        (data_dir / name).unlink(missing_ok=True)
    for name in _CONFIGURATION:
        if not (data_dir / name).exists():
            text = config.hba_text(()) if name == "pg_hba.conf" else ""
            config.write_file(data_dir / name, text)


async def control_data(binaries: Binaries, data_dir: Path) -> dict[str, str]:
    """pg_controldata's lines. Raises ProgramFailed if pg_control is not there or damaged."""
    done = await run_program(
        binaries.program("pg_controldata"), "-D", data_dir, as_owner_of=data_dir
    )
    pairs = (line.partition(":") for line in done.stdout.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


async def limits_of_primary(binaries: Binaries, data_dir: Path) -> dict[str, Setting]:
    """The settings below which a hot standby of this copy refuses to start."""
    done = await run_program(
        binaries.program("pg_controldata"), "-D", data_dir, as_owner_of=data_dir
    )
    return {_RENAMED.get(n, n): int(value) for n, value in _LIMIT.findall(done.stdout)}


def recovery_settings(
    target: RecoveryTarget, *, timeline: int | str, restore_command: str, action: str
) -> dict[str, Setting]:
    """What recovery.signal's reader wants, and None for every target that it must not have."""
    cleared: dict[str, Setting] = {f"recovery_target{suffix}": None for suffix in _TARGETS}
    return cleared | {
        "restore_command": restore_command,
        "recovery_target_timeline": timeline,
        "recovery_target_action": action,
        "archive_cleanup_command": None,
        "recovery_end_command": None,
        "recovery_min_apply_delay": None,
        **target.settings(),
    }


def begin(cluster: Cluster, settings: Mapping[str, Setting]) -> None:
    """recovery.signal and the settings, over whatever the files had."""
    cluster.configure(
        {
            **ALONE,
            **PRIVATE,
            "unix_socket_directories": str(socket_dir(cluster.data_dir)),
            **settings,
        }
    )
    config.write_file(cluster.data_dir / "recovery.signal", "")
