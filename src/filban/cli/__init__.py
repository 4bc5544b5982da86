"""The command line: a door with no logic of its own."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `filban` command."""
    try:
        from filban.cli.app import run

        code = run()
    except KeyboardInterrupt:  # while it was still loading: nothing has been started
        sys.stderr.write("filban: interrupted\n")
        code = 3
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in {"typer", "rich", "jinja2"}:
            raise
        sys.stderr.write(
            f"filban: the command line needs {error.name}, which is not installed\n"
            "  pip install 'filban[ops]'\n"
        )
        sys.exit(2)
    sys.exit(code)
