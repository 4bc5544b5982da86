"""Which place in the application a statement comes from, out of its sqlcommenter comment."""

from __future__ import annotations

import polars as pl

from filban.profile.logs.rows import Route
from filban.sql import comments

MOST = 5_000  # routes that are kept apart; an application has hundreds
OTHERS = "(other routes)"
# The comment that ends a text, and of its pairs those that name a place: what else libraries put
# there (traceparent) is another one in each execution.
_COMMENT = r"/\*([^*]*)\*/[\s;]*$"
_PAIRS = rf"\b(?:{'|'.join(comments.NAMES)})='(?:[^'\\]|\\.)*'"


class Routes:
    """Sums by route and service. application_name is the service where the comment names none."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str | None], dict[int, list[float]]] = {}

    def take(self, lines: pl.DataFrame) -> None:
        """Lines with `number`, `kind`, `text`, `app`, `calls` and `ms` (null: not known)."""
        prepares = pl.col("kind").is_in(["parse", "bind"])
        lines = lines.filter(pl.col("text").str.contains("*/", literal=True) & ~prepares)
        if lines.is_empty():
            return
        found = pl.col("text").str.extract(_COMMENT).str.extract_all(_PAIRS).list.join(",")
        groups = (
            lines.with_columns(found.alias("pairs"))
            .filter(pl.col("pairs") != "")
            .group_by("pairs", "app", "number")
            .agg(pl.col("calls").sum(), pl.col("ms").sum())
        )
        for pairs, app, number, calls, ms in groups.iter_rows():
            self._add(pairs, app, number, calls, ms)

    def _add(self, pairs: str, app: str | None, number: int, calls: int, ms: float) -> None:
        labels = comments.labels(f"/*{pairs}*/")
        route = comments.route(labels)
        if route is None:
            return
        key = (route, comments.service(labels) or app)
        if key not in self._sums and len(self._sums) >= MOST:
            key = (OTHERS, None)
        sums = self._sums.setdefault(key, {}).setdefault(number, [0, 0.0])
        sums[0] += calls
        sums[1] += ms

    def of(self, number: int) -> tuple[str, ...]:
        """The routes of one statement, the one of most time first."""
        times = {
            route: sums[number][1] for (route, _), sums in self._sums.items() if number in sums
        }
        return tuple(sorted(times, key=lambda route: (-times[route], route)))

    def forget(self, numbers: set[int]) -> None:
        """Count these statements as 0, "the others"."""
        for sums in self._sums.values():
            for number in numbers & sums.keys():
                gone, others = sums.pop(number), sums.setdefault(0, [0, 0.0])
                others[0] += gone[0]
                others[1] += gone[1]

    def rows(self) -> list[Route]:
        """By total time."""
        rows = [
            Route(
                route, service, len(sums), int(sum(calls for calls, _ in sums.values())),
                round(sum(ms for _, ms in sums.values()), 3),
            )
            for (route, service), sums in self._sums.items()
        ]  # fmt: skip
        return sorted(rows, key=lambda row: (-row.total_ms, -row.calls, row.route))
