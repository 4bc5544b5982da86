"""`filban check`: what is wrong now."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from filban import config
from filban.cli.common import (
    ConfigOption,
    DsnArgument,
    DsnOption,
    JsonOption,
    err,
    exit_code,
    out,
    run_async,
    standard_output,
    target,
    write_json,
)
from filban.finding import Ignore
from filban.render import terminal


class FailOn(StrEnum):
    """From which severity on the command ends with 1."""

    critical = "critical"
    warning = "warning"
    info = "info"
    never = "never"


EPILOG = """[bold]Examples[/bold]

filban check postgresql://app@db.example:5432/news

filban check service=news --fail-on warning --ignore index.unused:public.old_idx --json
"""


def register(app: typer.Typer) -> None:
    app.command("check", epilog=EPILOG)(check)


def check(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    as_json: JsonOption = False,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", help="Also write a self-contained page.", show_default=False),
    ] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            "--fail-on",
            help="End with 1 from this severity on [default: critical].",
            show_default=False,
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore",
            metavar="CODE[:SUBJECT]",
            help="Leave findings out; may be repeated.",
            show_default=False,
        ),
    ] = None,
    facts: Annotated[bool, typer.Option("--facts", help="Show the facts as well.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every finding in full, however many.")
    ] = False,
    config_file: ConfigOption = None,
) -> int:
    """What is wrong now: verdicts, worst first, each with evidence and the fix to paste.

    Reads only; needs no superuser and no extension. What the role may not see is said.
    """
    settings = config.load(config_file)
    rules = [*settings.check.ignore, *map(Ignore.parse, ignore or ())]
    where = target(dsn, dsn_option, settings)
    if html_file is not None:
        from filban.render import html  # jinja2 takes a tenth of a small check's time to load

        html.require_writable(html_file)
    from filban.flows.check import run_check  # not for every command

    report = run_async(lambda: run_check(where, ignore=rules, thresholds=settings.check.thresholds))
    with standard_output():
        if as_json:
            write_json(report)
        else:
            terminal.print_report(out, report, facts=facts, everything=everything)
    if html_file is not None:
        html.write(report, html_file)
        err.print(f"wrote {html_file}", soft_wrap=True)
    limit = settings.check.fail_on if fail_on is None else config.fail_on(fail_on.value)
    return exit_code(report, limit)
