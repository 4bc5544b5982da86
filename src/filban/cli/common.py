"""What every command shares: where the DSN comes from, how it runs, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from filban import config, pg
from filban.errors import DiskFull, FilbanError, Interrupted, UsageError
from filban.finding import Report, Severity
from filban.render.json import dumps
from filban.render.terminal import clean

Result = TypeVar("Result")


class _Output(Console):
    """rich ends the process with 1 when the reader has gone; that is the code for findings."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


err = Console(stderr=True, highlight=False)
out = _Output(highlight=False)

DsnArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[DSN]",
        help="A connection string as psql takes it (URI, keywords or a database name), "
        "or a server's name from filban.toml.",
        show_default=False,
    ),
]
DsnOption = Annotated[
    str | None,
    typer.Option("--dsn", help="The same as the argument.", show_default=False, hidden=True),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, nothing else there.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Read this filban.toml.", show_default=False, dir_okay=False),
]


def target(argument: str | None, option: str | None, settings: config.Config) -> pg.Target:
    """The argument, else --dsn, else filban.toml, else PG*: resolved."""
    return pg.parse(settings.dsn_of(argument or option))


def run_async(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """The one asyncio.run. Ctrl-C and SIGTERM cancel the work, which cleans up after itself."""
    with asyncio.Runner() as runner:
        try:
            return runner.run(_until_signalled(work()))
        except KeyboardInterrupt:
            raise Interrupted("interrupted; what was started has been stopped") from None


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def _until_signalled(work: Coroutine[Any, Any, Result]) -> Result:
    """Ctrl-C, SIGTERM and SIGHUP (a closed terminal) end the work, once.

    asyncio.Runner's own SIGINT handler raises at the second Ctrl-C, in the middle of the clean-up.
    """
    task = asyncio.current_task()
    received: list[int] = []
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        if task is not None and not received:  # a second one must not break the clean-up
            task.cancel()
        received.append(number)

    for number in _ENDING:
        loop.add_signal_handler(number, stop, number)
    try:
        return await work
    except asyncio.CancelledError:
        if received:
            name = signal.Signals(received[0]).name
            raise Interrupted(f"stopped by {name}; what was started has been stopped") from None
        raise
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)


def fail(error: FilbanError, *, as_json: bool = False) -> int:
    """Say what happened and what to do, on standard error; return the exit code."""
    err.print(Text.assemble(("filban: ", "bold red"), clean(error.message)), soft_wrap=True)
    if error.hint:
        err.print(Text(f"  {clean(error.hint)}"), soft_wrap=True)
    if as_json:
        write_json(
            {
                "error": {
                    "kind": type(error).__name__,
                    "message": error.message,
                    "hint": error.hint,
                    "exit_code": error.exit_code,
                }
            }
        )
    return error.exit_code


def exit_code(report: Report, limit: Severity | None) -> int:
    """1 for a finding at or above `limit`; None never ends with 1."""
    worst = report.worst()
    return 1 if worst is not None and limit is not None and worst >= limit else 0


def write_json(document: Any) -> None:
    sys.stdout.write(dumps(document) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def standard_output() -> Iterator[None]:
    """Around whatever prints. `filban … | head` is no error of ours and keeps its exit code; a
    disk that is full raises DiskFull, a closed or broken output UsageError."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        _discard_output()
        message = f"cannot write to standard output: {error.strerror or error}"
        kind = DiskFull if error.errno == errno.ENOSPC else UsageError
        raise kind(message, hint="see where it is redirected to") from error


def _discard_output() -> None:
    """What is still buffered would fail once more when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_any_letter() -> None:
    """A name that the terminal's encoding lacks is printed as an escape, not as a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
