"""The password file (`~/.pgpass`), read as libpq reads it.

Source: PostgreSQL documentation 34.16: one `host:port:database:user:password` a line, `*` matches
anything, backslash escapes `:` and `\\`, and a file that others may read is not used.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path

_FIELD = re.compile(r"((?:[^:\\]|\\.)*)(?::|$)")


def default_path() -> Path:
    return Path(os.environ.get("PGPASSFILE") or Path.home() / ".pgpass")


def lookup(
    file: str | None, hosts: Sequence[str], port: int, database: str, user: str
) -> str | None:
    """The password of the first line that matches any of `hosts`, or None."""
    path = Path(file) if file else default_path()
    lines = _lines(path)
    for line in lines:
        fields = [_unescaped(f) for f in _FIELD.findall(line)[:4]]
        if len(fields) < 4:
            continue
        wanted = (hosts, [str(port)], [database], [user])
        if all(f == "*" or f in w for f, w in zip(fields, wanted, strict=True)):
            return _unescaped(_after_fields(line))
    return None


def _after_fields(line: str) -> str:
    at = 0
    for _ in range(4):
        match = _FIELD.match(line, at)
        if match is None:
            return ""
        at = match.end()
    return line[at:]


def _lines(path: Path) -> list[str]:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return []
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            warnings.warn(
                f"the password file {path} is not used: others may read it (chmod 600 {path})",
                stacklevel=2,
            )
            return []
        text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    except OSError:  # absent or unreadable: there is no password here, which libpq also accepts
        return []
    # only a newline ends a line for libpq; splitlines() knows a dozen others
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def line(host: str, port: int | str, database: str, user: str, password: str) -> str:
    """One line of a password file, escaped."""
    return ":".join(
        re.sub(r"([:\\])", r"\\\1", str(part)) for part in (host, port, database, user, password)
    )
