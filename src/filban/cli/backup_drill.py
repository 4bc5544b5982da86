"""`filban backup drill`: restore the newest backup to scratch and prove that it is the primary."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
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
from filban.cli.progress import shown
from filban.cli.recovery import BackupOption, RepoOption, backup_group, repository
from filban.cli.times import some_seconds_of
from filban.errors import ClusterError
from filban.render import terminal

if TYPE_CHECKING:
    from filban.flows.drill.rows import Options, Result
    from filban.flows.progress import Progress
    from filban.pg import Target

EPILOG = """[bold]Examples[/bold]

filban backup drill service=news --repo /backup/news

filban backup drill service=news --repo /backup/news --full --deep

filban backup drill --repo /backup/news --no-primary        (without a comparison)

0 3 * * * filban backup drill service=news --json > /var/log/filban-drill.json   (cron)
"""


def register(app: typer.Typer) -> None:
    backup_group(app).command("drill", epilog=EPILOG)(drill)


def drill(
    dsn: DsnArgument = None,
    dsn_option: DsnOption = None,
    repo: RepoOption = None,
    backup: BackupOption = None,
    primary: Annotated[
        bool, typer.Option("--primary/--no-primary", help="Compare with the live primary.")
    ] = True,
    full: Annotated[
        bool, typer.Option("--full", help="Compare every row of every table, not samples.")
    ] = False,
    tables: Annotated[
        list[str] | None,
        typer.Option(
            "--table", metavar="SCHEMA.NAME", help="Compare only these; may be repeated.",
            show_default=False,
        ),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also each index against its whole table.")
    ] = False,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="2h", help="Leave the copy running so long, or until Ctrl-C.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:  # fmt: skip
    """Restore to scratch, replay and prove it: structure, every row, equality with the primary.

    The primary keeps writing: its tables are locked against writes for some milliseconds only, at
    one point of the WAL to which the copy is recovered. Says RPO and RTO as measured. Ends with 1
    if anything is not good; a passed drill is remembered in the repository.
    """
    settings = config.load(config_file)
    where = repository(repo, settings)
    live = target(dsn, dsn_option, settings) if primary else None
    lasts = None if keep is None else some_seconds_of(keep, "--keep")
    options = _options(settings, backup, tables, full=full, deep=deep)
    with shown() as progress:
        result = run_async(lambda: _drill(where, live, options, lasts, progress))
    report = result.report()
    with standard_output():
        if as_json:
            write_json(report)
        else:
            terminal.print_report(out, report, facts=True, everything=True)
    return 0 if result.passed else 1


def _options(
    settings: config.Config,
    backup: str | None,
    tables: list[str] | None,
    *,
    full: bool,
    deep: bool,
) -> Options:
    from filban.flows.drill.rows import Options

    return Options(
        equality="full" if full else "sample",
        tables=tuple(tables) if tables else None,
        deep=deep,
        assertions=settings.drill.assertions,
        label=backup,
    )


async def _drill(
    where: str,
    primary: Target | None,
    options: Options,
    keep: float | None,
    progress: Progress,
) -> Result:
    from filban.backup.open import open_shelf
    from filban.flows.drill.run import drilled

    shelf = open_shelf(where)
    async with drilled(shelf, primary, options, progress) as (result, copy):
        record = {"at": datetime.now(UTC).isoformat(), **result.record()}
        try:
            await shelf.note_drill(record)
        except ClusterError as error:
            err.print(f"filban: {error.message}", soft_wrap=True)
        if keep is not None and copy is not None:
            err.print(f"the copy: {copy.dsn_socket()} (Ctrl-C removes it)", soft_wrap=True)
            await asyncio.sleep(keep)
    return result
