"""filban.toml: what a team writes down once. Standard library only.

    dsn = "service=news"                 # or [servers.NAME] dsn = "…"
    [check]
    fail_on = "critical"
    ignore = ["index.unused:public.articles_old_idx"]
    [check.thresholds]
    long_transaction_seconds = 300
    [backup]
    repo = "/backup/news"
    [drill]
    max_age_days = 7
    [[drill.assertions]]
    name = "orders have customers"
    sql = "SELECT NOT EXISTS (SELECT FROM orders WHERE customer_id IS NULL)"

Unknown keys are errors: a misspelt setting that is silently ignored is worse than none.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filban.errors import ConfigError
from filban.finding import Ignore, Severity

FILE_NAME = "filban.toml"


@dataclass(frozen=True, slots=True)
class CheckConfig:
    """fail_on: from which severity on `filban check` ends with 1; None is never."""

    fail_on: Severity | None = Severity.critical
    ignore: tuple[Ignore, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assertion:
    """A statement of the user's for drills: the first column of its first row has to be true."""

    name: str
    sql: str
    database: str | None = None


@dataclass(frozen=True, slots=True)
class DrillConfig:
    """max_age_days: a repository whose last passed drill is older is a critical finding."""

    max_age_days: float = 7.0
    assertions: tuple[Assertion, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """What filban.toml says; the defaults where it says nothing. `path` is None without a file."""

    path: Path | None = None
    dsn: str | None = None
    servers: Mapping[str, str] = field(default_factory=dict)
    check: CheckConfig = field(default_factory=CheckConfig)
    repo: str | None = None
    drill: DrillConfig = field(default_factory=DrillConfig)

    def dsn_of(self, name: str | None) -> str | None:
        """A server's DSN by its name in [servers], else the name itself, else the default."""
        if name is None:
            return self.dsn
        return self.servers.get(name, name)


def find(start: Path | None = None) -> Path | None:
    """$FILBAN_CONFIG, else the nearest filban.toml from `start` upwards."""
    explicit = os.environ.get("FILBAN_CONFIG")
    if explicit:
        return Path(explicit)
    here = (start or Path.cwd()).resolve()
    return next((d / FILE_NAME for d in (here, *here.parents) if (d / FILE_NAME).is_file()), None)


def load(path: Path | None = None) -> Config:
    """Read `path`, or the file that `find` finds, or nothing. Raises ConfigError."""
    path = path or find()
    if path is None:
        return Config()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return _config(path, document)


def _config(path: Path, document: Mapping[str, Any]) -> Config:
    _known(path, "", document, ("dsn", "servers", "check", "backup", "drill"))
    servers = _table(path, document, "servers")
    return Config(
        path=path,
        dsn=_text(path, "dsn", document["dsn"]) if "dsn" in document else None,
        servers={name: _server(path, name, value) for name, value in servers.items()},
        check=_check(path, _table(path, document, "check")),
        repo=_backup(path, _table(path, document, "backup")),
        drill=_drill(path, _table(path, document, "drill")),
    )


def _backup(path: Path, table: Mapping[str, Any]) -> str | None:
    _known(path, "backup", table, ("repo",))
    return _text(path, "backup.repo", table["repo"]) if "repo" in table else None


def _drill(path: Path, table: Mapping[str, Any]) -> DrillConfig:
    _known(path, "drill", table, ("max_age_days", "assertions"))
    days = table.get("max_age_days", DrillConfig().max_age_days)
    if not isinstance(days, int | float) or isinstance(days, bool) or not 0 < days < math.inf:
        raise _wrong(path, "drill.max_age_days", "a number above 0")
    listed = table.get("assertions", [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise _wrong(path, "drill.assertions", "tables, each under [[drill.assertions]]")
    return DrillConfig(float(days), tuple(_assertion(path, one) for one in listed))


def _assertion(path: Path, table: Mapping[str, Any]) -> Assertion:
    where = "drill.assertions"
    _known(path, where, table, ("name", "sql", "database"))
    database = table.get("database")
    return Assertion(
        name=_text(path, f"{where}.name", table.get("name")),
        sql=_text(path, f"{where}.sql", table.get("sql")),
        database=None if database is None else _text(path, f"{where}.database", database),
    )


def _server(path: Path, name: str, value: object) -> str:
    if isinstance(value, dict):
        _known(path, f"servers.{name}", value, ("dsn",))
        value = value.get("dsn")
    return _text(path, f"servers.{name}.dsn", value)


def _check(path: Path, table: Mapping[str, Any]) -> CheckConfig:
    _known(path, "check", table, ("fail_on", "ignore", "thresholds"))
    ignore = table.get("ignore", [])
    if not isinstance(ignore, list):
        raise _wrong(path, "check.ignore", "a list of CODE or CODE:SUBJECT")
    thresholds = _table(path, table, "thresholds")
    for name, value in thresholds.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value < math.inf:  # TOML knows nan and inf
            raise _wrong(path, f"check.thresholds.{name}", "a number, 0 or more")
    return CheckConfig(
        fail_on=fail_on(_text(path, "check.fail_on", table.get("fail_on", "critical"))),
        ignore=tuple(Ignore.parse(_text(path, "check.ignore", i)) for i in ignore),
        thresholds=thresholds,
    )


def fail_on(text: str) -> Severity | None:
    """A severity by its name, None for "never". Raises ConfigError that lists the names."""
    if text == "never":
        return None
    try:
        return Severity[text]
    except KeyError:
        names = ", ".join(str(s) for s in sorted(Severity, reverse=True))
        raise ConfigError(f'"{text}" is not a severity', hint=f"one of: {names}, never") from None


def _known(path: Path, where: str, table: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            full = f"{where}.{key}" if where else key
            hint = f'did you mean "{near[0]}"?' if near else "known here: " + ", ".join(names)
            raise ConfigError(f'{path}: unknown key "{full}"', hint=hint)


def _table(path: Path, table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise _wrong(path, key, "a table")
    return value


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(path, key, "a text")
    return value


def _wrong(path: Path, key: str, wanted: str) -> ConfigError:
    return ConfigError(f'{path}: "{key}" must be {wanted}')
