"""The same as an ordinary user, and as root in a container that may not look into processes."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import asyncpg
import pytest

import filban
from filban.cluster.owner import Owner

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")

# Everything that needs to know a process or to write a file, in one go.
PROGRAM = """
import asyncio, os, signal, sys
import asyncpg
from filban.cluster import Cluster, leftovers, process, throwaway
from filban.cluster.places import cache_dir
async def main():
    async with throwaway() as cluster:
        base = cluster.data_dir.parent
        standby = await cluster.standby()
        assert Cluster.open(standby.data_dir).status().running
        connection = await asyncpg.connect(cluster.dsn_socket())
        assert await connection.fetchval("SHOW data_directory") == str(cluster.data_dir)
        backend = await connection.fetchval("SELECT pg_backend_pid()")
        assert backend in cluster.processes()
        await cluster.kill()
        assert not process.alive(backend)
        await cluster.start()
        pids = [cluster.status().pid, standby.status().pid]
        # As if this program had been killed: its file names one that is gone.
        child = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(child, 0)
        state = cache_dir("running") / f"{base.name.removeprefix('filban-')}.json"
        state.write_text(state.read_text().replace(f'"pid": {os.getpid()},', f'"pid": {child},'))
        [left] = [x for x in leftovers() if x.base == base]
        assert sorted(left.postmasters) == sorted(pids), (left, pids)
        async with throwaway():
            pass
        assert not any(map(process.alive, pids))
        assert not base.exists()
asyncio.run(main())
print("uid", os.geteuid(), "fine")
"""


def _run(command: list[str], python: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **env}
    return subprocess.run(
        [*command, python, "-W", "error", "-c", PROGRAM],
        capture_output=True, text=True, cwd="/", env=environment,
    )  # fmt: skip


def test_root_without_the_right_to_look_into_processes():
    """In a container without CAP_SYS_PTRACE root cannot read what /proc links to."""
    done = _run(["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"], sys.executable)
    assert done.stdout == "uid 0 fine\n", done.stderr


def _python_for(user: Owner) -> str | None:
    """A Python of our version (asyncpg is compiled for it) that this user can run."""
    wanted = f"{sys.version_info[0]}.{sys.version_info[1]}"
    places = [sys.executable, f"/usr/bin/python{wanted}", f"/usr/local/bin/python{wanted}"]
    usable = (p for p in places if Path(p).exists() and user.reaches(Path(p)))
    return next(usable, None)


def test_an_ordinary_user():
    entry = pwd.getpwnam("nobody")
    user = Owner(entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir)
    python = _python_for(user)
    if python is None:
        pytest.skip(f"no Python {sysconfig.get_python_version()} that an ordinary user can run")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        home = Path(name)
        for package in (filban, asyncpg):
            source = Path(package.__file__).parent
            shutil.copytree(source, home / "lib" / source.name)
        user.take(home)
        done = _run(
            list(user.prefix()), python, PYTHONPATH=f"{home}/lib", HOME=name, TMPDIR=name,
            PYTHONDONTWRITEBYTECODE="1",
        )  # fmt: skip
        assert done.stdout == f"uid {user.uid} fine\n", done.stderr
        assert (home / ".cache" / "filban" / "templates").is_dir()
