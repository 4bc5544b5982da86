"""`filban logs`: what the server's log says."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filban import config
from filban.cli.common import JsonOption, err, out, run_async, target, write_json
from filban.cli.progress import shown
from filban.flows.progress import step
from filban.units import size

if TYPE_CHECKING:
    from filban.profile.logs import Analysis, Follower, LogReport, Positions

# malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MOST_MMAP_THRESHOLD = 32 * 1024 * 1024
_DAY = "%Y-%m-%d"
# To the millisecond: as it is copied from a line of the log.
_TIMES = [_DAY, *(f"{_DAY}{t}%H:%M{rest}" for t in " T" for rest in ("", ":%S", ":%S.%f"))]

EPILOG = """[bold]Examples[/bold]

filban logs /var/log/postgresql --since '2026-11-23 08:00' --html report.html

filban logs 'postgresql-*.csv.zst' --db news --json

kubectl logs news-1 | filban logs -

filban logs /var/log/postgresql --state /var/lib/filban/logs.json   (only what is new)
"""


def register(app: typer.Typer) -> None:
    app.command("logs", epilog=EPILOG)(logs)


def logs(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="Files, directories, globs, or - for standard input; also .gz, .zst, .lz4.",
            show_default=False,
        ),
    ],
    prefix: Annotated[
        str | None,
        typer.Option(
            help="log_line_prefix of stderr or syslog, if it is not found by itself.",
            show_default=False,
        ),
    ] = None,
    dsn: Annotated[
        str | None,
        typer.Option(
            "--dsn",
            metavar="DSN",
            help="Take log_line_prefix from this server, or from one named in filban.toml.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="From this time on, in the log's own clock.",
            formats=_TIMES,
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(help="Before this time.", formats=_TIMES, metavar="TIME", show_default=False),
    ] = None,
    database: Annotated[
        list[str] | None,
        typer.Option(
            "--db", metavar="NAME", help="Only this database; may be repeated.", show_default=False
        ),
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user", metavar="NAME", help="Only this user; may be repeated.", show_default=False
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Remember in this file what has been read, and read only what is new since.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep reading; Ctrl-C ends with the report.")
    ] = False,
    every: Annotated[
        float, typer.Option(help="Seconds between reports with --follow.", min=1)
    ] = 10,
    top: Annotated[int, typer.Option(help="How many statements to show.", min=1)] = 20,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", help="Also write a self-contained page.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """What the server's log says: statements, errors, locks, temporary files, plans and more.

    Knows stderr with any log_line_prefix, csvlog, jsonlog, syslog, and the logs of RDS, Cloud SQL,
    CloudNativePG and Docker. Lines that cannot be read are counted and shown. JSON has every
    statement, the terminal the first ones.
    """
    _for_many_pieces()
    from filban.profile import logs as feature  # polars: not for every command

    if dsn is not None and prefix is None:
        server = target(dsn, None, config.load())
        prefix = run_async(lambda: feature.line_prefix(server))

    only = feature.Only(since, until, tuple(database or ()), tuple(user or ()))
    positions = feature.Positions.load(state) if state else feature.Positions()
    analysis = feature.Analysis(only)

    def show(report: LogReport) -> None:
        if html_file is not None:
            from filban.render import logs_html

            logs_html.write(report, html_file, top=top)
        if as_json:
            write_json(report)
        else:
            from filban.render.logs import print_logs

            print_logs(out, report, top=top)

    if follow:
        follower = feature.Follower(files, analysis, prefix=prefix, positions=positions)
        run_async(lambda: _follow(follower, every, None if as_json else show))
        report = follower.close()
    else:
        report = run_async(
            lambda: _read(files, analysis, prefix, positions, resumable=state is not None)
        )
    show(report)
    if html_file is not None:
        err.print(f"wrote {html_file}", soft_wrap=True)
    if state is not None:  # after the output: better counted again than lost
        positions.save(state)
    return 0


def _for_many_pieces() -> None:
    """What a process that reads one piece after the other wants of its allocators.

    polars (which must not be imported yet): one thread, since more cost CPU and memory and save
    little on small pieces. glibc: keep the memory of a piece for the next one, instead of giving it
    back and having it cleared again (a tenth of all CPU); elsewhere there is no mallopt.
    """
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MOST_MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, 2 * _MOST_MMAP_THRESHOLD)


async def _read(
    files: Sequence[str],
    analysis: Analysis,
    prefix: str | None,
    positions: Positions,
    *,
    resumable: bool,
) -> LogReport:
    from filban.profile.logs import read_logs

    with shown() as progress, step(progress, "read", unit="bytes") as running:
        done: dict[str, int] = {}

        def on_bytes(name: str, count: int) -> None:
            done[name] = count
            running.advance(sum(done.values()))

        report = await read_logs(
            files,
            analysis,
            prefix=prefix,
            positions=positions,
            resumable=resumable,
            on_bytes=on_bytes,
        )
        running.summary = (
            f"{size(sum(file.bytes for file in report.files))}, {report.events:,} events"
        )
    return report


async def _follow(
    follower: Follower, every: float, show: Callable[[LogReport], None] | None
) -> None:
    """Until Ctrl-C or SIGTERM, which is how following ends."""
    from filban.profile.logs import follow

    with contextlib.suppress(asyncio.CancelledError):
        async for report in follow(follower, every=every):
            if show is not None:
                out.clear()
                show(report)
