"""Timeline history files: who branched off whom, and where (backend/access/transam/timeline.c)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from filban.pg.lsn import format_lsn, parse_lsn

_LINE = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)(?:\s+(.*))?$")


@dataclass(frozen=True, slots=True)
class Branch:
    """Timeline `timeline` was left at `end` (exclusive); `reason` as PostgreSQL wrote it."""

    timeline: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class History:
    """A timeline and its ancestors, the oldest first. Timeline 1 has none and no file."""

    timeline: int
    ancestors: tuple[Branch, ...] = ()

    @property
    def parent(self) -> Branch | None:
        return self.ancestors[-1] if self.ancestors else None

    @property
    def start(self) -> int:
        """Where the timeline begins; 0 for one without ancestors."""
        return self.ancestors[-1].end if self.ancestors else 0

    def timeline_at(self, lsn: int) -> int:
        """Whose WAL holds the byte at `lsn` on the way to this timeline."""
        return next((b.timeline for b in self.ancestors if lsn < b.end), self.timeline)

    def includes(self, timeline: int, lsn: int) -> bool:
        """Whether the point (timeline, lsn) lies on the way to this timeline."""
        if timeline == self.timeline:
            return lsn >= self.start
        return any(b.timeline == timeline and lsn <= b.end for b in self.ancestors)


def parse(timeline: int, text: str) -> History:
    """Read NNNNNNNN.history. Raises ValueError, as the server would refuse it, saying why."""
    branches: list[Branch] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ValueError(f"this line cannot be understood: {line!r}")
        branch = Branch(int(match[1]), parse_lsn(match[2]), (match[3] or "").strip())
        if branches and (branch.timeline, branch.end) <= (branches[-1].timeline, branches[-1].end):
            raise ValueError(f"timeline {branch.timeline} does not come after its ancestor")
        branches.append(branch)
    if not branches:
        raise ValueError("it is empty")
    if branches[-1].timeline >= timeline:
        raise ValueError(f"timeline {branches[-1].timeline} cannot be an ancestor of {timeline}")
    return History(timeline, tuple(branches))


def described(history: History) -> str:
    """ "3 (from 2 at 0/5000000, from 1 at 0/3000000)", for people."""
    steps = ", ".join(
        f"from {b.timeline} at {format_lsn(b.end)}" for b in reversed(history.ancestors)
    )
    return f"{history.timeline} ({steps})" if steps else f"{history.timeline}"


def newest(histories: Mapping[int, History], timelines: set[int]) -> int | None:
    """The highest timeline that is known at all: what recovery_target_timeline=latest takes."""
    return max({*histories, *timelines}, default=None)
