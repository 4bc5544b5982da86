"""`filban restore`: look, say what it costs, ask, do it, prove it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filban import config, pg
from filban.cli.common import (
    ConfigOption,
    JsonOption,
    err,
    out,
    run_async,
    standard_output,
    write_json,
)
from filban.cli.progress import shown
from filban.cli.recovery import (
    BackupOption,
    RepoOption,
    TimelineOption,
    backup_group,
    repository,
)
from filban.errors import UsageError
from filban.render.restore import print_done, print_look

if TYPE_CHECKING:
    from filban.backup.restore.targets import RecoveryTarget
    from filban.backup.shelf import Shelf
    from filban.flows.progress import Progress
    from filban.flows.restore import Look

EPILOG = """[bold]Examples[/bold]

filban restore --repo /backup/news --to '2026-11-23 10:00:00+03:30' -D /var/lib/postgresql/news

filban restore --repo /backup/news --to-latest -D /srv/copy --dry-run

filban restore --repo /backup/news --before-drop public.orders -D /srv/copy

filban restore --repo /backup/news --before-drop public.orders --table public.orders --into news
"""


def register(app: typer.Typer) -> None:
    app.command("restore", epilog=EPILOG)(restore)
    backup_group(app).command("restore", epilog=EPILOG)(restore)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The command line, understood."""

    repo: str
    target: RecoveryTarget
    before_drop: str | None
    database: str
    timeline: int | None
    label: str | None
    data_dir: Path | None
    tablespaces: dict[str, Path]
    delta: bool
    table: str | None
    into: str | None
    dry_run: bool
    yes: bool
    as_json: bool


def restore(
    repo: RepoOption = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="A moment with its time zone.", show_default=False),
    ] = None,
    to_lsn: Annotated[
        str | None, typer.Option(metavar="LSN", help="A place in the WAL.", show_default=False)
    ] = None,
    to_xid: Annotated[
        str | None, typer.Option(metavar="XID", help="A transaction.", show_default=False)
    ] = None,
    to_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="A restore point.", show_default=False)
    ] = None,
    to_latest: Annotated[
        bool, typer.Option("--to-latest", help="All the WAL that there is (the default).")
    ] = False,
    before_drop: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE", help="Just before schema.name was dropped or truncated.",
            show_default=False,
        ),
    ] = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="End just before the target, without it.")
    ] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", "-D", metavar="DIR", help="The new data directory: empty, or not there.",
            show_default=False,
        ),
    ] = None,
    delta: Annotated[
        bool, typer.Option("--delta", help="Over the old cluster; equal files stay. Asks first.")
    ] = False,
    tablespace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OID=DIR", help="Where a tablespace goes; may be repeated.", show_default=False
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEMA.NAME", help="Bring only this table back, into --into.",
            show_default=False,
        ),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(metavar="DSN", help="The database that --table goes to.", show_default=False),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The database of --table and --before-drop.", show_default=False
        ),
    ] = None,
    timeline: TimelineOption = None,
    backup: BackupOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and lost; do nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:  # fmt: skip
    """Bring a cluster back to a moment, or one table of it; prove from the log that it got there.

    Says first what will be lost and how long it takes. The restored cluster is left stopped, on a
    timeline of its own, and never archives into the old one's repository.
    """
    from filban.backup.restore.targets import from_options

    if before_drop and (to or to_lsn or to_xid or to_name or to_latest):
        raise UsageError("--before-drop is a target of its own", hint="give one target")
    settings = config.load(config_file)
    asked = _Asked(
        repo=repository(repo, settings),
        target=from_options(
            to=to, lsn=to_lsn, xid=to_xid, name=to_name, latest=to_latest, exclusive=exclusive
        ),
        before_drop=before_drop,
        database=database or (pg.parse(settings.dsn_of(into)).database if into else "postgres"),
        timeline=timeline, label=backup, data_dir=data_dir,
        tablespaces=_places(tablespace or []), delta=delta, table=table,
        into=settings.dsn_of(into) if into else None, dry_run=dry_run, yes=yes, as_json=as_json,
    )  # fmt: skip
    _complete(asked)
    return _look_and_do(asked)


def _places(given: list[str]) -> dict[str, Path]:
    found = {}
    for text in given:
        oid, equals, path = text.partition("=")
        if not equals or not oid.isdigit() or not path.startswith("/"):
            raise UsageError(f"--tablespace {text}", hint="OID=/an/absolute/directory")
        found[oid] = Path(path)
    return found


def _complete(asked: _Asked) -> None:
    if (asked.table is None) != (asked.into is None):
        raise UsageError("--table and --into go together", hint="--table schema.name --into DSN")
    if asked.table is None and asked.data_dir is None and not asked.dry_run:
        raise UsageError("where to?", hint="-D DIR for a cluster, --table and --into for one table")
    if asked.delta and not asked.yes and asked.as_json:
        raise UsageError("--delta overwrites a cluster and cannot ask with --json", hint="--yes")


def _look_and_do(asked: _Asked) -> int:
    from filban.backup.open import open_shelf

    shelf = open_shelf(asked.repo)
    with shown() as progress:
        found = run_async(lambda: _look(shelf, asked, progress))
    if not asked.as_json:
        print_look(err, found)
    if asked.dry_run:
        if asked.as_json:
            with standard_output():
                write_json({"dry_run": True, **found.as_json()})
        return 0
    _consent(asked)
    with shown() as progress:
        done = run_async(lambda: _do(shelf, found, asked, progress))
    with standard_output():
        if asked.as_json:
            write_json(done)
        else:
            print_done(out, done)
    return 0


async def _look(shelf: Shelf, asked: _Asked, progress: Progress) -> Look:
    from filban.flows.restore import look
    from filban.flows.restore.drop import find_drop

    target = asked.target
    if asked.before_drop is not None:
        lost = await find_drop(
            shelf, asked.before_drop, asked.database,
            timeline=asked.timeline, label=asked.label, progress=progress,
        )  # fmt: skip
        when = f" at {lost.time:%Y-%m-%d %H:%M:%S.%f} UTC" if lost.time else ""
        err.print(f"{lost.table} was {lost.kind} by transaction {lost.xid}{when}", soft_wrap=True)
        target = lost.target
    return await look(shelf, target, timeline=asked.timeline, label=asked.label)


async def _do(shelf: Shelf, found: Look, asked: _Asked, progress: Progress) -> dict[str, Any]:
    from filban.flows.restore import restore as run
    from filban.flows.restore.table import restore_table

    if asked.table is not None and asked.into is not None:
        one = await restore_table(
            shelf, found, asked.table, asked.database, pg.parse(asked.into), progress
        )
        return one.as_json()
    done = await run(
        shelf, found, asked.data_dir or Path(), tablespaces=asked.tablespaces, delta=asked.delta,
        progress=progress,
    )  # fmt: skip
    return done.as_json()


def _consent(asked: _Asked) -> None:
    if not asked.delta or asked.yes:
        return
    err.print(f"everything in {asked.data_dir} that the backup does not have will be gone")
    typer.confirm("Overwrite it?", abort=True, err=True)
