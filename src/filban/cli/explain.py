"""`filban explain`: a plan, read and judged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filban import config
from filban.cli.check import FailOn
from filban.cli.common import (
    ConfigOption,
    DsnOption,
    JsonOption,
    err,
    out,
    run_async,
    standard_output,
    target,
    write_json,
)
from filban.errors import UsageError

if TYPE_CHECKING:
    from filban.profile.plans import Plan

EPILOG = """[bold]Examples[/bold]

filban explain service=news 'SELECT * FROM articles WHERE site = 4'

filban explain service=news "UPDATE articles SET seen = 1" --analyze   (rolled back)

filban explain service=news 'SELECT * FROM articles WHERE site = $1'   (its generic plan)

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
            help="A DSN with a statement; else a file with a plan, or - for standard input.",
            show_default=False,
        ),
    ] = None,
    statement: Annotated[
        str | None,
        typer.Argument(
            metavar="[SQL]", help="Explain this statement on the server.", show_default=False
        ),
    ] = None,
    sql: Annotated[
        str | None,
        typer.Option(
            "--sql",
            help="The same, for the server of filban.toml or PG*.",
            show_default=False,
        ),
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
    fail_on: Annotated[
        FailOn,
        typer.Option("--fail-on", help="End with 1 from this severity on."),
    ] = FailOn.never,
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

    if statement is not None and sql is not None:
        raise UsageError("the statement was given twice", hint="as an argument or with --sql")
    sql = sql if statement is None else statement
    if compare is not None:
        if source is not None or sql is not None:
            raise UsageError("--compare takes two plans and nothing else")
        compared = plans.compare(*(_read(str(file)) for file in compare))
        with standard_output():
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
        raise UsageError(
            "--analyze needs a statement to execute", hint="give a DSN and a statement"
        )
    else:
        plan = _read(source)
    findings = plans.judge(plan, known)
    with standard_output():
        if as_json:
            write_json(plan_words.plan_json(plan, findings))
        else:
            plan_terminal.print_plan(out, plan, findings)
    if html_file is not None:
        from filban.render import plan_html

        plan_html.write(plan, findings, html_file)
        err.print(f"wrote {html_file}", soft_wrap=True)
    limit = config.fail_on(fail_on.value)
    return int(limit is not None and any(f.severity >= limit for f in findings))


def _announce(timeout: float) -> None:
    limit = f"cancelled after {timeout:g} s" if timeout else "without a time limit"
    err.print(
        f"executing the statement ({limit}) in a transaction that is rolled back; it takes its "
        "locks and draws from its sequences meanwhile",
        soft_wrap=True,
    )


def _read(source: str | None) -> Plan:
    """A plan from a file or standard input. Raises UsageError."""
    from filban.profile.plans.parse import LONGEST

    if source is None:
        raise UsageError(
            "nothing to explain", hint="give a file with a plan, -, or a DSN and a statement"
        )
    if source == "-":
        return _slowest(sys.stdin.buffer.read(LONGEST + 1))
    try:
        with Path(source).open("rb") as file:
            return _slowest(file.read(LONGEST + 1))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read {source}: {error.strerror if isinstance(error, OSError) else error}",
            hint="give a file with a plan, -, or a DSN and a statement",
        ) from error


def _slowest(content: bytes) -> Plan:
    """Of several plans, as a log has them, the one that took longest, and a word about it."""
    from filban.profile.plans import parse_all

    found = parse_all(content)
    if len(found) > 1:
        err.print(f"{len(found):,} plans were read; this is the slowest", soft_wrap=True)
    return max(found, key=lambda plan: plan.total_ms or 0.0)
