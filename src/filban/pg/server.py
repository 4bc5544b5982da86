"""`Server`: what one live server is and what the connected role may see. Probed once, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any


class Cap(Enum):
    """What a feature may ask for: (what it is, first major, right, extension).

    No feature compares version numbers itself. Rights: "superuser", "read_all_stats" (pg_monitor
    or pg_read_all_stats), "read_all_settings", "signal_backend", "replication"; "" is anybody.
    """

    READ_ALL_STATS = ("other sessions' activity and statistics", 0, "read_all_stats", "")
    READ_ALL_SETTINGS = ("every setting", 0, "read_all_settings", "")
    SIGNAL_BACKEND = ("cancel and terminate", 0, "signal_backend", "")
    SUPERUSER = ("everything", 0, "superuser", "")
    REPLICATION = ("replication connections", 0, "replication", "")
    STATEMENTS = ("pg_stat_statements", 0, "", "pg_stat_statements")
    PGSTATTUPLE = ("exact bloat", 0, "read_all_stats", "pgstattuple")
    HYPOPG = ("hypothetical indexes", 0, "", "hypopg")
    AMCHECK = ("index and heap verification", 0, "superuser", "amcheck")
    DATABASE_COLLATION_VERSION = ("pg_database.datcollversion", 15, "", "")
    MERGE = ("MERGE", 15, "", "")
    GENERIC_PLAN = ("EXPLAIN (GENERIC_PLAN)", 16, "", "")
    LAST_INDEX_SCAN = ("pg_stat_all_indexes.last_idx_scan", 16, "", "")
    STAT_IO = ("pg_stat_io", 16, "", "")
    CHECKPOINTER_VIEW = ("pg_stat_checkpointer, split off pg_stat_bgwriter", 17, "", "")
    INCREMENTAL_BACKUP = ("pg_basebackup --incremental", 17, "", "")
    FAILOVER_SLOTS = ("logical slots that follow a failover", 17, "", "")
    SKIP_SCAN = ("btree skip scan", 18, "", "")
    VACUUM_TIMES = ("pg_stat_all_tables.total_vacuum_time", 18, "", "")

    def __init__(self, what: str, major: int, right: str, extension: str) -> None:
        self.what = what
        self.major = major
        self.right = right
        self.extension = extension


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of pg_settings. `value` is in `unit` (PostgreSQL's own: 8kB, ms, kB …)."""

    name: str
    value: str
    unit: str | None
    source: str
    boot_value: str | None
    context: str
    pending_restart: bool

    def number(self) -> float:
        return float(self.value)

    def bytes(self) -> int:
        """The value in bytes. Raises ValueError for a unit that is not one of size."""
        sizes = {"B": 1, "kB": 1024, "8kB": 8192, "16kB": 16384, "MB": 1024**2}
        if self.unit not in sizes:
            raise ValueError(f"{self.name} is not a size")
        return int(self.value) * sizes[self.unit]

    def seconds(self) -> float:
        """The value in seconds. Raises ValueError for a unit that is not one of time."""
        spans = {"ms": 0.001, "s": 1.0, "min": 60.0}
        if self.unit not in spans:
            raise ValueError(f"{self.name} is not a time")
        return float(self.value) * spans[self.unit]

    @property
    def on(self) -> bool:
        return self.value == "on"


@dataclass(frozen=True, slots=True)
class Extension:
    """installed_version is None when only available, default_version when its files are gone."""

    name: str
    installed_version: str | None
    default_version: str | None
    schema_quoted: str | None


# A role, setting or version text that a managed service leaves behind -> the service's name.
_SIGNS = {
    "rdsadmin": "Amazon RDS",
    "cloudsqladmin": "Google Cloud SQL",
    "alloydbsuperuser": "Google AlloyDB",
    "azuresu": "Azure Database",
    "azure_pg_admin": "Azure Database",
    "neon_superuser": "Neon",
    "supabase_admin": "Supabase",
    "doadmin": "DigitalOcean",
    "aiven": "Aiven",
    "_heroku_admin": "Heroku",
    "crunchy_superuser": "Crunchy Bridge",
    "tsdbadmin": "Timescale Cloud",
    "streaming_replica": "CloudNativePG",
}


@dataclass(frozen=True, slots=True)
class Server:
    """One live server as one role sees it."""

    version_num: int
    version_text: str
    version_full: str
    in_recovery: bool
    database: str
    role: str
    superuser: bool
    replication: bool
    monitor: bool
    read_all_stats: bool
    read_all_settings: bool
    signal_backend: bool
    owner: str
    started_at: datetime
    server_time: datetime
    encoding: str
    lc_collate: str
    lc_ctype: str
    known_roles: tuple[str, ...]
    system_identifier: int | None
    timeline: int | None
    extensions: Mapping[str, Extension]
    settings: Mapping[str, Setting]
    pooled: bool = False

    @property
    def major(self) -> int:
        return self.version_num // 10000

    @property
    def kind(self) -> str:
        """`primary` or `standby`."""
        return "standby" if self.in_recovery else "primary"

    @property
    def managed_by(self) -> str | None:
        """The managed service or operator that runs it, by the signs it leaves, or None."""
        if "aurora" in self.version_full.lower() or "aurora_version" in self.settings:
            return "Amazon Aurora"
        return next((_SIGNS[r] for r in self.known_roles if r in _SIGNS), None)

    @property
    def rights(self) -> str:
        """The strongest name for what this role may see."""
        if self.superuser:
            return "superuser"
        if self.monitor:
            return "pg_monitor"
        return "pg_read_all_stats" if self.read_all_stats else "plain"

    def has(self, cap: Cap) -> bool:
        """Whether version, rights and extensions allow it."""
        if self.major < cap.major:
            return False
        if cap.right and not (self.superuser or getattr(self, cap.right)):
            return False
        return not cap.extension or self.installed(cap.extension) is not None

    def installed(self, extension: str) -> Extension | None:
        found = self.extensions.get(extension)
        return found if found is not None and found.installed_version else None

    def available(self, extension: str) -> bool:
        return extension in self.extensions

    def setting(self, name: str) -> Setting | None:
        """None when this version has no such setting or this role may not see it."""
        return self.settings.get(name)

    def facts(self) -> dict[str, Any]:
        """What a report says about the server, JSON-able."""
        return {
            "version": self.version_text,
            "role": self.kind,
            "database": self.database,
            "connected_as": self.role,
            "rights": self.rights,
            "managed_by": self.managed_by,
            "behind_pooler": self.pooled,
            "system_identifier": None
            if self.system_identifier is None
            else str(self.system_identifier),
            "timeline": self.timeline,
            "started_at": self.started_at.isoformat(),
            "encoding": self.encoding,
            "lc_collate": self.lc_collate,
            "lc_ctype": self.lc_ctype,
            "extensions": {
                e.name: e.installed_version for e in self.extensions.values() if e.installed_version
            },
        }
