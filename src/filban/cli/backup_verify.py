"""`filban backup verify` and `filban backup timeline`: is it whole, and what can be reached."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

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
from filban.cli.progress import shown
from filban.cli.recovery import BackupOption, RepoOption, backup_group, repository
from filban.finding import Report, in_order
from filban.render import terminal

if TYPE_CHECKING:
    from filban.backup.shelf import Shelf
    from filban.flows.progress import Progress
    from filban.pg import Target

VERIFY_EPILOG = """[bold]Examples[/bold]

filban backup verify --repo /backup/news

filban backup verify service=news --repo /backup/news

filban backup verify --repo /backup/news --backup 2026-11-23 --json
"""
TIMELINE_EPILOG = """[bold]Examples[/bold]

filban backup timeline --repo /backup/news
"""


def register(app: typer.Typer) -> None:
    group = backup_group(app)
    group.command("verify", epilog=VERIFY_EPILOG)(verify)
    group.command("timeline", epilog=TIMELINE_EPILOG)(timeline)


def verify(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    repo: RepoOption = None,
    backup: BackupOption = None,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:
    """Read every backup and every WAL segment; end with 1 and name it if anything is not good.

    Every file against the manifest (any PostgreSQL version's, plain or tar, gzip, lz4, zstd), every
    segment's size, first page, system identifier and timeline, no hole from the oldest backup on,
    every history file, chains, and WAL that two servers have written. With a DSN also whether it
    is that server's, and how far the archive is behind it.
    """
    settings = config.load(config_file)
    where = repository(repo, settings)
    live = target(dsn, dsn_option, settings) if dsn or dsn_option else None
    with shown() as progress:
        report = run_async(lambda: _verify(where, backup, live, progress))
    with standard_output():
        if as_json:
            write_json(report)
        else:
            terminal.print_report(out, report, facts=True, everything=True)
    return 0 if report.facts["good"] else 1


async def _verify(
    where: str, backup: str | None, live: Target | None, progress: Progress
) -> Report:
    from filban.backup.open import open_shelf
    from filban.backup.verify import primary
    from filban.backup.verify.check import verify as check
    from filban.backup.verify.report import report
    from filban.flows.progress import step

    shelf = open_shelf(where)
    with step(progress, "read", await _size(shelf, backup), "bytes") as running:
        found = await check(shelf, backup, running.advance)
        running.summary = f"{found.bytes:,} bytes"
    behind = None
    if live is not None:
        found, behind = await primary.compare(live, found)
    return report(found, shelf.name, await shelf.drills(), behind)


async def _size(shelf: Shelf, backup: str | None) -> int:
    return sum(b.bytes for b in await shelf.backups() if backup in (None, b.label))


def timeline(
    repo: RepoOption = None, as_json: JsonOption = False, config_file: ConfigOption = None
) -> int:
    """Which moments can be restored: the recovery windows of each backup on each timeline, drawn.

    Looks at names and first pages only; `verify` reads everything.
    """
    settings = config.load(config_file)
    where = repository(repo, settings)
    report = run_async(lambda: _timeline(where, settings.drill.max_age_days, draw=not as_json))
    with standard_output():
        if as_json:
            write_json(report)
        else:
            terminal.print_report(out, report, everything=True)
    return 1 if report.worst() is not None else 0


async def _timeline(where: str, max_age_days: float, *, draw: bool) -> Report:
    from filban.backup.open import open_shelf
    from filban.backup.timeline import coverage
    from filban.backup.timeline.read import read
    from filban.backup.verify.report import last_passed, stale, window_row
    from filban.render.recovery import print_windows

    shelf = open_shelf(where)
    backups, drills = await shelf.backups(), await shelf.drills()
    known = backups[-1].system_identifier if backups else None
    found = await asyncio.to_thread(read, shelf.wal(), system_identifier=known, whole=False)
    windows = coverage.windows(found.archive, backups)
    if draw:
        with standard_output():
            print_windows(out, found.archive, backups, windows)
            out.print()
    findings = [*(f.finding() for f in found.faults), *stale(where, drills, max_age_days)]
    return Report(
        f"{where}: {len(backups)} backups, timelines "
        + ", ".join(map(str, found.archive.timelines())),
        in_order(findings),
        {
            "repository": where,
            "last_passed_drill": last_passed(drills),
            "windows": [window_row(w) for w in windows],
            "abandoned": [
                {"timeline": a.timeline, "left_by": a.child, "wal_bytes": a.bytes}
                for a in coverage.abandoned(found.archive)
            ],
        },
    )
