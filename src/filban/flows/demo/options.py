"""What the demo is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from filban.errors import UsageError

ARTICLES = 200_000
# Fewer leave nothing to find: a sequential scan of them is as fast as any index.
FEWEST_ARTICLES = 1_000


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How large, how long, from which programs, and whether to leave it running.

    traffic_calls and traffic_seconds: whichever is reached first ends the traffic.
    bin_dir: PostgreSQL's programs; None finds what is installed, else the embedded build.
    Raises UsageError for numbers that cannot be.
    """

    articles: int = ARTICLES
    seed: int = 1
    keep: bool = False
    bin_dir: Path | None = None
    tasks: int = 16
    connections: int = 4
    traffic_calls: int = 2_000
    traffic_seconds: float = 15.0

    def __post_init__(self) -> None:
        if self.articles < FEWEST_ARTICLES:
            raise UsageError(
                f"--articles {self.articles} is too few",
                hint=f"give at least {FEWEST_ARTICLES}",
            )
        if min(self.tasks, self.connections, self.traffic_calls) < 1 or self.traffic_seconds <= 0:
            raise UsageError("the traffic needs a task, a connection, a call and some seconds")
