"""What `filban restore` and the proving half of `filban backup` share."""

from __future__ import annotations

from typing import Annotated

import typer

from filban import config
from filban.errors import UsageError

RepoOption = Annotated[
    str | None,
    typer.Option(
        "--repo",
        metavar="DIR",
        help="The repository (default: backup.repo of filban.toml).",
        show_default=False,
    ),
]
BackupOption = Annotated[
    str | None,
    typer.Option("--backup", metavar="LABEL", help="Only this backup.", show_default=False),
]
TimelineOption = Annotated[
    int | None,
    typer.Option(
        "--timeline", metavar="N", help="Follow this timeline (default: the newest).", min=1,
        show_default=False,
    ),
]  # fmt: skip


def repository(given: str | None, settings: config.Config) -> str:
    """--repo, else filban.toml. Raises UsageError without either."""
    repo = given or settings.repo
    if not repo:
        raise UsageError(
            "which repository?", hint='--repo DIR, or in filban.toml: [backup] repo = "DIR"'
        )
    return repo


def backup_group(app: typer.Typer) -> typer.Typer:
    """`filban backup`, made by whichever of its modules comes first."""
    for group in app.registered_groups:
        if group.name == "backup" and group.typer_instance is not None:
            return group.typer_instance
    made = typer.Typer(help="Backups that are proven by restoring them.", no_args_is_help=True)
    app.add_typer(made, name="backup")
    return made
