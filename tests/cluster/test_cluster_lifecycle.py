"""Clusters made, started, configured, stopped, killed and removed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import asyncpg
import pytest

from filban.cluster import Cluster, config, process, run_program, throwaway
from filban.cluster import cluster as cluster_module
from filban.cluster.owner import server_user
from filban.errors import ClusterBusy, ClusterError, DiskFull

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
async def own():
    """A running cluster that the test may break for good."""
    async with throwaway() as started:
        yield started


@pytest.fixture(scope="module")
def shared():
    """A cluster for the tests that leave it whole."""
    with asyncio.Runner() as runner:
        manager = throwaway()
        yield runner.run(manager.__aenter__())
        runner.run(manager.__aexit__(None, None, None))


@pytest.fixture
async def cluster(shared):
    """The shared cluster, running; it gets its settings back and is restarted if need be."""
    file = shared.data_dir / config.AUTO_CONF
    before = file.read_text()
    yield shared
    if file.read_text() != before:
        await shared.stop()
        config.write_file(file, before)
    await shared.start()


async def _ask(dsn: str, sql: str = "SELECT 1"):
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_start_stop_status_restart(cluster):
    first = cluster.status()
    assert (first.running, first.state, first.port) == (True, "ready", cluster.port)
    await cluster.start()  # nothing to do
    assert cluster.status().pid == first.pid
    await cluster.restart()
    assert cluster.status().pid != first.pid
    port = cluster.port
    for mode in ("smart", "fast", "immediate"):
        await cluster.stop(mode)
        await cluster.stop()  # nothing to do
        assert cluster.status() == cluster_module.ClusterStatus(False, "stopped")
        await cluster.start()
        assert await _ask(cluster.dsn()) == 1
    assert cluster.port == port


async def test_a_smart_stop_waits_and_says_what_to_do(cluster):
    connection = await asyncpg.connect(cluster.dsn())
    try:
        with pytest.raises(ClusterError, match="still runs after") as caught:
            await cluster.stop("smart", timeout=0.2)
        assert "mode fast" in caught.value.hint
        assert cluster.status().state == "stopping"
        starting = asyncio.create_task(cluster.start())
        await asyncio.sleep(0.1)
    finally:
        connection.terminate()
    await starting
    assert await _ask(cluster.dsn()) == 1


async def test_configure_and_alter_system_live_together(cluster):
    odd = r"it's a \ back'slash"
    await _ask(cluster.dsn(), "ALTER SYSTEM SET work_mem = '7MB'")
    cluster.configure({"filban.odd": odd, "jit": False, "maintenance_work_mem": "65MB"})
    await cluster.restart()
    assert await _ask(cluster.dsn(), "SHOW work_mem") == "7MB"
    assert await _ask(cluster.dsn(), "SHOW filban.odd") == odd
    assert await _ask(cluster.dsn(), "SHOW jit") == "off"
    await _ask(cluster.dsn(), "ALTER SYSTEM SET work_mem = '8MB'")
    cluster.configure({"jit": None})
    await cluster.reload()
    assert await _ask(cluster.dsn(), "SHOW work_mem") == "8MB"
    assert await _ask(cluster.dsn(), "SHOW jit") == "on"
    assert await _ask(cluster.dsn(), "SHOW maintenance_work_mem") == "65MB"


async def test_reload_of_a_stopped_cluster_is_an_error(cluster):
    await cluster.stop()
    with pytest.raises(ClusterError, match="no server runs"):
        await cluster.reload()


async def test_without_tcp_it_listens_on_the_socket_alone():
    async with throwaway(tcp=False) as cluster:
        assert await _ask(cluster.dsn()) == 1
        with pytest.raises(ConnectionRefusedError):
            await asyncpg.connect(host="127.0.0.1", port=cluster.port, user="postgres")
        standby = await cluster.standby()
        assert await _ask(standby.dsn(), "SELECT pg_is_in_recovery()")


async def test_hba_lines_count_before_ours():
    hba = ["host all asks_password 127.0.0.1/32 scram-sha-256"]
    async with throwaway(hba=hba) as cluster:
        await _ask(cluster.dsn(), "CREATE ROLE asks_password LOGIN PASSWORD 'secret'")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(cluster.dsn(user="asks_password"), password="wrong")
        connection = await asyncpg.connect(cluster.dsn(user="asks_password"), password="secret")
        await connection.close()


async def test_clusters_of_one_template_are_different_clusters(cluster):
    system = "SELECT system_identifier FROM pg_control_system()"
    async with throwaway() as other:
        assert await _ask(cluster.dsn(), system) != await _ask(other.dsn(), system)
    assert await _ask(cluster.dsn(), "SHOW data_checksums") == "on"


async def test_without_checksums_and_template():
    async with throwaway(checksums=False, template_cache=False) as cluster:
        assert await _ask(cluster.dsn(), "SHOW data_checksums") == "off"


async def test_utf8_whatever_the_locale_of_the_machine(every_major):
    assert await _ask(every_major.dsn(), "SHOW server_encoding") == "UTF8"
    assert await _ask(every_major.dsn(), "SELECT lower('É') = 'é'")


@pytest.mark.parametrize("name", ["with space, comma", "quo'te\"d", "long" * 30])
async def test_directories_with_odd_names(cluster, name):
    made = await Cluster.create(cluster.data_dir.with_name(name), durable=False)
    try:
        await made.start()
        assert await _ask(made.dsn()) == 1
        assert await _ask(made.dsn_socket()) == 1
        assert Cluster.open(made.data_dir).port == made.port
    finally:
        sockets = made.socket_dir
        await made.remove()
    assert not any(p.exists() for p in (made.data_dir, made.log_file, sockets))


async def test_a_directory_that_is_not_empty_is_refused_and_left_alone(cluster):
    before = sorted(cluster.data_dir.iterdir())
    with pytest.raises(ClusterBusy, match="not empty"):
        await Cluster.create(cluster.data_dir)
    assert sorted(cluster.data_dir.iterdir()) == before


async def test_a_failed_creation_leaves_nothing(cluster):
    path = cluster.data_dir.with_name("other")
    before = sorted(path.parent.iterdir())
    with pytest.raises(ClusterError, match="initdb"):
        await Cluster.create(path, locale="no_such_locale")
    assert sorted(path.parent.iterdir()) == before


async def test_open_of_no_cluster(tmp_path):
    with pytest.raises(ClusterError, match="no PG_VERSION"):
        Cluster.open(tmp_path)


async def test_open_finds_the_running_server(cluster):
    known = Cluster.open(cluster.data_dir)
    assert known.dsn() == cluster.dsn()
    assert known.dsn_socket() == cluster.dsn_socket()
    assert known.status().pid == cluster.status().pid
    await known.stop()
    assert not cluster.status().running


# Why it does not start


@pytest.mark.parametrize(
    ("settings", "says", "hint"),
    [
        ({"no_such_setting": 1}, "unrecognized configuration parameter", "correct the setting"),
        ({"max_connections": 0}, "outside the valid range", "correct the setting"),
        ({"shared_preload_libraries": "no_such"}, "no_such", "not installed"),
        ({"shared_buffers": "1000GB"}, "shared memory", "lower shared_buffers"),
    ],
)
async def test_a_start_that_fails_says_why(cluster, settings, says, hint):
    await cluster.stop()
    cluster.configure(settings)
    with pytest.raises(ClusterError, match=says) as caught:
        await cluster.start()
    assert hint in caught.value.hint
    assert not process.working_in(cluster.data_dir)
    cluster.configure(dict.fromkeys(settings))
    await cluster.start()


async def test_a_failure_in_the_collected_log_is_shown(own):
    await own.stop()
    own.configure({"logging_collector": True, "recovery_target_time": "x", "log_directory": "log"})
    (own.data_dir / "standby.signal").touch()
    (own.data_dir / "recovery.signal").touch()
    shutil.rmtree(own.data_dir / "pg_wal")
    with pytest.raises(ClusterError, match=r"recovery_target_time|pg_wal"):
        await own.start()


async def test_other_versions_files(cluster, majors):
    if len(majors) < 2:
        pytest.skip("this machine has no second PostgreSQL major")
    await cluster.stop()
    other = next(b for m, b in majors.items() if m != cluster.binaries.major)
    with pytest.raises(ClusterError, match="incompatible") as caught:
        await Cluster.open(cluster.data_dir, binaries=other).start()
    assert "PG_VERSION" in caught.value.hint
    assert Cluster.open(cluster.data_dir).binaries.major == cluster.binaries.major


@as_root
async def test_a_wrong_owner(cluster):
    await cluster.stop()
    os.chown(cluster.data_dir, 65534, -1)
    try:
        with pytest.raises(ClusterError, match=r"ermission denied|wrong ownership"):
            await cluster.start()
    finally:
        server_user().take(cluster.data_dir)


async def test_a_port_that_the_user_chose_and_somebody_has(cluster):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cluster.configure({"port": taken.getsockname()[1]})
        with pytest.raises(ClusterBusy, match="could not bind") as caught:
            await cluster.restart()
    assert "another port" in caught.value.hint


async def test_a_port_of_ours_that_somebody_took_is_replaced(cluster, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy, free = taken.getsockname()[1], cluster_module.free_port()
        answers = iter([busy, busy, free])
        monkeypatch.setattr(cluster_module, "free_port", lambda: next(answers))
        other = await Cluster.create(cluster.data_dir.with_name("other"), durable=False)
        await other.start()
        assert other.port == free
        assert await _ask(other.dsn()) == 1


@pytest.fixture
async def slow(own):
    """A stopped cluster whose start takes for ever: it waits for WAL from an archive."""
    await own.stop()
    own.configure({"restore_command": "sleep 1000"})
    (own.data_dir / "recovery.signal").touch()
    return own


async def test_a_start_that_takes_too_long_is_ended(slow):
    with pytest.raises(ClusterError, match=r"not accept connections after 0\.3 seconds") as caught:
        await slow.start(timeout=0.3)
    assert "give more time" in caught.value.hint
    assert not process.working_in(slow.data_dir)


async def test_a_cancelled_start_leaves_no_process(slow):
    task = asyncio.create_task(slow.start())
    while not slow.status().running:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not process.working_in(slow.data_dir)


async def test_a_start_that_is_not_waited_for(slow):
    await slow.start(wait=False)
    while not slow.status().running:
        await asyncio.sleep(0.01)
    assert slow.status().state == "starting"


# Killed, paused, stale


async def test_kill_leaves_no_process_and_the_next_start_recovers(cluster):
    await _ask(cluster.dsn(), "CREATE TABLE kept AS SELECT 1 AS n")
    connection = await asyncpg.connect(cluster.dsn())
    await cluster.kill()
    assert not process.working_in(cluster.data_dir)
    assert not cluster.status().running
    connection.terminate()
    await cluster.start()
    assert await _ask(cluster.dsn(), "SELECT n FROM kept") == 1


async def test_pause_and_resume(cluster):
    cluster.pause()
    with pytest.raises(TimeoutError):
        await asyncpg.connect(cluster.dsn(), timeout=0.5)
    cluster.resume()
    assert await _ask(cluster.dsn()) == 1


async def test_a_pid_file_whose_pid_another_program_has(cluster):
    await cluster.kill()
    file = cluster.data_dir / "postmaster.pid"
    owner = server_user()
    bystander = subprocess.Popen([*owner.prefix(), "sleep", "1000"], cwd="/")
    try:
        while process.arguments(bystander.pid)[:1] != ["sleep"]:
            await asyncio.sleep(0.01)
        lines = file.read_text().splitlines()
        file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        assert not cluster.status().running
        await cluster.start()
        assert await _ask(cluster.dsn()) == 1
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_backend_that_outlives_its_postmaster_keeps_others_from_starting(
    cluster, monkeypatch
):
    monkeypatch.setattr("filban.cluster.startup.ORPHAN_SECONDS", 0.2)
    connection = await asyncpg.connect(cluster.dsn())
    backend = await connection.fetchval("SELECT pg_backend_pid()")
    postmaster = cluster.status().pid
    process.send([backend], signal.SIGSTOP)  # or it would see that its postmaster is gone
    process.send([postmaster], signal.SIGKILL)
    assert await process.gone([postmaster], 10)
    try:
        with pytest.raises(ClusterBusy, match=f"without a postmaster: {backend}"):
            await cluster.start()
        assert backend in cluster.processes()
    finally:
        await cluster.kill()
        connection.terminate()
    await cluster.start()


# Standbys


async def test_a_standby_with_a_slot_and_a_name(own):
    standby = await own.standby(slot="s1", name="blue green", settings={"work_mem": "5MB"})
    assert standby.port != own.port
    assert await _ask(standby.dsn(), "SHOW work_mem") == "5MB"
    row = (
        "SELECT application_name || ' ' || slot_name FROM pg_stat_replication, pg_replication_slots"
    )
    while (found := await _ask(own.dsn(), row)) is None:  # it may not have connected yet
        await asyncio.sleep(0.05)
    assert found == "blue green s1"


async def test_a_slot_of_somebody_else_is_left_alone(own):
    await _ask(own.dsn(), "SELECT pg_create_physical_replication_slot('s1')")
    with pytest.raises(ClusterBusy, match='slot "s1" already'):
        await own.standby(slot="s1")
    assert await _ask(own.dsn(), "SELECT count(*) FROM pg_replication_slots") == 1


async def test_several_standbys_at_once(own):
    """Each copy's checkpoint may remove the WAL that another one has just begun to need."""
    copies = await asyncio.gather(*(own.standby() for _ in range(3)))
    assert len({copy.port for copy in copies}) == 3
    for copy in copies:
        assert await _ask(copy.dsn(), "SELECT pg_is_in_recovery()")
        await copy.remove()


