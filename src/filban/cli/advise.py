"""`filban advise`: which indexes, executed before it is said."""

from __future__ import annotations

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
    out,
    run_async,
    standard_output,
    target,
    write_json,
)
from filban.cli.progress import shown
from filban.cli.sizes import bytes_of
from filban.cli.times import seconds_of
from filban.errors import UsageError

EPILOG = """[bold]Examples[/bold]

filban advise service=news

filban advise service=news --prove --budget 2GB --out plan.json

filban advise service=news --prove --why-not 'CREATE INDEX ON articles (site, published_at)'
"""


def register(app: typer.Typer) -> None:
    app.command("advise", epilog=EPILOG)(advise)


def advise(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove", help="Clone the server to this machine and execute the statements there."
        ),
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Of all new indexes together.", show_default=False),
    ] = None,
    why_not: Annotated[
        str | None,
        typer.Option(
            "--why-not", metavar="SQL", help="Judge a CREATE INDEX of yours.", show_default=False
        ),
    ] = None,
    logs: Annotated[
        list[str] | None,
        typer.Option(
            "--logs",
            metavar="FILE",
            help="The server's log: statements with their real values; may be repeated.",
            show_default=False,
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--file", metavar="FILE", help="An SQL file; may be repeated.", show_default=False
        ),
    ] = None,
    counters: Annotated[
        bool,
        typer.Option("--counters/--no-counters", help="Whether to read pg_stat_statements."),
    ] = True,
    time_limit: Annotated[
        str, typer.Option("--time", metavar="TIME", help="How long the proof may take.")
    ] = "30min",
    plan_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="PLAN", help="Write what to do.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:
    """Which indexes the workload needs, and which not, with the numbers that say so.

    On the server nothing but EXPLAIN is run. With --prove it is cloned (a base backup, which needs
    the REPLICATION right), every index is built there, the statements are executed before and
    after in turns, and only what pays is kept; what you then hold is a plan for `filban apply`.
    """
    from filban.flows.advise import AdviseOptions
    from filban.flows.advise import advise as flow
    from filban.flows.prove import Limits
    from filban.index.apply import write
    from filban.render.advise import print_advice

    where = target(dsn, dsn_option, config.load(config_file))
    allowed = None if budget is None else bytes_of(budget, "--budget")
    options = AdviseOptions(
        prove=prove,
        budget_bytes=allowed,
        why_not=why_not,
        logs=tuple(logs or ()),
        files=tuple(files or ()),
        counters=counters,
        limits=Limits(seconds=seconds_of(time_limit, "--time"), budget_bytes=allowed),
    )
    if plan_file is not None and plan_file.is_dir():
        raise UsageError(f"{plan_file} is a directory", hint="name a file")
    with shown() as progress:
        advice = run_async(lambda: flow(where, options, progress))
    if plan_file is not None:
        write(advice.plan, plan_file)
    with standard_output():
        if as_json:
            write_json(advice.report)
        else:
            print_advice(out, advice.report)
    if plan_file is not None:
        steps = f"{len(advice.plan.steps)} steps" if advice.plan.steps else "nothing to do"
        err.print(f"wrote {plan_file}: {steps}", soft_wrap=True)
    return 0
