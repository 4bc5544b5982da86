"""A data directory's files, read and changed: settings, pg_hba.conf, postmaster.pid."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filban.cluster.owner import Owner, owner_of
from filban.cluster.places import file_errors
from filban.errors import ClusterError, UsageError

Setting = str | int | float | bool | None

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")
_LINE = re.compile(
    r"^\s*(?P<name>[A-Za-z_][\w$.]*)\s*(?:=|\s)\s*(?P<value>'(?:[^']|'')*'|[^\s#']+)", re.MULTILINE
)
AUTO_CONF = "postgresql.auto.conf"


@dataclass(frozen=True, slots=True)
class PidFile:
    """postmaster.pid, line by line (src/include/utils/pidfile.h). `state` is "starting",
    "ready", "standby" or "stopping"; fields that are not written yet are None."""

    pid: int
    data_dir: str
    port: int | None
    socket_dir: str | None
    listen: str | None
    shared_memory_id: int | None
    state: str | None


def read_pid_file(data_dir: Path) -> PidFile | None:
    """postmaster.pid, or None where there is none (or none that is whole yet)."""
    try:
        lines = (data_dir / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise not_ours(data_dir) from error
    lines += [""] * (8 - len(lines))
    try:
        pid = abs(int(lines[0]))  # negative in single-user mode
    except ValueError:
        return None
    memory = lines[6].split()
    return PidFile(
        pid, lines[1], int(lines[3]) if lines[3].isdigit() else None, lines[4] or None,
        lines[5] or None, int(memory[1]) if len(memory) == 2 else None, lines[7].strip() or None,
    )  # fmt: skip


def not_ours(data_dir: Path) -> ClusterError:
    return ClusterError(
        f"{data_dir} belongs to another user and cannot be read",
        hint=f"run filban as its owner (sudo -u {_owner_name(data_dir)} …) or as root",
    )


def _owner_name(path: Path) -> str:
    with contextlib.suppress(OSError):
        return owner_of(path).name
    return "OWNER"


def read_setting(data_dir: Path, name: str) -> str | None:
    """A setting as the files in the data directory have it; include directives are not followed."""
    for file in (AUTO_CONF, "postgresql.conf"):
        value = _parse(_read(data_dir / file)).get(name)
        if value is not None:
            return value
    return None


def write_settings(data_dir: Path, settings: Mapping[str, Setting]) -> None:
    """Set (None: remove) settings in postgresql.auto.conf, which ALTER SYSTEM writes too and which
    overrides postgresql.conf wherever that is (Debian keeps it under /etc).

    Raises UsageError for what cannot be a setting.
    """
    merged = _parse(_read(data_dir / AUTO_CONF))
    for name, value in settings.items():
        merged.pop(name, None)
        if value is not None:
            merged[name] = _checked(name, value)
    body = "".join(f"{k} = '{_quoted(v)}'\n" for k, v in merged.items())
    write_file(data_dir / AUTO_CONF, "# Written by filban and by ALTER SYSTEM.\n" + body)


def write_file(path: Path, text: str) -> None:
    """Replace a file in a data directory as its owner's, in one step.

    By a rename: a symbolic link that the owner planted there is replaced, not followed by root.
    """
    owner: Owner = owner_of(path.parent)
    half = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with file_errors(f"{path} cannot be written"):
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(half, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            owner.take(half)
            half.replace(path)
        except BaseException:
            half.unlink(missing_ok=True)
            raise


def hba_text(lines: Sequence[str]) -> str:
    """pg_hba.conf: the given lines first (the first match counts), then this machine only."""
    ours = [
        f"{kind:<5} {database:<12} all {address:<13} trust"
        for database in ("all", "replication")
        for kind, address in (("local", ""), ("host", "127.0.0.1/32"), ("host", "::1/128"))
    ]
    return "\n".join([*lines, *ours]) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except PermissionError as error:
        raise not_ours(path.parent) from error


def _parse(text: str) -> dict[str, str]:
    """name -> value, the last one counting, as the server reads it."""
    found: dict[str, str] = {}
    for match in _LINE.finditer(text):
        value = match["value"]
        if value.startswith("'"):
            value = value[1:-1].replace("''", "'").replace("\\\\", "\\")
        found.pop(match["name"], None)
        found[match["name"]] = value
    return found


def _checked(name: str, value: Setting) -> str:
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    if not _NAME.fullmatch(name) or "\n" in text or "\0" in text:
        raise UsageError(
            f"not a PostgreSQL setting: {name}", hint="a name, and a value on one line"
        )
    return text


def _quoted(value: str) -> str:
    # guc-file.l unescapes backslashes inside quotes, so that they are doubled as well.
    return value.replace("\\", "\\\\").replace("'", "''")
