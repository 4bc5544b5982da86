"""Run one of PostgreSQL's programs (or another), and never leave it behind."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from filban.cluster.owner import Owner, me, owner_of, server_user
from filban.cluster.process import gone
from filban.errors import BinariesNotFound, DiskFull, ProgramFailed, UsageError

# How long a program may take to clean up after itself once asked to stop: initdb and pg_basebackup
# remove what they have written, which can be gigabytes.
TERM_GRACE_SECONDS = 20.0
_READ_OUT_SECONDS = 2.0
# What an error keeps of a program's output.
TAIL_CHARACTERS = 4000
_NO_ROOM = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_URI_PASSWORD = re.compile(r"^(postgres(?:ql)?://[^:/?#@]*):([^@/]*)@")
_KEYWORD_PASSWORD = re.compile(r"(?:^|(?<=\s))password\s*=\s*('(?:[^'\\]|\\.)*'|\S+)\s*")

LineHook = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CompletedRun:
    """What a program printed and how it ended. `seconds` is wall time."""

    program: str
    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def output(self) -> str:
        return "\n".join(part for part in (self.stdout.strip(), self.stderr.strip()) if part)


async def run_program(
    path: Path | str,
    *args: str | Path,
    env: Mapping[str, str] | None = None,
    input: str | bytes | None = None,  # noqa: A002
    timeout: float | None = None,
    on_line: LineHook | None = None,
    as_owner_of: Path | None = None,
    check: bool = True,
) -> CompletedRun:
    """Run a program to its end and return what it printed.

    As root it runs as the owner of `as_owner_of`, else as the server user (`postgres`). The
    environment is ours without `PG*`, plus `env`; messages are English (LC_ALL=C) so that they can
    be read. A password in an argument moves to PGPASSWORD, where `ps` does not show it.
    `on_line` gets each line of output, standard error's too, as it comes. If the caller is
    cancelled or `timeout` (seconds) passes, the program is terminated and waited for.

    Raises ProgramFailed (status other than 0, unless `check` is false; or the timeout), DiskFull,
    BinariesNotFound.
    """
    owner = _user_for(as_owner_of)
    arguments, secrets = _hide_secrets([str(a) for a in args])
    environment = clean_environment(owner) | dict(env or {}) | secrets
    started = time.monotonic()
    process = await _spawn(path, arguments, environment, owner, wants_input=input is not None)
    out, err = _Collector(on_line), _Collector(on_line)
    try:
        async with asyncio.timeout(timeout):
            await _together(
                _feed(process, input), out.drain(process.stdout), err.drain(process.stderr)
            )
            status = await process.wait()
    except TimeoutError as error:
        await _end(process)
        raise ProgramFailed(
            Path(path).name, -signal.SIGTERM, f"{err.text}\nnot done after {timeout} seconds"
        ) from error
    except BaseException:
        await _end(process)
        raise
    done = CompletedRun(Path(path).name, status, out.text, err.text, time.monotonic() - started)
    if check and status != 0:
        raise failure(done)
    return done


def clean_environment(owner: Owner) -> dict[str, str]:
    """Our environment without what would steer PostgreSQL's programs behind the caller's back."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    kept["LC_ALL"] = "C"
    if owner.switch:
        kept |= {"HOME": owner.home, "USER": owner.name, "LOGNAME": owner.name}
    return kept


def failure(run: CompletedRun) -> ProgramFailed | DiskFull:
    """The error that describes a run with a status other than 0."""
    tail = run.output[-TAIL_CHARACTERS:]
    if _NO_ROOM.search(tail):
        line = next(ln for ln in reversed(tail.splitlines()) if _NO_ROOM.search(ln))
        return DiskFull(
            f"{run.program} found no room left: {line.strip()}",
            hint="free some space there (df -h), or use another directory",
        )
    return ProgramFailed(run.program, run.status, tail)


