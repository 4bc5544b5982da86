"""`filban demo`: the whole job on a PostgreSQL of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from filban.cli.common import JsonOption, err, out, run_async, standard_output, write_json
from filban.cli.progress import shown
from filban.errors import ExtraMissing
from filban.finding import Severity
from filban.render import html, terminal

EPILOG = """[bold]Examples[/bold]

filban demo

filban demo --articles 20000 --report /tmp/report.html --keep
"""


def register(app: typer.Typer) -> None:
    app.command("demo", epilog=EPILOG)(demo)


def demo(
    articles: Annotated[int, typer.Option(help="How many articles to load.")] = 200_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = 1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the servers running and print their DSNs.")
    ] = False,
    stop: Annotated[
        Path | None,
        typer.Option("--stop", metavar="DIR", help="Stop and remove what --keep left in DIR."),
    ] = None,
    report_file: Annotated[
        Path, typer.Option("--report", help="Where the page is written.")
    ] = Path("report.html"),
    bin_dir: Annotated[
        Path | None, typer.Option(help="The folder of PostgreSQL's programs.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Do the main job on a primary and a standby of our own, and report every number measured.

    Loads a news database, runs its traffic through the pool, names an index and proves it, backs
    up and restores and compares, shows the standby's lag. Takes under three minutes; Ctrl-C
    cleans up.
    """
    try:
        from filban.flows import demo as flow
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "filban":
            raise
        raise ExtraMissing(error.name or "", "demo") from error
    if stop is not None:
        run_async(lambda: flow.stop(stop))
        err.print(f"stopped and removed {stop}", soft_wrap=True)
        return 0
    options = flow.DemoOptions(articles=articles, seed=seed, keep=keep, bin_dir=bin_dir)
    html.require_writable(report_file)
    with shown() as progress:
        report = run_async(lambda: flow.demo(options, progress))
    html.write(report, report_file)
    with standard_output():
        if as_json:
            write_json(report)
        else:
            terminal.print_report(out, report, facts=True)
    err.print(f"wrote {report_file}", soft_wrap=True)
    return 1 if report.worst() is Severity.critical else 0
