"""`filban apply` and `filban revert`: what `filban advise` has planned, done and undone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

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
from filban.cli.progress import shown
from filban.cli.sizes import bytes_of
from filban.cli.times import seconds_of
from filban.errors import UsageError
from filban.finding import Report, Severity
from filban.render.terminal import clean

if TYPE_CHECKING:
    from filban.index.apply import Limits, Plan

APPLY_EPILOG = """[bold]Examples[/bold]

filban apply plan.json service=news

filban apply plan.json service=news --yes --watch 10min

filban apply plan.json --write alembic --after 3f1c > versions/indexes.py
"""
REVERT_EPILOG = """[bold]Example[/bold]

filban revert plan.json service=news
"""

PlanArgument = Annotated[
    Path, typer.Argument(metavar="PLAN", help="What `filban advise --out PLAN` wrote.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
LockOption = Annotated[
    str,
    typer.Option(
        "--lock-timeout", metavar="TIME", help="How long one try waits for others' transactions."
    ),
]
TriesOption = Annotated[int, typer.Option(help="How often each index is tried.", min=1)]
LagOption = Annotated[
    str,
    typer.Option(
        "--max-lag", metavar="SIZE", help="Stop and wait while a standby is further behind."
    ),
]
RoomOption = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="What may be written, where the server's disk cannot be seen from here.",
        show_default=False,
    ),
]
AnyServerOption = Annotated[
    bool, typer.Option("--any-server", help="Also on another server than the plan was made for.")
]


def register(app: typer.Typer) -> None:
    app.command("apply", epilog=APPLY_EPILOG)(apply)
    app.command("revert", epilog=REVERT_EPILOG)(revert)


def apply(
    plan_file: PlanArgument,
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    yes: YesOption = False,
    watch: Annotated[
        str,
        typer.Option(metavar="TIME", help="Look after its statements for so long afterwards."),
    ] = "0",
    write: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Apply nothing: print a migration (alembic, django, sql).",
            show_default=False,
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(help="The migration that it follows.", show_default=False),
    ] = None,
    django_app: Annotated[
        str | None, typer.Option("--app", help="Django's app label.", show_default=False)
    ] = None,
    lock_timeout: LockOption = "60s",
    tries: TriesOption = 5,
    max_lag: LagOption = "1GB",
    room: RoomOption = None,
    any_server: AnyServerOption = False,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:
    """Build a plan's indexes CONCURRENTLY, one at a time, then watch what they bring.

    Disk room and standbys are respected while it builds; what a failed try leaves is dropped; a
    journal beside the plan survives a kill, and the next call goes on. Called again for a plan that
    is applied, it says what became of its statements. Ends with 1 when one of them disappoints.
    """
    from filban.index.apply import migration, read

    plan = read(plan_file)
    if write is not None:
        with standard_output():
            typer.echo(migration(plan, write, after=after, app=django_app), nl=False)
        return 0
    where = target(dsn, dsn_option, config.load(config_file))
    seconds = seconds_of(watch, "--watch")
    limits = _limits(lock_timeout, tries, max_lag, room, any_server)
    _agree(plan, yes, "apply", str(where))
    from filban.flows import applying

    with shown() as progress:
        report = run_async(
            lambda: applying.apply(where, plan_file, limits, progress, _say, watch_seconds=seconds)
        )
    return _end(report, as_json)


def revert(
    plan_file: PlanArgument,
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    yes: YesOption = False,
    lock_timeout: LockOption = "60s",
    tries: TriesOption = 5,
    max_lag: LagOption = "1GB",
    room: RoomOption = None,
    any_server: AnyServerOption = False,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:
    """Undo what `filban apply PLAN` has done: drop what it built, build again what it dropped.

    What was there before is left alone: the journal beside the plan tells the two apart.
    """
    from filban.flows import applying
    from filban.index.apply import read

    plan = read(plan_file)
    where = target(dsn, dsn_option, config.load(config_file))
    limits = _limits(lock_timeout, tries, max_lag, room, any_server)
    _agree(plan, yes, "revert", str(where))
    with shown() as progress:
        report = run_async(lambda: applying.revert(where, plan_file, limits, progress, _say))
    return _end(report, as_json)


def _limits(
    lock_timeout: str, tries: int, max_lag: str, room: str | None, any_server: bool
) -> Limits:
    from filban.index.apply import Limits
    from filban.index.apply.guard import Bounds

    return Limits(
        lock_timeout_ms=int(1000 * seconds_of(lock_timeout, "--lock-timeout")),
        tries=tries,
        bounds=Bounds(
            max_lag_bytes=bytes_of(max_lag, "--max-lag"),
            room_bytes=None if room is None else bytes_of(room, "--room"),
        ),
        any_server=any_server,
    )


def _agree(plan: Plan, yes: bool, verb: str, where: str) -> None:
    """Show the SQL and ask; a script says --yes."""
    err.print(Text(f"{verb} on {clean(where)}:"), soft_wrap=True)
    for step in plan.steps:
        err.print(Text(f"  {clean(step.sql)};"), soft_wrap=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked", hint="--yes agrees beforehand")
    typer.confirm(f"{verb} this?", abort=True, err=True)


def _say(sentence: str) -> None:
    err.print(Text(f"  {clean(sentence)}"), soft_wrap=True)


def _end(report: Report, as_json: bool) -> int:
    from filban.render.advise import print_applied

    with standard_output():
        if as_json:
            write_json(report)
        else:
            print_applied(out, report)
    return exit_code(report, Severity.warning)