async def test_a_standby_that_fails_leaves_no_slot_and_no_directory(own):
    before = sorted(own.data_dir.parent.glob("data*"))
    with pytest.raises(ClusterError):
        await own.standby(slot="s1", settings={"no_such_setting": 1})
    assert await _ask(own.dsn(), "SELECT count(*) FROM pg_replication_slots") == 0
    left = set(own.data_dir.parent.glob("data*")) - set(before)
    assert [p.suffix for p in left] == [".log"]  # which tells why


# No room


@pytest.fixture
def tiny_disk():
    """A file system of 64 MB in a directory that the server user can reach."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    path = Path(
        subprocess.check_output(["mktemp", "-d", "/tmp/filban-disk-XXXXXX"], text=True).strip()
    )
    path.chmod(0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)
        path.rmdir()


def _fill(path: Path, *, leave: int) -> None:
    free = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize
    with (path / "filler").open("wb") as file:
        file.write(bytes(max(free - leave, 0)))


async def test_no_room_to_create(tiny_disk):
    _fill(tiny_disk, leave=20_000_000)
    with pytest.raises(DiskFull):
        await Cluster.create(tiny_disk / "data", durable=False)
    assert not (tiny_disk / "data").exists()
    with pytest.raises(DiskFull, match="initdb"):
        await Cluster.create(tiny_disk / "data", durable=False, template_cache=False)
    assert not (tiny_disk / "data").exists()


async def test_no_room_to_start_configure_or_copy(tiny_disk):
    cluster = await Cluster.create(tiny_disk / "data", durable=False)
    _fill(tiny_disk, leave=0)
    with pytest.raises(DiskFull, match="cannot be written"):
        cluster.configure({f"filban.x{n}": "x" * 100 for n in range(100)})
    assert cluster.port  # the former settings are whole
    with pytest.raises(DiskFull):
        await cluster.start()
    (tiny_disk / "filler").unlink()
    try:
        await cluster.start()
        with pytest.raises(DiskFull, match="pg_basebackup"):
            await cluster.standby()
        assert not (tiny_disk / "data-standby1").exists()
    finally:
        await cluster.kill()


@as_root
async def test_what_the_server_user_cannot_reach_is_said(tmp_path):
    tmp_path.chmod(0o700)
    with pytest.raises(ClusterError, match="does not get to") as caught:
        await Cluster.create(tmp_path / "below")
    assert "can reach" in caught.value.hint
    assert not (tmp_path / "below").exists()


async def test_programs_run_as_the_data_directorys_owner(cluster):
    done = await run_program("id", "-u", as_owner_of=cluster.data_dir)
    assert int(done.stdout) == cluster.data_dir.stat().st_uid


def test_under_uvloop_as_well():
    """uvloop's pipes are inherited by the postmaster: waiting for their end would take for ever."""
    uvloop = pytest.importorskip("uvloop")

    async def lives() -> None:
        async with throwaway() as running:
            await running.restart()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(lives(), 60))
