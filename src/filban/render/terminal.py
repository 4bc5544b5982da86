"""A report for a terminal, through rich. SQL and commands stand on lines of their own, unwrapped,
so that they can be pasted."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from filban.finding import Finding, Fix, Report, Severity
from filban.render.document import Section, groups, sections, summary
from filban.render.quantity import evidence

_STYLE = {
    Severity.critical: ("✗", "bold red"),
    Severity.warning: ("!", "bold yellow"),
    Severity.info: ("·", "bold cyan"),
}
# Facts about the run itself: told in the closing line or in their own words, not as a list.
_ASIDE = {"not_visible", "ignored", "checks", "codes", "seconds"}


def print_report(
    console: Console, report: Report, *, facts: bool = False, everything: bool = False
) -> None:
    """Findings worst first, then the facts if asked, what was not visible, and a count."""
    console.print(f"[bold]{escape(clean(report.title))}[/bold]\n")
    if facts:
        shown = {k: v for k, v in report.facts.items() if k not in _ASIDE}
        for section in sections(shown):
            _section(console, section)
    for group in groups(report, everything=everything):
        for finding in group.shown:
            _finding(console, finding)
        if group.more:
            names = ", ".join(clean(f.subject) for f in group.more[:20])
            tail = "" if len(group.more) <= 20 else ", …"
            console.print(
                f"  [dim]and {len(group.more):,} more {escape(group.more[0].code)} (--all shows "
                f"them): {escape(names)}{tail}[/dim]\n"
            )
    _not_visible(console, report)
    _closing(console, report)


def clean(text: str) -> str:
    """Without control characters: a table's name must not drive the reader's terminal."""
    return "".join(c if c == "\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _finding(console: Console, finding: Finding) -> None:
    mark, style = _STYLE[finding.severity]
    head = Text.assemble(
        (f"{mark} {finding.severity.name.upper()} ", style),
        (clean(finding.title), "bold"),
        (f"  {finding.code}", "dim"),
    )
    console.print(head)
    _indented(console, finding.subject, style="cyan")
    _indented(console, finding.why)
    if finding.evidence:
        pairs = " · ".join(f"{name} {value}" for name, value in evidence(finding.evidence))
        _indented(console, f"evidence: {pairs}", style="dim")
    if finding.fix is not None:
        _fix(console, finding.fix)
    console.print()


def _fix(console: Console, fix: Fix) -> None:
    locks = f"locks: {fix.lock}" + ("" if fix.reversible else "; cannot be undone")
    console.print(Text(f"  fix ({locks}):", style="green"))
    for line in (fix.sql or fix.command).splitlines():
        console.print(Text(f"    {clean(line)}"), soft_wrap=True)
    if fix.advice:
        _indented(console, fix.advice, by=4)
    if fix.caution:
        _indented(console, f"caution: {fix.caution}", style="yellow")


def _indented(console: Console, text: str, *, style: str = "", by: int = 2) -> None:
    """Wrapped within its margin, without the blanks at line ends that rich's own padding leaves."""
    for line in Text(clean(text), style=style).wrap(console, max(console.width - by, 20)):
        line.rstrip()
        console.print(Text(" " * by).append_text(line), soft_wrap=True)


def _section(console: Console, section: Section) -> None:
    if section.title:
        console.print(Text(clean(section.title), style="bold"))
    pairs = Table.grid(padding=(0, 2))
    for label, value in section.facts:
        pairs.add_row(Text(clean(label), style="dim"), Text(clean(value)))
    console.print(Padding(pairs, (0, 0, 0, 2), expand=False))
    for label, content in section.tables:
        table = Table(title=label, title_justify="left", box=None, pad_edge=False, padding=(0, 2))
        for column in content.columns:
            table.add_column(column, overflow="fold", header_style="dim")
        for row in content.rows:
            table.add_row(*(escape(clean(cell)) for cell in row))
        console.print(Padding(table, (0, 0, 0, 2), expand=False))
    console.print()


def _not_visible(console: Console, report: Report) -> None:
    hidden = report.facts.get("not_visible") or []
    if not hidden:
        return
    console.print("[bold magenta]Not visible to this role[/bold magenta]")
    for item in hidden:
        remedy = f": {clean(item['remedy'])}" if item["remedy"] else ""
        console.print(Text(f"  {clean(item['what'])}{remedy}"))
    console.print()


def _closing(console: Console, report: Report) -> None:
    words = summary(report)
    if report.facts.get("ignored"):
        words += f"; {len(report.facts['ignored']):,} ignored"
    if "checks" in report.facts:
        words += f" · {report.facts['checks']} checks in {report.facts['seconds']:.2f} s"
    worst = report.worst()
    style = "bold green" if worst is None else _STYLE[worst][1]
    console.print(Text(words, style=style))
