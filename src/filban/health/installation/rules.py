"""How the server is installed -> findings. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.health.installation.rows import ExtensionUpdate
from filban.pg import Server


@dataclass(frozen=True, slots=True)
class InstallationThresholds:
    """None: a version differs or not, checksums are on or off."""


def outdated(updates: Iterable[ExtensionUpdate]) -> Iterator[Finding]:
    """extension.update, one an extension."""
    for u in updates:
        yield Finding(
            code="extension.update",
            severity=Severity.info,
            subject=u.name,
            title=f"Extension {u.name} {u.installed} can be updated to {u.available}",
            why="The library on the server is newer than the SQL objects in this database: new "
            "functions and columns are missing, and fixes in them have not arrived.",
            evidence={"installed": Quantity(u.installed), "available": Quantity(u.available)},
            fix=Fix(
                sql=u.update_sql,
                lock="ACCESS EXCLUSIVE on objects that the update alters",
                reversible=False,
                caution="Read the extension's release notes; views that use its functions may be "
                "in the way.",
            ),
        )


def checksums_off(server: Server) -> Iterator[Finding]:
    """checksums.off: at most one finding. Off by default before PostgreSQL 18, hence info."""
    setting = server.setting("data_checksums")
    if setting is None or setting.on:
        return
    yield Finding(
        code="checksums.off",
        severity=Severity.info,
        subject="server",
        title="Data checksums are off",
        why="A page that the disk, the memory or the file system damages is returned as data, and "
        "goes into backups, without anybody noticing.",
        evidence={"data_checksums": Quantity(False)},
        fix=_enable_checksums(server),
    )


def _enable_checksums(server: Server) -> Fix:
    if server.managed_by is not None:
        return Fix(advice=f"Ask {server.managed_by}: the data directory is theirs.")
    directory = server.setting("data_directory")
    where = shlex.quote(directory.value) if directory and directory.value else '"$PGDATA"'
    return Fix(
        command=f"pg_checksums --enable --progress -D {where}",
        caution="Stop the server cleanly first, and run it as the data directory's owner, on every "
        "standby too before any of them starts. It reads and writes every page: about a minute "
        "for each 10 GB on an SSD.",
    )
