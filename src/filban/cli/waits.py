"""`filban waits`: what sessions wait for, now or in a recording."""

from __future__ import annotations

from datetime import datetime, timedelta
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
    out,
    run_async,
    standard_output,
    target,
    write_json,
)
from filban.cli.times import moment_of, seconds_of
from filban.errors import UsageError
from filban.units import duration

if TYPE_CHECKING:
    from filban.pg import Target
    from filban.profile.waits import Sample

EPILOG = """[bold]Examples[/bold]

filban waits service=news --for 30s

filban waits service=news --for 8h --record incidents.sqlite

filban waits --replay incidents.sqlite --at '2026-11-23 14:10:05'

filban waits --replay incidents.sqlite --since '2026-11-23 14:00' --until '2026-11-23 14:30'
"""


def register(app: typer.Typer) -> None:
    app.command("waits", epilog=EPILOG)(waits)


def waits(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    interval: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long to watch: 30s, 5min, 1h.")
    ] = "10s",
    every: Annotated[
        str, typer.Option(metavar="TIME", help="How often to look, at least 0.1s.")
    ] = "1s",
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep what is seen in this file.",
            show_default=False,
            dir_okay=False,
        ),
    ] = None,
    keep: Annotated[
        str, typer.Option(metavar="TIME", help="Drop from that file what is older.")
    ] = "7d",
    replay: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Show what was recorded.", show_default=False),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Whose lock trees to show.", show_default=False),
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", show_default=False)] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", show_default=False)] = None,
    as_json: JsonOption = False,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", help="Also write a self-contained page.", show_default=False),
    ] = None,
    config_file: ConfigOption = None,
) -> int:
    """What sessions wait for, by event, statement, role and application, and who blocks whom.

    Looks at pg_stat_activity once a second; reads only, needs no extension. With --record an
    incident can be looked at later: --replay shows who blocked whom at any recorded second.
    """  # fmt: skip
    from filban.profile import waits as feature
    from filban.render.waits import print_waits

    if html_file is not None:
        from filban.render import html

        html.require_writable(html_file)
    moment = None if at is None else moment_of(at, "--at")
    if replay is not None:
        if dsn or dsn_option or record:
            raise UsageError(
                "--replay shows a recording and asks no server", hint="leave the DSN out"
            )
        subject, found = str(replay), _recorded(replay, since, until, moment)
    else:
        if at or since or until:
            raise UsageError("--at, --since and --until belong to --replay FILE", hint="add it")
        where = target(dsn, dsn_option, config.load(config_file))
        seconds, pause = seconds_of(interval, "--for"), max(0.1, seconds_of(every, "--every"))
        if not seconds:
            raise UsageError(f"--for {interval!r} is no time at all", hint="as in 30s, 5min or 1h")
        kept = timedelta(seconds=seconds_of(keep, "--keep"))
        subject, found = run_async(lambda: _watch(where, seconds, pause, record, kept))
    watched = feature.watched(subject, found, moment)
    with standard_output():
        if as_json:
            write_json(watched.report())
        else:
            print_waits(out, watched)
    if html_file is not None:
        html.write(watched.report(), html_file)
        err.print(f"wrote {html_file}", soft_wrap=True)
    return 0


async def _watch(
    where: Target, seconds: float, every: float, record: Path | None, keep: timedelta
) -> tuple[str, list[Sample]]:
    """The samples; where they are recorded only the last hour of them is held in memory."""
    from contextlib import nullcontext

    from filban.pg import session
    from filban.profile.waits import Recorder, samples

    async with session(where) as opened:
        server = opened.server
        subject = f'{server.kind} "{server.database}", PostgreSQL {server.version_text.split()[0]}'
        err.print(f"watching for {duration(seconds)}", soft_wrap=True)
        found: list[Sample] = []
        with Recorder(record, subject, keep) if record else nullcontext() as recorder:
            async for one in samples(opened, seconds, every):
                if recorder is not None:
                    recorder.add(one)
                    found = found[-int(3600 / every) :]
                found.append(one)
    return subject, found


def _recorded(
    file: Path, since: str | None, until: str | None, at: datetime | None
) -> list[Sample]:
    from filban.profile.waits import recorded, span

    low = None if since is None else moment_of(since, "--since")
    high = None if until is None else moment_of(until, "--until")
    if at is not None and low is None and high is None:
        low, high = at - timedelta(minutes=5), at + timedelta(minutes=5)
    found = list(recorded(file, low, high))
    if not found:
        known = span(file)
        hint = (
            "nothing was recorded yet" if known is None
            else f"it has {known[2]:,} from {known[0].astimezone():%Y-%m-%d %H:%M:%S%z} "
            f"to {known[1].astimezone():%Y-%m-%d %H:%M:%S%z}"
        )  # fmt: skip
        raise UsageError(f"{file} has no sample of that time", hint=hint)
    return found
