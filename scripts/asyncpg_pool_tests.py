"""Run asyncpg's own tests/test_pool.py against `filban.pool:create_pool`.

The tests come from asyncpg's source distribution (PyPI), of the version that is installed. They
start a PostgreSQL of their own, which refuses root: as root they run as the servers' user, in a
copy of what that user has to read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

from filban.cluster import find_binaries
from filban.cluster.owner import server_user

RUN = """
import sys, unittest
import asyncpg.pool, filban.pool, filban.pool.lease
asyncpg.pool.Pool = filban.pool.Pool
asyncpg.pool.create_pool = filban.pool.create_pool
asyncpg.create_pool = filban.pool.create_pool
asyncpg.pool.PoolConnectionProxy = filban.pool.lease.Lease
sys.argv[0] = "asyncpg's tests/test_pool.py"
unittest.main(module="tests.test_pool", argv=sys.argv)
"""


def sources(folder: Path) -> Path:
    """Download and unpack the source distribution of the installed asyncpg."""
    wanted = f"asyncpg=={version('asyncpg')}"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--no-binary", "asyncpg", "--dest", str(folder), wanted],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    [archive] = folder.glob("asyncpg-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return archive.with_name(archive.name.removesuffix(".tar.gz"))


def readable_by_all(folder: Path, source: Path) -> dict[str, str]:
    """Only the tests, beside the installed asyncpg and filban, where the servers' user may read."""
    shutil.copytree(source / "tests", folder / "tests")
    packages = folder / "packages"
    packages.mkdir()
    for module in ("asyncpg", "postgast", "google", "uvloop", "_postgresql.abi3.so"):
        place(module, packages)
    import filban

    shutil.copytree(Path(filban.__file__).parent, packages / "filban")
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return {"PYTHONPATH": f"{folder}:{packages}"}


def place(module: str, target: Path) -> None:
    """Copy a package or module from where this interpreter finds it; absent ones are optional."""
    for directory in map(Path, sys.path):
        found = directory / module
        if found.is_dir():
            shutil.copytree(found, target / module, dirs_exist_ok=True)
            return
        if found.is_file():
            shutil.copy(found, target / module)
            return


def main() -> int:
    binaries = find_binaries()
    with tempfile.TemporaryDirectory(prefix="filban-asyncpg-") as name:
        folder = Path(name)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("PG")},
            **readable_by_all(folder, sources(folder)),
            "PGINSTALLATION": str(binaries.bin_dir),
            "HOME": name,
            "TMPDIR": name,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        folder.chmod(0o777)
        user = server_user().uid if os.geteuid() == 0 else None
        command = [interpreter(user), "-c", RUN, *sys.argv[1:]]
        return subprocess.run(
            command, cwd=folder, env=environment, check=False, user=user
        ).returncode


def interpreter(user: int | None) -> str:
    """This Python, or the system's of the same version where `user` may not read this one."""
    if user is None:
        return sys.executable
    own = str(Path(sys.executable).resolve())
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (own, system):
        try:
            if subprocess.run([python, "-c", ""], user=user, cwd="/", check=False).returncode == 0:
                return python
        except OSError:
            continue
    sys.exit(f"the servers' user may read neither {own} nor {system}")


if __name__ == "__main__":
    sys.exit(main())
