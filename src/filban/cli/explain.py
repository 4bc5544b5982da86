"""`filban explain`: a plan, read and judged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filban import config
from filban.cli.common import (
    ConfigOption,
    DsnOption,
    JsonOption,
    err,
    out,
    run_async,
    target,
    write_json,
)
from filban.errors import UsageError

if TYPE_CHECKING:
    from filban.profile.plans import Plan

EPILOG = """[bold]Examples[/bold]

filban explain service=news --sql 'SELECT * FROM articles WHERE site = 4'

filban explain service=news --sql "UPDATE articles SET seen = 1" --analyze   (rolled back)

filban explain plan.json --html plan.html

psql -c 'EXPLAIN ANALYZE SELECT 1' | filban explain -

filban explain --compare before.txt after.txt
"""


def register(app: typer.Typer) -> None:
    app.command("explain", epilog=EPILOG)(explain)


def explain(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[DSN|FILE|-]",
            help="A DSN with --sql; else a file with a plan, or - for standard input.",
            show_default=False,
        ),
    ] = None,
    sql: Annotated[
        str | None,
        typer.Option("--sql", help="Explain this statement on the server.", show_default=False),
    ] = None,
    analyze: Annotated[
        bool,
        typer.Option(
            "--analyze", help="Execute it, in a transaction that is rolled back, and measure."
        ),
    ] = False,
    timeout: Annotated[
        float, typer.Option(help="Cancel the statement after so many seconds; 0: never.", min=0)
    ] = 30.0,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="A B", help="Line two plans up.", show_default=False),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", help="Also write a self-contained page.", show_default=False),
    ] = None,
    dsn_option: DsnOption = None,
    as_json: JsonOption = False,
    config_file: ConfigOption = None,
) -> int:
    """A plan in plain words: what each node cost by itself, what is wrong, and the fix.

    Takes SQL and a DSN, or what EXPLAIN printed: text, JSON, YAML or XML, also as pasted from
    psql or out of a log of auto_explain.
    """
    from filban.profile import plans
    from filban.render import plan_terminal, plan_words

    if compare is not None:
        compared = plans.compare(*(_read(str(file)) for file in compare))
        if as_json:
            write_json(plan_words.comparison_json(compared))
        else:
            plan_terminal.print_comparison(out, compared)
        return 0
    if html_file is not None:
        from filban.render import html

        html.require_writable(html_file)
    plan, known = None, plans.NOTHING_KNOWN
    if sql is not None:
        plans.require_explainable(sql, analyze=analyze)
        where = target(source, dsn_option, config.load(config_file))
        if analyze:
            _announce(timeout)
        text = sql
        plan, known = run_async(
            lambda: plans.explain(text, where, analyze=analyze, timeout=timeout)
        )
    elif analyze:
        raise UsageError("--analyze needs a statement to execute", hint="give --sql and a DSN")
    else:
        plan = _read(source)
    findings = plans.judge(plan, known)
    if as_json:
        write_json(plan_words.plan_json(plan, findings))
    else:
        plan_terminal.print_plan(out, plan, findings)
    if html_file is not None:
        from filban.render import plan_html

        plan_html.write(plan, findings, html_file)
        err.print(f"wrote {html_file}", soft_wrap=True)
    return 0


def _announce(timeout: float) -> None:
    limit = f"cancelled after {timeout:g} s" if timeout else "without a time limit"
    err.print(
        f"executing the statement ({limit}) in a transaction that is rolled back; it takes its "
        "locks and draws from its sequences meanwhile",
        soft_wrap=True,
    )


def _read(source: str | None) -> Plan:
    """A plan from a file or standard input. Raises UsageError."""
    from filban.profile.plans import parse
    from filban.profile.plans.parse import LONGEST

    if source is None:
        raise UsageError(
            "nothing to explain", hint="give a file with a plan, -, or a DSN with --sql"
        )
    if source == "-":
        return parse(sys.stdin.buffer.read(LONGEST + 1))
    try:
        with Path(source).open("rb") as file:
            return parse(file.read(LONGEST + 1))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read {source}: {error.strerror if isinstance(error, OSError) else error}",
            hint="give a file with a plan, -, or a DSN with --sql",
        ) from error
