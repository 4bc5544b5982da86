"""`filban indexes maintain`: rebuilt, vacuumed, analysed and cleaned, after a look at the plan."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from filban import config, pg
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
from filban.cli.sizes import bytes_of
from filban.cli.times import seconds_of
from filban.errors import UsageError
from filban.render.terminal import clean

if TYPE_CHECKING:
    from filban.index.apply.progress import Seen
    from filban.index.maintain import Done, Limits, Plan
    from filban.index.maintain.plan import Kind

EPILOG = """[bold]Examples[/bold]

filban indexes maintain service=news --dry-run

filban indexes maintain service=news --window 01:00-05:30 --pause 10s --yes

filban indexes maintain service=news --only reindex --only drop
"""


def register(group: typer.Typer) -> None:
    group.command("maintain", epilog=EPILOG)(maintain)


def maintain(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and do nothing.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="Only these steps: drop, statistics, reindex, vacuum, analyze.",
            show_default=False,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="HH:MM-HH:MM", help="Begin steps only then.", show_default=False),
    ] = None,
    pause: Annotated[str, typer.Option(metavar="TIME", help="Rest between two steps.")] = "0",
    lock_timeout: Annotated[
        str, typer.Option(metavar="TIME", help="How long a try waits for others' transactions.")
    ] = "60s",
    tries: Annotated[int, typer.Option(help="How often each step is tried.", min=1)] = 3,
    max_lag: Annotated[
        str, typer.Option(metavar="SIZE", help="Stop while a standby is further behind.")
    ] = "1GB",
    room: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="What may be written, where the server's disk cannot be seen from here.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:
    """Rebuild bloated and half-built indexes, drop what failed builds have left, vacuum, analyse.

    Prints the plan with the locks, the room and a forecast, and asks. Nothing in it blocks reads or
    writes. Ctrl-C ends the running statement and drops what it leaves. Ends with 1 when a step has
    failed.
    """
    where = target(dsn, dsn_option, config.load(config_file))
    limits = _limits(window, pause, lock_timeout, tries, max_lag, room)
    kinds = _kinds(only or [])
    plan = run_async(lambda: _planned(where, kinds))
    if plan.steps and not dry_run:
        _show_plan(plan, where)
        _agree(yes)
    done = [] if dry_run or not plan.steps else run_async(lambda: _run(where, plan, limits))
    _end(plan, done, where, as_json=as_json, dry_run=dry_run)
    return 1 if any(d.failure for d in done) else 0


def _limits(
    window: str | None, pause: str, lock_timeout: str, tries: int, max_lag: str, room: str | None
) -> Limits:
    from filban.index.apply.guard import Bounds
    from filban.index.maintain import Limits, Window

    return Limits(
        lock_timeout_ms=int(1000 * seconds_of(lock_timeout, "--lock-timeout")),
        tries=tries,
        pause_seconds=seconds_of(pause, "--pause"),
        window=None if window is None else Window.parse(window),
        bounds=Bounds(
            max_lag_bytes=bytes_of(max_lag, "--max-lag"),
            room_bytes=None if room is None else bytes_of(room, "--room"),
        ),
    )


def _kinds(only: list[str]) -> tuple[Kind, ...]:
    from filban.index.maintain.plan import KINDS

    if unknown := [kind for kind in only if kind not in KINDS]:
        raise UsageError(f"--only {unknown[0]!r} is no kind of step", hint=", ".join(KINDS))
    return tuple(kind for kind in KINDS if not only or kind in only)


async def _planned(where: pg.Target, kinds: tuple[Kind, ...]) -> Plan:
    from filban.index.maintain import planned

    async with pg.session(where) as session:
        return await planned(session, kinds)


async def _run(where: pg.Target, plan: Plan, limits: Limits) -> list[Done]:
    from filban.index.maintain import run

    with err.status("") as status:

        def show(seen: Seen) -> None:
            waits = f", waiting for backend {seen.waits_for}" if seen.waits_for else ""
            words = f"{seen.index}: {seen.phase}, {100 * seen.ratio:.0f} %{waits}"
            status.update(Text(clean(words)))

        return await run(where, plan.steps, limits, tell=_say, show=show)


def _say(sentence: str) -> None:
    err.print(Text(f"  {clean(sentence)}"), soft_wrap=True)


def _show_plan(plan: Plan, where: pg.Target) -> None:
    from filban.render.maintain import print_plan

    print_plan(err, plan, str(where))


def _agree(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked", hint="--yes agrees beforehand")
    typer.confirm("do this?", abort=True, err=True)


def _end(plan: Plan, done: list[Done], where: pg.Target, *, as_json: bool, dry_run: bool) -> None:
    from filban.render.maintain import as_report, print_done, print_plan

    with standard_output():
        if as_json:
            write_json(as_report(plan, done, str(where)))
        elif dry_run or not plan.steps:
            print_plan(out, plan, str(where))
        else:
            print_done(out, done)
