"""`filban top`: one server, live."""

from __future__ import annotations

import asyncio
import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from filban import config
from filban.cli.common import (
    ConfigOption,
    DsnArgument,
    DsnOption,
    JsonOption,
    out,
    run_async,
    standard_output,
    target,
    write_json,
)
from filban.errors import UsageError

if TYPE_CHECKING:
    from filban.pg import Target
    from filban.profile.top import View
    from filban.render.top import Shown

EPILOG = """[bold]Examples[/bold]

filban top service=news

filban top service=news --sort wait --filter checkout

filban top service=news --once --json | jq '.sessions[] | select(.wait_event_type == "Lock")'
"""
# What --once measures its rates over.
ONCE_SECONDS = 1.0


class Sort(StrEnum):
    """What the sessions are sorted by."""

    time = "time"
    transaction = "transaction"
    wait = "wait"
    role = "role"
    application = "application"
    pid = "pid"


def register(app: typer.Typer) -> None:
    app.command("top", epilog=EPILOG)(top)


def top(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", help="How often to look.", min=0.5, max=60.0)
    ] = 2.0,
    sort: Annotated[Sort, typer.Option(help="Sort sessions by this.")] = Sort.time,
    needle: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="Only sessions with this text.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Print one screen and end.")] = False,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:
    """Who runs, waits and blocks now, live, with the server's rates.

    ↑ ↓ select a session, Enter shows its query whole, / filters, s sorts, Space pauses, + and -
    change the interval, c cancels a statement and k terminates a session (after a question), q
    leaves. A server that is restarted is waited for.
    """
    from filban.profile.top import View

    where = target(dsn, dsn_option, config.load(config_file))
    view = View(sort=sort.value, needle=needle, interval=interval)
    if once or as_json:
        shown = run_async(lambda: _once(where, view))
        with standard_output():
            _print(shown, as_json=as_json)
        return 0
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("top needs a terminal", hint="--once prints one screen anywhere")
    from filban.cli.live import Top

    run_async(lambda: Top(where, view).run(_resizable()))
    return 0


def _resizable() -> Console:
    """Rich would hold on to COLUMNS and LINES (tmux, watch and CI set them) after a resize."""
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return Console(highlight=False, _environ=kept)


async def _once(where: Target, view: View) -> Shown:
    from filban.pg import session
    from filban.profile.top import look, rates
    from filban.render.top import Shown

    async with session(where) as opened:
        before = await look(opened)
        await asyncio.sleep(ONCE_SECONDS)
        after = await look(opened)
        return Shown(opened.server, after, rates(before, after), view)


def _print(shown: Shown, *, as_json: bool) -> None:
    if as_json:
        from filban.profile.top.document import document

        write_json(document(shown.server, shown.look, shown.rates, shown.view))
    else:
        from filban.render.top import print_once

        print_once(out, shown)
