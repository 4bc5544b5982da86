"""`filban queries`: which statements take the time, and which became slower."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from filban.cli.times import some_seconds_of
from filban.errors import UsageError

if TYPE_CHECKING:
    from filban.flows.queries import Queries
    from filban.pg import Target
    from filban.profile.logs import LogReport


class By(StrEnum):
    """What is ranked by."""

    total = "total"
    mean = "mean"
    calls = "calls"
    rows = "rows"
    io = "io"
    temp = "temp"
    wal = "wal"
    jit = "jit"
    planning = "planning"


EPILOG = """[bold]Examples[/bold]

filban queries service=news

filban queries service=news --interval 10s --by io

filban queries service=news --since 1h --logs /var/log/postgresql --html queries.html

filban queries service=news --id 5283714930811298210

*/5 * * * * filban queries service=news --json > /dev/null   (snapshots from cron)
"""


def register(app: typer.Typer) -> None:
    app.command("queries", epilog=EPILOG)(queries)


def queries(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    by: Annotated[By, typer.Option(help="Rank by this.")] = By.total,
    since: Annotated[
        str | None,
        typer.Option(metavar="1h", help="What the last hour's snapshots show.", show_default=False),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of the last N snapshots.", min=1, show_default=False),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(metavar="10s", help="Two snapshots now, so far apart.", show_default=False),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="One statement whole, by its query id or fingerprint.",
            show_default=False,
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--db", metavar="NAME", help="Only this database [default: all].", show_default=False
        ),
    ] = None,
    logs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="The server's log, for percentiles, plans and labels; may be repeated.",
            show_default=False,
        ),
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where snapshots are kept [default: ~/.local/state/filban/queries.sqlite].",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="How many statements to show.", min=1)] = 20,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", help="Also write a self-contained page.", show_default=False),
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="End with 1 from this severity on.")
    ] = FailOn.critical,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:
    """Which statements take the time, and which became slower, since when.

    Takes a snapshot of pg_stat_statements and keeps what was counted since the last one; nothing is
    ever reset. Without options it shows what ran since the last call. A regression is the verdict
    of a statistical test on the means between snapshots: it needs at least ten of them.
    """
    windows = [since, last, interval]
    if sum(w is not None for w in windows) > 1:
        raise UsageError("--since, --last and --interval exclude each other", hint="give one")
    where = target(dsn, dsn_option, config.load(config_file))
    if html_file is not None:
        from filban.render import html

        html.require_writable(html_file)
    result = run_async(
        lambda: _run(where, history, (since, last, interval), by, database, only, logs or [])
    )
    with standard_output():
        if as_json:
            write_json(result.as_json())
        else:
            from filban.render.queries import print_queries

            print_queries(out, result, top=top)
    if html_file is not None:
        from filban.render import queries_html

        queries_html.write(result, html_file, top=top)
        err.print(f"wrote {html_file}", soft_wrap=True)
    return exit_code(result.report(), config.fail_on(fail_on.value))


async def _run(
    where: Target,
    history: Path | None,
    asked: tuple[str | None, int | None, str | None],
    by: By,
    database: str | None,
    only: str | None,
    logs: list[str],
) -> Queries:
    from filban.flows.queries import Window, run_queries
    from filban.profile.statements.history import default_file

    since, last, interval = asked
    window = Window(
        since=None if since is None else timedelta(seconds=some_seconds_of(since, "--since")),
        last=last,
        seconds=None if interval is None else some_seconds_of(interval, "--interval"),
    )
    return await run_queries(
        where,
        history=history or default_file(),
        window=window,
        by=by.value,
        database=database,
        only=only,
        log=await _read(logs) if logs else None,
    )


async def _read(files: list[str]) -> LogReport:
    from filban.profile.logs import Analysis, read_logs

    return await read_logs(files, Analysis())
