"""`filban indexes`: what each index is worth."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from filban import config, pg
from filban.cli import maintain
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

if TYPE_CHECKING:
    from filban.index.upkeep.thresholds import UsageThresholds
    from filban.index.usage import Survey

EPILOG = """[bold]Examples[/bold]

filban indexes service=news

filban indexes postgresql://app@db1,db2,db3/news --table public.articles

filban indexes service=news --on service=news-replica --json

filban indexes maintain service=news
"""
_SHOW = "show"


class _Indexes(TyperGroup):
    """`filban indexes DSN` is `filban indexes show DSN`: what it was before it had commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, "--help", "-h"}:
            args = [_SHOW, *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        cls=_Indexes,
        help="What each index is worth (show, the default), and upkeep that is done (maintain).",
        no_args_is_help=False,
    )
    group.command(_SHOW, epilog=EPILOG)(indexes)
    maintain.register(group)
    app.add_typer(group, name="indexes")


def indexes(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="DSN",
            help="A standby whose scans count as well; may be repeated.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(metavar="SCHEMA.NAME", help="Only of this table.", show_default=False),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--unused-after",
            metavar="TIME",
            help="Call an index unused that was not read for so long [default: 30d].",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="How many indexes to list.", min=1)] = 30,
    as_json: JsonOption = False,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", help="Also write a self-contained page.", show_default=False),
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="End with 1 from this severity on.")
    ] = FailOn.critical,
    config_file: ConfigOption = None,
) -> int:
    """What each index is worth: size, scans on every server of the cluster, last use, verdicts.

    Duplicates, redundant prefixes, invalid, unused, bloated and missing ones. Every host of the DSN
    is asked, and every --on: an index that the primary never reads may serve a replica's reports.
    """
    from filban.index.upkeep.thresholds import UsageThresholds
    from filban.index.usage import only, report
    from filban.render.indexes import print_indexes

    where = target(dsn, dsn_option, config.load(config_file))
    limits = UsageThresholds()
    if window is not None:
        limits = UsageThresholds(unused_window_seconds=seconds_of(window, "--unused-after"))
    if html_file is not None:
        from filban.render import html

        html.require_writable(html_file)
    targets = [where, *(pg.parse(text) for text in on or ())]
    # each host, whatever its role: the counters of all are wanted
    everywhere = [replace(t, role="any").at(a) for t in targets for a in t.addresses]
    found = run_async(lambda: _survey(everywhere, limits))
    if table is not None:
        found = only(found, table)
    whole = report(found)
    with standard_output():
        if as_json:
            write_json(whole)
        else:
            print_indexes(out, found, top=top)
    if html_file is not None:
        html.write(whole, html_file)
        err.print(f"wrote {html_file}", soft_wrap=True)
    return exit_code(whole, config.fail_on(fail_on.value))


async def _survey(everywhere: list[pg.Target], limits: UsageThresholds) -> Survey:
    from filban.index.usage import survey

    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(pg.session(one)) for one in everywhere]
        return await survey(sessions, limits)
