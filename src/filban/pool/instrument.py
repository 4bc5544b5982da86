"""Spans and tags: a connection class in between, made only for pools that ask for either.

The pool notes the user's own texts before they get here, so what it knows about them stays bounded.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from asyncpg.prepared_stmt import PreparedStatement

from filban.pool.tags import TRACE_TAG, Tags

_STATEMENTS = ("execute", "executemany", "fetch", "fetchrow", "fetchval", "fetchmany")
_COPIES = ("copy_from_query", "copy_from_table", "copy_to_table", "copy_records_to_table")


class Spans(Protocol):
    """What makes a span around a statement."""

    def statement(
        self, connection: Any, query: str, *, parameterised: bool
    ) -> AbstractContextManager[Any]: ...

    def copy(self, connection: Any, method: str, what: object) -> AbstractContextManager[Any]: ...


class _NoSpans:
    def statement(self, *_: Any, **__: Any) -> AbstractContextManager[Any]:
        return nullcontext()

    copy = statement


def instrumented(base: type[Any], *, tracer: Any = None, tags: Tags | None = None) -> type[Any]:
    """`base` with spans around its statements, and tags at their ends.

    tracer: an OpenTelemetry Tracer, or None. Raises ExtraMissing without opentelemetry-api.
    """
    spans: Spans = _NoSpans()
    if tracer is not None:
        from filban.pool.otel import StatementSpans

        spans = StatementSpans(tracer)
    namespace: dict[str, Any] = {
        name: _statement(getattr(base, name), spans, tags) for name in _STATEMENTS
    }
    namespace |= {name: _copy(getattr(base, name), name, spans) for name in _COPIES}
    namespace["prepare"] = _prepare(base.prepare, spans, tags)
    namespace["cursor"] = _cursor(base.cursor, tags)
    if tags is not None and tags.traceparent:
        namespace["_get_statement"] = _uncached(base._get_statement)
    made: type[Any] = types.new_class(
        base.__name__, (base,), exec_body=lambda n: n.update(namespace)
    )
    return made


def _statement(method: Callable[..., Any], spans: Spans, tags: Tags | None) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
        if self._proxy is None:  # the pool's own: a probe, a look at the catalogue
            return await method(self, query, *args, **kwargs)
        with spans.statement(self, query, parameterised=bool(args)):
            return await method(self, _tagged(query, tags), *args, **kwargs)

    return call


def _copy(method: Callable[..., Any], name: str, spans: Spans) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(self: Any, what: Any, *args: Any, **kwargs: Any) -> Any:
        with spans.copy(self, name, what):
            return await method(self, what, *args, **kwargs)

    return call


def _prepare(method: Callable[..., Any], spans: Spans, tags: Tags | None) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(self: Any, query: str, **kwargs: Any) -> Any:
        made = await method(self, _tagged(query, tags), **kwargs)
        return _Prepared(self, query, made, spans)

    return call


def _cursor(method: Callable[..., Any], tags: Tags | None) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
        return method(self, _tagged(query, tags), *args, **kwargs)

    return call


def _tagged(query: str, tags: Tags | None) -> str:
    return query if tags is None else tags.applied(query)


def _uncached(method: Callable[..., Any]) -> Callable[..., Any]:
    """A text that names its trace will not come again: asyncpg is to keep no statement for it."""

    @functools.wraps(method)
    async def call(self: Any, query: str, timeout: Any, **kwargs: Any) -> Any:
        if TRACE_TAG in query:
            kwargs["use_cache"] = False
        return await method(self, query, timeout, **kwargs)

    return call


class _Prepared(PreparedStatement):
    """asyncpg's, whose executions are spans as well."""

    __slots__ = ("_spans", "_text")

    def __init__(self, connection: Any, text: str, made: Any, spans: Spans) -> None:
        super().__init__(connection, made._query, made._state)
        self._text = text
        self._spans = spans

    def _span(self) -> AbstractContextManager[Any]:
        connection = self._connection  # type: ignore[attr-defined]
        return self._spans.statement(connection, self._text, parameterised=True)

    async def fetch(self, *args: Any, **kwargs: Any) -> Any:
        with self._span():
            return await super().fetch(*args, **kwargs)

    async def fetchrow(self, *args: Any, **kwargs: Any) -> Any:
        with self._span():
            return await super().fetchrow(*args, **kwargs)

    async def fetchval(self, *args: Any, **kwargs: Any) -> Any:
        with self._span():
            return await super().fetchval(*args, **kwargs)

    async def fetchmany(self, args: Any, **kwargs: Any) -> Any:
        with self._span():
            return await super().fetchmany(args, **kwargs)

    async def executemany(self, args: Any, **kwargs: Any) -> Any:
        with self._span():
            return await super().executemany(args, **kwargs)
