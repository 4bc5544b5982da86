"""A diagnosis for a terminal: the verdict, session time as bars, the first things to do."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from filban.profile.bottlenecks import NAMES, Diagnosis
from filban.render import terminal
from filban.units import number

_BAR = 20  # characters of a full bar
_LEAST_SHOWN = 0.005
_COLOURS = {"bottleneck": "yellow", "healthy": "green", "idle": "green", "unknown": "magenta"}


def print_diagnosis(console: Console, diagnosis: Diagnosis, *, facts: bool = False) -> None:
    """The verdict comes first: who reads one line has read the answer."""
    verdict = diagnosis.verdict
    console.print(Text(terminal.clean(diagnosis.subject), style="bold"))
    console.print(Text(verdict.sentence, style=f"bold {_COLOURS[verdict.state]}"))
    console.print()
    if diagnosis.parts:
        console.print(_bars(diagnosis))
        console.print()
    console.print(Text(_basis(diagnosis), style="dim"), soft_wrap=True)
    console.print()
    report = replace(diagnosis.report(), title="To do first" if diagnosis.findings else "To do")
    terminal.print_report(console, report, facts=facts, everything=True)


def _bars(diagnosis: Diagnosis) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("session time")
    table.add_column("", no_wrap=True)
    table.add_column("share", justify="right")
    table.add_column("sessions", justify="right")
    for held in diagnosis.parts:
        if held.share >= _LEAST_SHOWN:
            full = round(held.share * _BAR)
            table.add_row(
                NAMES[held.part.name],
                Text("█" * full + "·" * (_BAR - full), style="cyan"),
                f"{100 * held.share:.0f} %",
                f"{held.part.sessions:.2f}",
            )
    return table


def _basis(diagnosis: Diagnosis) -> str:
    """What the verdict stands on."""
    interval, machine = diagnosis.interval, diagnosis.interval.machine
    rate = interval.database.transactions / interval.seconds
    words = (
        f"{interval.load.samples} samples in {interval.seconds:.0f} s · {number(round(rate))} "
        f"transactions/s · {interval.connections.used} of {interval.connections.allowed} "
        "connections"
    )
    if machine is not None:
        words += f" · {machine.cores:g} cores, {100 * machine.busy:.0f} % busy"
    return words
