"""OpenTelemetry: a pool's numbers when a reader asks for them, and spans around statements.

    observe(pool)                                                # metrics, over the global provider
    create_pool(dsn, tracer=opentelemetry.trace.get_tracer("khabar"))        # spans

Names are those of the semantic conventions for database clients (stable since 1.33), and for what
these do not have `filban.pool.*`. The API has no histogram that is asked instead of told: each of
the pool's is three counters, by `le` (the upper bound in seconds), as Prometheus writes them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import asyncpg

from filban import sql
from filban.errors import ExtraMissing
from filban.pool.sources import HISTOGRAMS, Source, Sources, cumulated
from filban.pool.stats import PoolStats

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, Observation
except ImportError as error:
    raise ExtraMissing("opentelemetry", "otel") from error

_NAME = "filban.pool"
# Texts whose operation and normal form are kept; as many as the judge of clean texts has use for.
_TEXTS = 1024

Values = Iterator[tuple[float, dict[str, str]]]


def observe(*sources: Source, meter: metrics.Meter | None = None) -> None:
    """Register pools and Routers; they are asked when a reader collects, and not kept alive."""
    meter = meter or metrics.get_meter(_NAME)
    known = Sources(sources)

    def asked(values: Callable[[PoolStats], Values]) -> Any:
        def callback(_: CallbackOptions) -> Iterable[Observation]:
            for stats in known.stats():
                common = {
                    "db.client.connection.pool.name": stats.name,
                    "server.address": stats.server,
                }
                for value, attributes in values(stats):
                    yield Observation(value, common | attributes)

        return [callback]

    for name, unit, values, about in _LEVELS:
        meter.create_observable_up_down_counter(name, asked(values), unit, about)
    for name, unit, values, about in _COUNTS:
        meter.create_observable_counter(name, asked(values), unit, about)


def _states(stats: PoolStats) -> Values:
    yield stats.idle, {"db.client.connection.state": "idle"}
    yield stats.in_use, {"db.client.connection.state": "used"}


def _one(field: str) -> Callable[[PoolStats], Values]:
    def values(stats: PoolStats) -> Values:
        yield getattr(stats, field), {}

    return values


def _resets(stats: PoolStats) -> Values:
    yield stats.resets_done, {"filban.pool.reset": "done"}
    yield stats.resets_skipped, {"filban.pool.reset": "skipped"}


def _buckets(field: str) -> Callable[[PoolStats], Values]:
    def values(stats: PoolStats) -> Values:
        for bound, count in cumulated(getattr(stats, field)):
            yield count, {"le": bound}

    return values


def _sum(field: str) -> Callable[[PoolStats], Values]:
    def values(stats: PoolStats) -> Values:
        yield getattr(stats, field).sum, {}

    return values


_CLIENT = "db.client.connection"
_LEVELS: tuple[tuple[str, str, Callable[[PoolStats], Values], str], ...] = (
    (f"{_CLIENT}.count", "{connection}", _states, "Connections by state"),
    (f"{_CLIENT}.max", "{connection}", _one("max_size"), "The most connections allowed"),
    (f"{_CLIENT}.idle.max", "{connection}", _one("max_size"), "The most idle ones allowed"),
    (f"{_CLIENT}.idle.min", "{connection}", _one("min_size"), "Connections that are kept open"),
    (f"{_CLIENT}.pending_requests", "{request}", _one("waiting"), "Tasks that wait"),
)
_COUNTS: tuple[tuple[str, str, Callable[[PoolStats], Values], str], ...] = (
    (f"{_CLIENT}.timeouts", "{timeout}", _one("timeouts"), "Acquires that waited in vain"),
    ("filban.pool.refused", "{request}", _one("refused"), "Acquires turned away by max_waiters"),
    ("filban.pool.acquired", "{request}", _one("acquired"), "Leases given"),
    ("filban.pool.resets", "{reset}", _resets, "Resets done, and those that were not needed"),
    ("filban.pool.connects", "{connection}", _one("connects"), "Connections opened"),
    ("filban.pool.connect_errors", "{error}", _one("connect_errors"), "Connections that failed"),
    ("filban.pool.reconnects", "{connection}", _one("reconnects"), "Opened in place of another"),
    ("filban.pool.leaks", "{lease}", _one("leaks"), "Leases held over leak_threshold"),
    ("filban.pool.dropped", "{lease}", _one("dropped"), "Leases that nobody released"),
    *(
        row
        for field, what in HISTOGRAMS.items()
        for row in (
            (f"filban.pool.{field}.bucket", "{lease}", _buckets(field), f"{what}, by le"),
            (f"filban.pool.{field}.sum", "s", _sum(field), f"{what}, seconds in all"),
        )
    ),
)


# Spans


def traceparent() -> str | None:
    """The current span as a W3C traceparent, or None where none is sampled."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


class StatementSpans:
    """A client span around each statement. Never an argument: the text is the parameterised one."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def statement(
        self, connection: Any, query: str, *, parameterised: bool
    ) -> contextlib.AbstractContextManager[Any]:
        operation, text = described(query, parameterised)
        return self._span(connection, operation, text)

    def copy(
        self, connection: Any, method: str, what: object
    ) -> contextlib.AbstractContextManager[Any]:
        if method == "copy_from_query":
            return self._span(connection, "COPY", described(str(what), False)[1])
        return self._span(connection, "COPY", "", collection=str(what))

    @contextlib.contextmanager
    def _span(
        self, connection: Any, operation: str, text: str, *, collection: str = ""
    ) -> Iterator[None]:
        attributes = _of_connection(connection)
        if operation:
            attributes["db.operation.name"] = operation
        if text:
            attributes["db.query.text"] = text
        if collection:
            attributes["db.collection.name"] = collection
        target = collection or attributes["db.namespace"]
        with self._tracer.start_as_current_span(
            f"{operation} {target}".strip(),
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,  # PostgreSQL's DETAIL shows the values of the row
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                _failed(span, error)
                raise


def _of_connection(connection: Any) -> dict[str, Any]:
    address = connection._addr
    attributes = {
        "db.system.name": "postgresql",
        "db.namespace": str(connection._params.database or connection._params.user or ""),
    }
    if isinstance(address, tuple):
        return {**attributes, "server.address": address[0], "server.port": address[1]}
    return {**attributes, "server.address": str(address), "network.transport": "unix"}


def _failed(span: trace.Span, error: BaseException) -> None:
    state = getattr(error, "sqlstate", None) if isinstance(error, asyncpg.PostgresError) else None
    kind = type(error).__qualname__
    if state:
        span.set_attribute("db.response.status_code", state)
    span.set_attribute("error.type", state or kind)
    span.set_status(trace.Status(trace.StatusCode.ERROR, kind))


@lru_cache(_TEXTS)
def described(query: str, parameterised: bool) -> tuple[str, str]:
    """(operation, text) for a span: the command of a single statement, and the text without
    constants, as it is where values came beside it; "" for what cannot be known."""
    try:
        kinds: Iterable[str] = sql.statement_kinds(query)
        text = query if parameterised else sql.normalize(query)
    except sql.SqlError:
        return "", query if parameterised else ""
    operations = set(kinds)
    return operations.pop() if len(operations) == 1 else "", text
