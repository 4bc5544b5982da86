"""Running programs: output, secrets, failure, cancellation."""

from __future__ import annotations

import asyncio
import os

import pytest

from filban.cluster import process, run_program
from filban.errors import BinariesNotFound, DiskFull, ProgramFailed, UsageError

SHELL = "/bin/sh"


async def test_output_and_lines_as_they_come():
    lines: list[str] = []
    done = await run_program(
        SHELL,
        "-c",
        r"printf 'one\ntw'; printf 'o\r50%%\rlast'; echo oops >&2",
        on_line=lines.append,
    )
    assert done.stdout == "one\ntwo\r50%\rlast"
    assert done.stderr == "oops\n"
    assert sorted(lines) == sorted(["one", "two", "50%", "last", "oops"])


async def test_input_reaches_the_program():
    assert (await run_program("cat", input="سلام")).stdout == "سلام"


async def test_a_program_that_does_not_read_its_input():
    assert (await run_program("true", input="x" * 1_000_000)).status == 0


async def test_failure_has_status_and_output():
    with pytest.raises(ProgramFailed, match="sh ended with status 7: it broke") as caught:
        await run_program(SHELL, "-c", "echo it broke >&2; exit 7")
    assert caught.value.status == 7
    assert (await run_program(SHELL, "-c", "exit 7", check=False)).status == 7


async def test_a_full_disk_has_its_own_error():
    with pytest.raises(DiskFull, match="found no room left"):
        await run_program(SHELL, "-c", "cat /etc/passwd > /dev/full")


async def test_a_missing_program():
    with pytest.raises(BinariesNotFound, match="no_such_program"):
        await run_program("/nowhere/no_such_program")


@pytest.mark.parametrize(
    ("argument", "shown", "password"),
    [
        ("postgresql://u:s%40cret@h/db", "postgresql://u@h/db", "s@cret"),
        ("postgres://u:secret@h:5/db?a=b", "postgres://u@h:5/db?a=b", "secret"),
        ("host=h password=secret user=u", "host=h user=u", "secret"),
        (r"host=h password='se cr\'et'", "host=h ", "se cr'et"),
        ("password = secret", "", "secret"),
    ],
)
async def test_a_password_moves_from_the_arguments_to_the_environment(argument, shown, password):
    done = await run_program(SHELL, "-c", 'printf "%s|%s" "$1" "$PGPASSWORD"', "sh", argument)
    assert done.stdout == f"{shown}|{password}"


async def test_two_different_passwords_are_refused_without_showing_them():
    with pytest.raises(UsageError) as caught:
        await run_program("true", "postgresql://u:aaa@h/x", "postgresql://u:bbb@h/x")
    assert "aaa" not in str(caught.value)


async def test_our_own_pg_variables_do_not_leak_in(monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1")
    monkeypatch.setenv("LC_MESSAGES", "de_DE.UTF-8")
    done = await run_program("env", env={"PGUSER": "me"})
    names = {line.partition("=")[0]: line.partition("=")[2] for line in done.stdout.splitlines()}
    assert "PGOPTIONS" not in names
    assert (names["PGUSER"], names["LC_ALL"]) == ("me", "C")


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"], ids=["obeys", "stubborn"])
async def test_cancelled_means_ended_with_children_and_waited_for(monkeypatch, trap):
    monkeypatch.setattr("filban.cluster.run.TERM_GRACE_SECONDS", 0.3)
    child: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    script = f"{trap} sleep 1000 & echo $!; wait; sleep 1000"
    task = asyncio.create_task(run_program(SHELL, "-c", script, on_line=child.set_result))
    pid = int(await child)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await process.gone([pid], 5)


async def test_a_child_that_outlives_the_program_is_ended_too():
    child: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    script = "(trap '' TERM; echo ready; sleep 1000; sleep 1000) & echo $!; wait"
    lines: list[str] = []

    def heard(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            child.set_result(next(n for n in lines if n.isdigit()))

    task = asyncio.create_task(run_program(SHELL, "-c", script, on_line=heard))
    pid = int(await child)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await process.gone([pid], 5)


async def test_a_hook_that_raises_ends_the_program():
    pids: list[int] = []

    def hook(line: str) -> None:
        pids.append(int(line))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_program(SHELL, "-c", "echo $$; exec sleep 1000", on_line=hook)
    assert await process.gone(pids, 5)


async def test_a_timeout_ends_the_program():
    pids: list[str] = []
    script = "echo $$; exec sleep 1000"
    with pytest.raises(ProgramFailed, match=r"not done after 1 seconds"):
        await run_program(SHELL, "-c", script, timeout=1, on_line=pids.append)
    assert await process.gone([int(pids[0])], 5)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs programs as another user")
async def test_as_root_it_runs_as_somebody_else(tmp_path):
    import pwd

    assert int((await run_program("id", "-u")).stdout) != 0
    os.chown(tmp_path, pwd.getpwnam("nobody").pw_uid, -1)
    done = await run_program("id", "-un", as_owner_of=tmp_path)
    assert done.stdout.strip() == "nobody"


def test_under_uvloop_as_well():
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run_program("echo", "hello")).stdout == "hello\n"
