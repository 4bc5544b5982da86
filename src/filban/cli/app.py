"""The commands, put together; each stands in a module of its own."""

from __future__ import annotations

import inspect
import sys
from typing import Annotated, Any, cast

import typer

from filban import __version__
from filban.cli import (
    advise,
    apply,
    backup_drill,
    backup_verify,
    check,
    demo,
    diagnose,
    explain,
    indexes,
    logs,
    pool,
    queries,
    restore,
    top,
    waits,
)
from filban.cli.common import fail, print_any_letter, standard_output
from filban.errors import FilbanError, Interrupted

app = typer.Typer(
    name="filban",
    help="Takes the PostgreSQL behind a Python service to production and proves each step.\n\n"
    "Exit codes: 0 fine; 1 findings at or above --fail-on, or not good; 2 usage, connection or "
    "environment; 3 interrupted and cleaned up.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"filban {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which one.")
    ] = False,
) -> None:
    """Options that stand before the command."""


advise.register(app)
apply.register(app)
backup_drill.register(app)
backup_verify.register(app)
check.register(app)
demo.register(app)
diagnose.register(app)
explain.register(app)
indexes.register(app)
logs.register(app)
pool.register(app)
queries.register(app)
restore.register(app)
top.register(app)
waits.register(app)


def _reflow(commands: typer.Typer) -> None:
    """Make a paragraph of a docstring as wide as the screen: rich would keep our line ends."""
    for command in commands.registered_commands:
        text = command.help or inspect.getdoc(command.callback) or ""
        command.help = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _reflow(group.typer_instance)


_reflow(app)


# What typer makes of a Ctrl-C before the work has handlers of its own.
_TYPER_INTERRUPTED = 130


def run(arguments: list[str] | None = None) -> int:
    """Run one command; every ending becomes an exit code, every error of ours a sentence."""
    arguments = sys.argv[1:] if arguments is None else arguments
    print_any_letter()
    result: object = 0
    try:
        with standard_output():
            result = app(arguments, standalone_mode=False)
    except FilbanError as error:
        return fail(error, as_json="--json" in arguments)
    except typer.TyperException as error:
        cast("Any", error).show()
        return 2
    except (typer.Abort, KeyboardInterrupt):
        result = _TYPER_INTERRUPTED
    if result == _TYPER_INTERRUPTED:
        return fail(Interrupted("interrupted"), as_json="--json" in arguments)
    return result if isinstance(result, int) else 0
