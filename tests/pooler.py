"""PgBouncer in front of a server of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from conftest import lacking
from filban.cluster import free_port


@contextlib.asynccontextmanager
async def bouncer(port: int, *options: str):
    """PgBouncer in front of a server, in transaction mode; its port.

    `options`: lines of its ini."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        lacking("pgbouncer")
    listen = free_port()
    # Not pytest's folder: where we are root, PgBouncer is not, and could not look into it.
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users").write_text('"postgres" ""\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={port}\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
            f"listen_port={listen}\nunix_socket_dir=\nauth_type=trust\nauth_file={folder}/users\n"
            "pool_mode=transaction\n" + "\n".join(options)
        )
        async with _running(program, folder / "ini"):
            yield listen


@contextlib.asynccontextmanager
async def _running(program: str, ini: Path):
    user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    process = await asyncio.create_subprocess_exec(
        program, str(ini), stderr=asyncio.subprocess.PIPE, **user
    )
    said = b""
    while b"process up" not in said:
        line = await process.stderr.readline()
        assert line, said.decode()  # it has ended
        said += line
    drain = asyncio.create_task(process.stderr.read())
    try:
        yield
    finally:
        process.kill()
        await process.wait()
        await drain
