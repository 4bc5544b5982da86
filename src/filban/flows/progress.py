"""What a long flow says while it works: steps that start, advance and finish, one at a time.

A flow takes a `Progress`; the doors show it (bars on a terminal, plain lines elsewhere).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol


class Progress(Protocol):
    """How a door is told. Called from one task; must neither block nor raise.

    total and done: counts of `unit` ("rows", "statements", "bytes"); total is None where the end
    is not known beforehand. A step that fails or is cancelled is never `finished`.
    """

    def started(self, step: str, total: int | None, unit: str) -> None: ...

    def advanced(self, step: str, done: int) -> None: ...

    def finished(self, step: str, summary: str, seconds: float) -> None: ...


class Silent:
    """A `Progress` that says nothing."""

    def started(self, step: str, total: int | None, unit: str) -> None:
        pass

    def advanced(self, step: str, done: int) -> None:
        pass

    def finished(self, step: str, summary: str, seconds: float) -> None:
        pass


class Step:
    """One running step, as the code inside it sees it. `summary` is one line with its numbers."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self.name = name
        self.summary = ""
        self._started = time.perf_counter()

    def advance(self, done: int) -> None:
        """`done` counts from the start of the step."""
        self._progress.advanced(self.name, done)

    @property
    def seconds(self) -> float:
        """Wall time since the step started."""
        return time.perf_counter() - self._started


@contextlib.contextmanager
def step(progress: Progress, name: str, total: int | None = None, unit: str = "") -> Iterator[Step]:
    """Announce a step, hand it out, and say that it is finished unless it raised."""
    progress.started(name, total, unit)
    running = Step(progress, name)
    yield running
    progress.finished(name, running.summary, running.seconds)
