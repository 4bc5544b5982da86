"""The news service's traffic: what its readers and editors ask, through a pool, from many tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from filban.flows.demo.news.generate import LAST_DAY, sites
from filban.flows.demo.news.vocabulary import LOCALES, seeded, vocabulary, zipf
from filban.flows.progress import Step
from filban.pg import Query
from filban.pg.driver_errors import statement_errors

PACKAGE = "filban.flows.demo.news"
# Enough different arguments of a statement to measure it by later.
KEPT_ARGUMENTS = 20

Arguments = tuple[Any, ...]


class Pool(Protocol):
    """What traffic needs of a pool: asyncpg's and filban's both have it."""

    def acquire(self) -> AbstractAsyncContextManager[Any]: ...


@dataclass(slots=True)
class Asked:
    """One statement as the client saw it: its text, seconds of each call, some arguments.

    seconds: from sending to the last row, without the wait for a connection.
    """

    name: str
    text: str
    seconds: list[float] = field(default_factory=list)
    arguments: list[Arguments] = field(default_factory=list)

    def record(self, seconds: float, arguments: Arguments) -> None:
        self.seconds.append(seconds)
        if len(self.arguments) < KEPT_ARGUMENTS:
            self.arguments.append(arguments)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run of traffic did. `seconds` is wall time; `waits_seconds` one wait for a connection
    a call."""

    statements: tuple[Asked, ...]
    seconds: float
    waits_seconds: tuple[float, ...]

    @property
    def calls(self) -> int:
        return len(self.waits_seconds)


class Readers:
    """Draws statements and arguments as readers and editors would; seeded.

    only: the statements to draw from; all of them unless given.
    """

    def __init__(self, seed: int, articles: int, only: Collection[str] = ()) -> None:
        self._rng = seeded(seed, "traffic")
        self._articles = articles
        self._sites = [domain for domain, _ in sites(seed)]
        self._site_weights = zipf(len(self._sites))
        self._words = [w for language in LOCALES for w in vocabulary(language, seed).words]
        # Statement, its share of the traffic, its arguments.
        mix: tuple[tuple[str, int, Callable[[], Arguments]], ...] = (
            ("article_with_tags", 40, self._article),
            ("count_read", 20, self._article),
            ("latest_by_site", 14, lambda: (self._site(),)),
            ("site_between", 8, self._day_of_site),
            ("latest_by_tag", 6, lambda: (1 + int(self._rng.paretovariate(1)) % 100,)),
            ("search_titles", 4, lambda: (self._rng.choice(self._words),)),
            ("publish", 6, self._new_article),
            ("tag_counts", 2, lambda: (LAST_DAY - timedelta(days=7),)),
        )
        self._mix = [each for each in mix if not only or each[0] in only]
        self._shares = [share for _, share, _ in self._mix]

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self._mix]

    def draw(self) -> tuple[str, Arguments]:
        name, _, arguments = self._rng.choices(self._mix, self._shares)[0]
        return name, arguments()

    def _site(self) -> str:
        return self._rng.choices(self._sites, cum_weights=self._site_weights)[0]

    def _article(self) -> Arguments:
        """Mostly a recent one: half of what is read is in the last few percent of the archive."""
        age = min(self._rng.expovariate(1 / (0.05 * self._articles)), self._articles - 1)
        return (self._articles - int(age),)

    def _day_of_site(self) -> Arguments:
        day = LAST_DAY - timedelta(days=self._rng.randint(1, 700))
        return self._site(), day, day + timedelta(days=3)

    def _new_article(self) -> Arguments:
        words = self._rng.choices(self._words, k=150)
        tags = sorted({self._rng.randint(1, 100) for _ in range(3)})
        return self._site(), " ".join(words[:7]), " ".join(words), tags


async def run(
    pool: Pool,
    major: int,
    readers: Readers,
    *,
    tasks: int,
    calls: int,
    seconds: float,
    step: Step | None = None,
) -> Ran:
    """Let `tasks` concurrent tasks ask until `calls` statements or `seconds` are over.

    Raises the first error of any task (PoolError, StatementFailed, ConnectionLost); the others are
    cancelled then.
    """
    asked = {name: Asked(name, statement_text(name, major)) for name in readers.names}
    waits: list[float] = []
    started = time.perf_counter()
    drawn = 0

    async def ask_on() -> None:
        nonlocal drawn
        while drawn < calls and time.perf_counter() - started < seconds:
            drawn += 1
            waits.append(await _ask(pool, asked, *readers.draw()))
            if step:
                step.advance(drawn)

    with statement_errors("running the traffic"):
        await _all([ask_on() for _ in range(tasks)])
    called = tuple(a for a in asked.values() if a.seconds)
    return Ran(called, time.perf_counter() - started, tuple(waits))


async def _ask(pool: Pool, asked: dict[str, Asked], name: str, arguments: Arguments) -> float:
    """One call; the seconds it waited for a connection."""
    begun = time.perf_counter()
    async with pool.acquire() as connection:
        acquired = time.perf_counter()
        await connection.fetch(asked[name].text, *arguments)
        asked[name].record(time.perf_counter() - acquired, arguments)
    return acquired - begun


async def _all(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """As a TaskGroup, but the first error comes out as itself: the doors know our tree."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def statement_text(name: str, major: int) -> str:
    """A statement as the service sends it: without our file's header comment."""
    lines = Query(PACKAGE, name).text(major).splitlines()
    return "\n".join(line for line in lines if not line.startswith("--")).strip()
