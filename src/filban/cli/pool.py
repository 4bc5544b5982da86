"""`filban pool`: how many connections, measured; and whether running pools fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    target,
    write_json,
)
from filban.cli.progress import shown
from filban.errors import UsageError
from filban.finding import Severity
from filban.render import terminal
from filban.units import duration

if TYPE_CHECKING:
    from filban.flows.pool import BenchResult

BENCH_EPILOG = """[bold]Examples[/bold]

filban pool bench service=news                     (look-ups in the largest table)

filban pool bench service=news --sql hot.sql --values 'SELECT id FROM article LIMIT 1000'

filban pool bench service=news --sizes 4,8,16 --concurrency 50,200 --p95 20 --html pool.html
"""
ADVISE_EPILOG = """[bold]Examples[/bold]

filban pool advise service=news --metrics http://10.0.0.7:8000/metrics --cores 8

filban pool advise service=news --service web=20x4 --service worker=5x2
"""

app = typer.Typer(
    name="pool",
    help="How many connections: measured by a sweep, and judged while the service runs.",
    no_args_is_help=True,
)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app)


@app.command("bench", epilog=BENCH_EPILOG)
def bench(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    sql_file: Annotated[
        Path | None,
        typer.Option("--sql", metavar="FILE", help="Your statements.", show_default=False),
    ] = None,
    values: Annotated[
        str | None,
        typer.Option(metavar="SELECT", help="Rows of values for $1, $2 …", show_default=False),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Look up rows of this table.", show_default=False),
    ] = None,
    sizes: Annotated[
        str,
        typer.Option(metavar="N,N…", help="Pool sizes; 1 to 32 unless given.", show_default=False),
    ] = "",
    concurrency: Annotated[
        str, typer.Option(metavar="N,N…", help="Tasks of the closed loop.")
    ] = "64",
    rates: Annotated[
        str,
        typer.Option(
            metavar="N,N…",
            help="Statements a second of the open loop; 50, 80, 90 % of the measured if not given.",
            show_default=False,
        ),
    ] = "",
    seconds: Annotated[float, typer.Option(help="Of each step.", min=0.1, max=120)] = 1.0,
    rounds: Annotated[
        int, typer.Option(help="Of the whole sweep; the median counts.", min=1, max=20)
    ] = 3,
    p95: Annotated[
        float | None,
        typer.Option("--p95", metavar="MS", help="The latency to reach.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order of values and arrivals.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="The statements may write.")] = False,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", help="Also write a self-contained page.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:
    """Sweep pool sizes with your statements and recommend one, by throughput and latency.

    Reads only, in read-only sessions, unless --yes; takes no more than the free connections.
    Ends with 1 when no size reaches the latency.
    """
    from filban.flows import pool as flow  # what loads the pool is not for every command
    from filban.flows.pool import plan

    options = flow.BenchOptions(
        statements=plan.read_statements(sql_file) if sql_file else (),
        table=table,
        values_sql=values,
        sizes=tuple(map(int, _numbers("--sizes", sizes))) or None,
        concurrency=tuple(map(int, _numbers("--concurrency", concurrency))),
        rates=tuple(_numbers("--rates", rates)) or None,
        seconds=seconds,
        rounds=rounds,
        objective_p95=None if p95 is None else p95 / 1000,
        writes=yes,
        seed=seed,
    )
    where = target(dsn, dsn_option, config.load(config_file))

    async def work() -> BenchResult:
        with shown(quiet=as_json) as progress:
            return await flow.bench(where, options, progress=progress, say=_say)

    result = run_async(work)
    if html_file is not None:
        from filban.render import pool_html

        pool_html.write(result, html_file)
    if as_json:
        write_json(result.as_json())
    else:
        from filban.render.pool import print_bench

        print_bench(out, result)
    if html_file is not None:
        err.print(f"wrote {html_file}", soft_wrap=True)
    return 0 if result.choice is not None and result.choice.good else 1


@app.command("advise", epilog=ADVISE_EPILOG)
def advise(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL|FILE",
            help="A process's /metrics, or a file of its pool.stats(); may be repeated.",
            show_default=False,
        ),
    ] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SIZExPROCESSES",
            help="What a service may open at most; may be repeated.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="To watch.", min=0.1, max=600)] = 10.0,
    cores: Annotated[
        int | None, typer.Option(help="The server's cores.", min=1, show_default=False)
    ] = None,
    bench_file: Annotated[
        Path | None,
        typer.Option(
            "--bench",
            metavar="FILE",
            help="What `pool bench --json` said.",
            show_default=False,
        ),
    ] = None,
    facts: Annotated[bool, typer.Option("--facts", help="Show the facts as well.")] = False,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:
    """Whether running pools fit: too small, held for too long, or a server that has enough to do.

    Also adds up what all services may open against max_connections. Reads only. Ends with 1 on a
    warning.
    """
    from filban.flows import pool as flow

    options = flow.AdviseOptions(
        metrics=tuple(metrics or ()),
        services=tuple(flow.planned(text) for text in service or ()),
        seconds=seconds,
        cores=cores,
        bench=bench_file,
    )
    if not options.metrics and not options.services:
        raise UsageError(
            "there is nothing to judge",
            hint="--metrics URL of a running process, --service NAME=SIZExPROCESSES, or both",
        )
    where = target(dsn, dsn_option, config.load(config_file))
    if options.metrics:
        _say(f"watching for {duration(seconds)}")
    report = run_async(lambda: flow.advise(where, options))
    if as_json:
        write_json(report)
    else:
        terminal.print_report(out, report, facts=facts)
    return exit_code(report, Severity.warning)


def _say(line: str) -> None:
    err.print(f"  {line}", soft_wrap=True, markup=False)


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is not a row of numbers", hint="as in 4,8,16"
        ) from None
