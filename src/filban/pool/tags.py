"""sqlcommenter: where a statement comes from, as a comment at its end.

    create_pool(dsn, tags=Tags(fixed={"application": "khabar"}))
    SELECT … FROM article /*application='khabar',route='GET%20%2Farticles%2F%7Bid%7D'*/

It is then in pg_stat_activity, in the server's log and in auto_explain's plans; pg_stat_statements
groups as before, since its query ids ignore comments.

Each text is a prepared statement of its own, on every connection. Routes are few, so their texts
stay few. With `traceparent` every execution has a text of its own: nothing is prepared by name
then, which costs one round trip a statement. It is off unless asked for, and worth it only for the
traces that are sampled: without a sampled span there is no tag, and the statement is cached.

Format: https://google.github.io/sqlcommenter/spec/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from filban.errors import UsageError
from filban.pool.context import route

# Routes that get a tag; a service that names its routes by raw paths (`/articles/17`) would fill
# the statement caches otherwise. Twice asyncpg's default statement_cache_size.
MAX_ROUTES = 200
TRACE_TAG = "traceparent='"
# asyncpg's transaction control; the router knows its COMMIT by its text.
_UNTAGGED = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


@dataclass(slots=True)
class Tags:
    """What to append. route: `filban.pool.context.route`; traceparent: the current OpenTelemetry
    span, if it is sampled; fixed: the same for all statements (application, controller …)."""

    route: bool = True
    traceparent: bool = False
    fixed: Mapping[str, str] = field(default_factory=dict)
    _known: dict[str | None, str] = field(default_factory=dict, repr=False)
    _current_trace: Callable[[], str | None] = field(default=lambda: None, repr=False)

    def __post_init__(self) -> None:
        if any("*/" in name or not name.isprintable() or not name for name in self.fixed):
            raise UsageError(
                f"tags with these names cannot be written: {sorted(self.fixed)}",
                hint='names as in {"application": "khabar"}',
            )
        if self.traceparent:
            from filban.pool.otel import traceparent

            self._current_trace = traceparent

    def applied(self, query: str) -> str:
        """The text with its comment."""
        trace = self._current_trace()
        comment = self._comment(route.get() if self.route else None)
        if trace is not None:
            comment += f"{',' if comment else ''}{TRACE_TAG}{trace}'"
        if not comment or query[:9].lstrip().upper().startswith(_UNTAGGED):
            return query
        return _appended(query, comment)

    def _comment(self, label: str | None) -> str:
        known = self._known.get(label)
        if known is None:
            if len(self._known) >= MAX_ROUTES and label is not None:
                return self._comment(None)
            pairs = dict(self.fixed) if label is None else {**self.fixed, "route": label}
            known = self._known[label] = ",".join(
                f"{quote(name, safe='')}='{quote(value, safe='')}'"
                for name, value in sorted(pairs.items())
            )
        return known


def _appended(query: str, comment: str) -> str:
    """Before a last semicolon, behind which the server would not count it to the statement; on a
    line of its own where the last one may end in a comment."""
    text = query.rstrip()
    tail = ";" if text.endswith(";") else ""
    text = text.removesuffix(";")
    last_line = text[text.rfind("\n") + 1 :]
    return f"{text}{chr(10) if '--' in last_line else ' '}/*{comment}*/{tail}"
