"""TLS as libpq's sslmode has it, against a server with a certificate of its own."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import asyncpg
import pytest

from conftest import lacking, running
from filban import pg
from filban.errors import ConnectError


def certificate(folder: Path, name: str, host: str) -> tuple[Path, Path]:
    """A self-signed certificate for `host` and its key."""
    openssl = shutil.which("openssl") or lacking("openssl")
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """(cluster, root certificate, another root certificate)"""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = certificate(folder, "server", "localhost")
    other, _ = certificate(folder, "other", "localhost")
    hba = (
        "hostssl all all 127.0.0.1/32 trust",
        "hostnossl all all 127.0.0.1/32 reject",
        "local all all trust",
    )
    with running(hba=hba) as cluster:
        owner = cluster.data_dir.stat()
        for file, name in ((cert, "server.crt"), (key, "server.key")):
            placed = cluster.data_dir / name
            shutil.copy(file, placed)
            placed.chmod(0o600)
            shutil.chown(placed, owner.st_uid, owner.st_gid)
        asyncio.run(switch_on(cluster.dsn_socket("postgres")))
        yield cluster, cert, other


async def switch_on(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    if not await connection.fetchval("SHOW ssl_library"):
        lacking("a PostgreSQL that is built with TLS")
    await connection.execute("ALTER SYSTEM SET ssl = on")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


async def encrypted(dsn: str) -> bool:
    async with pg.session(dsn) as session:
        return bool(
            await session.connection.fetchval(
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            )
        )


async def test_modes(tls):
    cluster, cert, other = tls
    address = pg.parse(cluster.dsn("postgres")).addresses[0]
    here = f"postgresql://postgres@localhost:{address.port}/postgres?sslmode="
    for mode in ("prefer", "require", "verify-ca", "verify-full"):
        root = f"&sslrootcert={cert}" if mode.startswith("verify") else ""
        assert await encrypted(here + mode + root), mode
    for mode in ("verify-ca", "verify-full"):
        with pytest.raises(ConnectError) as caught:
            await encrypted(f"{here}{mode}&sslrootcert={other}")
        assert caught.value.reason == "tls"
    by_number = here.replace("localhost", "127.0.0.1")
    with pytest.raises(ConnectError) as caught:
        await encrypted(f"{by_number}verify-full&sslrootcert={cert}")
    assert caught.value.reason == "tls"
    assert await encrypted(f"{by_number}verify-ca&sslrootcert={cert}")


async def test_without_tls_where_the_server_demands_it(tls):
    address = pg.parse(tls[0].dsn("postgres")).addresses[0]
    with pytest.raises(ConnectError) as caught:
        await encrypted(f"postgresql://postgres@{address}/postgres?sslmode=disable")
    assert caught.value.reason == "authentication"


async def test_a_root_certificate_that_is_not_there(tls):
    address = pg.parse(tls[0].dsn("postgres")).addresses[0]
    with pytest.raises(ConnectError) as caught:
        await encrypted(
            f"postgresql://postgres@{address}/postgres?sslmode=verify-full&sslrootcert=/no/such"
        )
    assert caught.value.reason in {"dsn", "tls", "unreachable"}
    assert caught.value.hint
