"""Ctrl-C, SIGTERM and a closed terminal at any step of `filban demo` leave nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from filban.cluster.places import cache_dir

SEED = 20261123
STEPS = 9
PATIENCE_SECONDS = 90
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A temporary directory for one run, which the server's user can reach."""
    path = Path(tempfile.mkdtemp(prefix="demo-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Demo:
    """`filban demo` in a session of its own, as a terminal starts it."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "filban", "demo", "--articles", "1000",
                "--report", str(scratch / "report.html"),
            ],
            env=os.environ | {"TMPDIR": str(scratch)}, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def reach(self, step: int) -> None:
        """Wait until `step` (from 0) runs: its servers are begun, or the step before is done."""
        while step == 0 and not list(self.scratch.glob("filban-*")):
            assert self.process.poll() is None, self.process.stderr.read()
            time.sleep(0.01)
        for _ in range(step):
            line = "said nothing"
            while "✓" not in line:
                line = self.process.stderr.readline()
                assert line, f"ended before step {step}"

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, said


def left_running(scratch: Path) -> list[str]:
    """Processes that work in `scratch` or were told of it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = str((entry / "cwd").readlink())
            if str(scratch) in told or where.startswith(str(scratch)):
                found.append(f"{entry.name} {told}")
    return found


def assert_nothing_left(scratch: Path) -> None:
    assert left_running(scratch) == []
    assert [p.name for p in scratch.iterdir() if p.name != "report.html"] == []
    for state in cache_dir("running").glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            assert str(scratch) not in state.read_text()


def interrupt(
    scratch: Path,
    step: int,
    rng: random.Random,
    *,
    number: signal.Signals | None = None,
    twice: bool = False,
) -> None:
    number = number or rng.choice(SIGNALS)
    demo = Demo(scratch)
    try:
        demo.reach(step)
        time.sleep(rng.uniform(0, 0.4))
        demo.send(number)
        if twice:
            time.sleep(rng.uniform(0, 0.3))
            demo.send(number)
        status, said = demo.end()
        # A second signal may come when all is cleaned and the first one has been told of.
        assert status == 3 or (twice and "stopped" in said), (status, said)
        assert twice or "Traceback" not in said
        assert_nothing_left(scratch)
    finally:
        demo.send(signal.SIGKILL)


@pytest.mark.parametrize("step", [0, 1, 6])
def test_a_signal_leaves_nothing(scratch: Path, step: int) -> None:
    interrupt(scratch, step, random.Random(SEED + step))


def test_an_impatient_second_signal_leaves_nothing(scratch: Path) -> None:
    interrupt(scratch, 2, random.Random(SEED), number=signal.SIGINT, twice=True)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(40))
def test_signals_at_random_moments_leave_nothing(scratch: Path, number: int) -> None:
    rng = random.Random(SEED * 1_000 + number)
    # The last step may be over before a delay is: it is interrupted in the test above it.
    interrupt(scratch, rng.randrange(STEPS - 1), rng, twice=rng.random() < 0.3)


def test_a_server_that_dies_in_the_middle_is_one_sentence(scratch: Path) -> None:
    demo = Demo(scratch)
    try:
        demo.reach(2)
        (pid_file,) = scratch.glob("filban-*/data/postmaster.pid")
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
        status, said = demo.end()
        assert status == 2, said
        assert "filban: " in said
        assert "Traceback" not in said
        assert_nothing_left(scratch)
    finally:
        demo.send(signal.SIGKILL)


def test_what_a_killed_run_left_is_cleaned_by_the_next(scratch: Path) -> None:
    demo = Demo(scratch)
    demo.reach(1)
    demo.process.kill()
    demo.process.wait()
    assert left_running(scratch)
    states = [json.loads(s.read_text()) for s in cache_dir("running").glob("*.json")]
    assert any(str(scratch) in str(state) for state in states)
    following = Demo(scratch)
    try:
        following.reach(1)
        assert len(list(scratch.glob("filban-*"))) == 1
        following.send(signal.SIGINT)
        status, said = following.end()
        assert status == 3, said
        assert_nothing_left(scratch)
    finally:
        following.send(signal.SIGKILL)
