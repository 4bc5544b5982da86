"""Settings that risk data, planning or monitoring -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.pg import Server, Setting
from filban.tune.rows import SettingScope, TableWithoutAutovacuum
from filban.units import size


@dataclass(frozen=True, slots=True)
class SettingThresholds:
    """filban's own: a table below 10 MB is read whole in milliseconds, dead rows and all."""

    table_autovacuum_off_minimum_bytes: float = 10 * 1024**2


@dataclass(frozen=True, slots=True)
class Risk:
    """A setting that must be on."""

    severity: Severity
    why: str
    caution: str = ""


RISKS = {
    "fsync": Risk(
        Severity.critical,
        "The server does not force its writes to disk: after a crash of the machine the database "
        "may be corrupted beyond repair.",
        "What was written before is only safe after a CHECKPOINT and a `sync` on the machine.",
    ),
    "full_page_writes": Risk(
        Severity.critical,
        "After a crash a page that was half written cannot be restored from the WAL: silent "
        "corruption, unless the file system writes 8 kB atomically.",
        "More WAL is written, mostly just after a checkpoint.",
    ),
    "autovacuum": Risk(
        Severity.critical,
        "Nothing removes dead rows, refreshes the planner's statistics or freezes old "
        "transactions: tables grow, plans go wrong and in the end the server refuses writes.",
        "It has a backlog: expect autovacuum workers to read the large tables first.",
    ),
    "track_counts": Risk(
        Severity.critical,
        "Autovacuum reads these counters: without them it never runs, except against wraparound.",
    ),
    "track_activities": Risk(
        Severity.warning,
        "pg_stat_activity shows no state and no query: idle transactions and blockers cannot be "
        "told from work, by filban or anybody else.",
    ),
}


def risky(server: Server, scope: SettingScope) -> Iterator[Finding]:
    """setting.fsync_off and its like."""
    for name, risk in RISKS.items():
        setting = server.setting(name)
        if setting is None or setting.on:
            continue
        yield Finding(
            code=f"setting.{name}_off",
            severity=risk.severity,
            subject=name,
            title=f"{name} is off",
            why=risk.why,
            evidence={name: Quantity(False), "source": Quantity(setting.source)},
            fix=_turn_on(setting, scope, server.managed_by, risk.caution),
        )


def _turn_on(setting: Setting, scope: SettingScope, managed_by: str | None, caution: str) -> Fix:
    """By where the value comes from: ALTER SYSTEM does not reach what overrides it."""
    name = setting.name
    match setting.source:
        case "database":
            sql = f"ALTER DATABASE {scope.database_quoted} RESET {name};"
        case "user":
            sql = f"ALTER ROLE {scope.role_quoted} RESET {name};"
        case "database user":
            sql = (
                f"ALTER ROLE {scope.role_quoted} IN DATABASE {scope.database_quoted} RESET {name};"
            )
        case "command line" | "environment variable":
            return Fix(
                advice=f"{name}=off is on the server's command line (`postgres -c {name}=off` or "
                "`-F`): take it away there and restart."
            )
        case _:
            return alter_system(name, "on", managed_by, caution)
    return Fix(sql=sql, caution=caution)


def alter_system(name: str, value: str, managed_by: str | None, caution: str) -> Fix:
    """Set what a reload is enough for. Managed services keep ALTER SYSTEM to themselves."""
    if managed_by is not None:
        return Fix(
            advice=f"Set {name} = {value} among the parameters that {managed_by} lets you change.",
            caution=caution,
        )
    sql = f"ALTER SYSTEM SET {name} = {value};\nSELECT pg_reload_conf();"
    return Fix(sql=sql, caution=caution)


def tables_without_autovacuum(tables: Iterable[TableWithoutAutovacuum]) -> Iterator[Finding]:
    """setting.table_autovacuum_off, one a table."""
    for table in tables:
        yield Finding(
            code="setting.table_autovacuum_off",
            severity=Severity.warning,
            subject=table.name,
            title=f"Autovacuum is switched off for a table of {size(table.size_bytes)}",
            why="Its dead rows and stale statistics stay until somebody vacuums it by hand.",
            evidence={
                "size": Quantity(table.size_bytes, "bytes"),
                "rows": Quantity(table.rows_estimated, "rows"),
            },
            fix=Fix(
                sql=f"ALTER TABLE {table.quoted} RESET (autovacuum_enabled);",
                lock="SHARE UPDATE EXCLUSIVE",
                caution="Some bulk loads switch it off for their own duration.",
            ),
        )


def pending_restart(server: Server) -> Iterator[Finding]:
    """setting.pending_restart, one a setting whose new value waits for a restart."""
    for setting in server.settings.values():
        if not setting.pending_restart:
            continue
        yield Finding(
            code="setting.pending_restart",
            severity=Severity.info,
            subject=setting.name,
            title=f"A new value of {setting.name} waits for a restart",
            why="The configuration file says something else than what the server runs with: the "
            "change takes effect at the next restart, planned or not.",
            evidence={"running_with": Quantity(setting.value), "source": Quantity(setting.source)},
            # pg_ctl would take a server away from the systemd unit that watches it
            fix=Fix(
                advice="Restart the server when it suits, through what started it (systemctl, "
                "pg_ctlcluster, patronictl, the provider's console).",
                caution="Ends every connection.",
            ),
        )
