"""`filban diagnose`: what holds the workload back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from filban import config
from filban.cli.check import FailOn
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
from filban.cli.times import seconds_of
from filban.units import duration

EPILOG = """[bold]Examples[/bold]

filban diagnose service=news

filban diagnose service=news --for 5min --html diagnosis.html

filban diagnose service=news --for 10s --json | jq .facts.verdict
"""


def register(app: typer.Typer) -> None:
    app.command("diagnose", epilog=EPILOG)(diagnose)


def diagnose(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    interval: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long to watch: 30s, 5min, 1h.")
    ] = "30s",
    as_json: JsonOption = False,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", help="Also write a self-contained page.", show_default=False),
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="End with 1 from this severity on.")
    ] = FailOn.never,
    facts: Annotated[bool, typer.Option("--facts", help="Show the facts as well.")] = False,
    config_file: ConfigOption = None,
) -> int:
    """What holds the workload back, with the evidence, and the three things to do first.

    Watches sessions and counters while the workload runs: CPU, I/O, locks, WAL, temporary files,
    connections, planning, vacuum, replication, clients. Reads only. What the role may not see is
    said; on the server's own machine it also reads its processors.
    """
    from filban.profile import bottlenecks
    from filban.render.diagnose import print_diagnosis

    seconds = seconds_of(interval, "--for")
    where = target(dsn, dsn_option, config.load(config_file))
    if html_file is not None:
        from filban.render import html

        html.require_writable(html_file)
    err.print(f"watching for {duration(seconds)}", soft_wrap=True)
    diagnosis = run_async(lambda: bottlenecks.diagnose(where, seconds=seconds))
    report = diagnosis.report()
    with standard_output():
        if as_json:
            write_json(report)
        else:
            print_diagnosis(out, diagnosis, facts=facts)
    if html_file is not None:
        html.write(report, html_file)
        err.print(f"wrote {html_file}", soft_wrap=True)
    return exit_code(report, config.fail_on(fail_on.value))
