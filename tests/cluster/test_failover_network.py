"""A host that is gone without a word (no RST, no FIN), and Patroni's own word for who there is."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import lacking
from filban.errors import ConnectError
from filban.pool.routing import Patroni, connect
from routed import PATIENT, caught_up, eventually, run


async def test_a_black_hole_is_noticed_by_deadlines_and_by_the_kernel():
    """Otherwise the statement would hang for the kernel's 15 minutes. Packets are dropped in a
    network namespace that only the script lives in."""
    if os.getuid() != 0:
        lacking("root, for a network namespace")
    for program in ("unshare", "nft", "ip"):
        if shutil.which(program) is None and shutil.which(program, path="/usr/sbin:/sbin") is None:
            lacking(program)
    script = Path(__file__).with_name("black_hole.py")
    process = await asyncio.create_subprocess_exec(
        "unshare", "--net", sys.executable, str(script),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 110)
    assert process.returncode == 0, err.decode()
    said = json.loads(out)
    assert said["read"] is True  # by the standby, while there was no primary
    assert said["rows"] == 1  # what was written into the hole is not there
    assert said["noticed"] < 60
    assert said["kernel"] < 60


class Answering(BaseHTTPRequestHandler):
    """Patroni's GET /cluster, from the server object's `members`; as Patroni 4.1.5 writes it."""

    def do_GET(self) -> None:
        body = json.dumps({"members": self.server.members, "scope": "demo"}).encode()
        self.send_response(200 if self.path == "/cluster" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def rest_api() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.members = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def member(cluster, *, leader: bool) -> dict:
    told = {
        "name": f"n{cluster.port}",
        "role": "leader" if leader else "replica",
        "state": "running" if leader else "streaming",
        "api_url": "http://127.0.0.1:59449/patroni",
        "host": "127.0.0.1",
        "port": cluster.port,
        "timeline": 1,
    }
    lsn = {"receive_lag": 0, "receive_lsn": "0/3000000", "lag": 0, "lsn": "0/3000000"}
    return told if leader else told | lsn


async def test_members_come_and_go_as_patroni_says(rest_api, primary_standby):
    """Who leads is asked of the servers: what Patroni says of roles may be old."""
    primary, standby = primary_standby.primary, primary_standby.standby
    await run(primary, "CREATE TABLE IF NOT EXISTS members(i int)")
    await caught_up(primary, standby)
    rest_api.members = [member(primary, leader=False)]
    here = f"http://127.0.0.1:{rest_api.server_port}"
    dead = "http://127.0.0.1:1"
    patroni = Patroni([dead, here], refresh=0.1)
    async with connect("user=postgres dbname=postgres", patroni=patroni, policy=PATIENT) as router:
        assert router.primary == f"127.0.0.1:{primary.port}"
        rest_api.members = [member(standby, leader=True), member(primary, leader=False)]
        await eventually(lambda: sum(not s.out for s in router.servers()) == 2)
        async with router.read() as connection:
            assert await connection.fetchval("SELECT pg_is_in_recovery()")
        rest_api.members = [member(primary, leader=True)]
        await eventually(lambda: len(router.servers()) == 1)
        assert not await router.fetchval("SELECT pg_is_in_recovery()")


async def test_no_rest_api_is_said_as_such():
    with pytest.raises(ConnectError, match="no Patroni REST API answers"):
        await connect("user=postgres dbname=postgres", patroni=["http://127.0.0.1:1"])