def _user_for(path: Path | None) -> Owner:
    if os.geteuid() != 0:
        return me()
    return owner_of(path) if path is not None else server_user()


async def _spawn(
    path: Path | str,
    args: list[str],
    env: Mapping[str, str],
    owner: Owner,
    *,
    wants_input: bool,
) -> asyncio.subprocess.Process:
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    command = [*owner.prefix(), str(path), *args]
    for program in (command[0], str(path)):
        if shutil.which(program) is None:
            raise BinariesNotFound(
                f"{program} is not here or cannot be run", hint="is it installed, and executable?"
            )
    # cwd: the user that it runs as may not read ours. A session of its own: Ctrl-C in the terminal
    # comes to us alone, and we can signal it with all its children.
    return await asyncio.create_subprocess_exec(
        *command, stdin=pipe if wants_input else null, stdout=pipe, stderr=pipe,
        env=env, cwd="/", start_new_session=True,
    )  # fmt: skip


async def _together(*parts: Coroutine[None, None, None]) -> None:
    """As gather, but when one fails (`on_line` may raise) none of the others goes on."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _feed(process: asyncio.subprocess.Process, data: str | bytes | None) -> None:
    if process.stdin is None or data is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended without reading
        process.stdin.write(data.encode() if isinstance(data, str) else data)
        await process.stdin.drain()
    process.stdin.close()


class _Collector:
    """Gathers one stream and reports its lines; progress displays end theirs with \\r."""

    def __init__(self, on_line: LineHook | None) -> None:
        self.text = ""
        self._parts: list[str] = []
        self._hook = on_line
        self._line = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    async def drain(self, stream: asyncio.StreamReader | None) -> None:
        if stream is None:
            return
        try:
            while chunk := await stream.read(65536):
                self._take(self._decoder.decode(chunk))
        finally:
            self.text = "".join(self._parts)
        self._report(self._line)

    def _take(self, text: str) -> None:
        self._parts.append(text)
        if self._hook is not None:
            *lines, self._line = re.split(r"[\r\n]+", self._line + text)
            for line in lines:
                self._report(line)

    def _report(self, line: str) -> None:
        if self._hook is not None and line.strip():
            self._hook(line)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Terminate it and its children, wait for it, and kill what is left (at once if cancelled).

    `Process.wait` alone would wait for children that hold the pipes as well.
    """
    _signal(process, signal.SIGTERM)
    try:
        await gone([process.pid], TERM_GRACE_SECONDS)
    finally:
        _signal(process, signal.SIGKILL)  # the process group: children that outlived it, too
        await process.wait()
        await _read_out(process)


async def _read_out(process: asyncio.subprocess.Process) -> None:
    """Read the pipes to their end, or asyncio complains of a transport that was never closed."""
    streams = [s for s in (process.stdout, process.stderr) if s is not None]
    with contextlib.suppress(TimeoutError):  # a daemon that it started holds them
        async with asyncio.timeout(_READ_OUT_SECONDS):
            await asyncio.gather(*(_discard(stream) for stream in streams))


async def _discard(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _hide_secrets(args: list[str]) -> tuple[list[str], dict[str, str]]:
    """The arguments without passwords, and the environment that carries the password instead."""
    found: set[str] = set()

    def take(match: re.Match[str]) -> str:
        found.add(unquote(match[2]))
        return f"{match[1]}@"

    def take_keyword(match: re.Match[str]) -> str:
        value = match[1]
        if value.startswith("'"):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        found.add(value)
        return ""

    shown = []
    for arg in args:
        arg = _URI_PASSWORD.sub(take, arg)
        if "=" in arg and not arg.startswith("postgres"):
            arg = _KEYWORD_PASSWORD.sub(take_keyword, arg)
        shown.append(arg)
    if len(found) > 1:
        raise UsageError(
            "two connection strings with two passwords for one program",
            hint="put the passwords into a password file (~/.pgpass)",
        )
    return shown, {"PGPASSWORD": found.pop()} if found else {}
