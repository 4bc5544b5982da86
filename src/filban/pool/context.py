"""What a service tells the pool about the work in hand."""

from __future__ import annotations

from contextvars import ContextVar

# The request's route ("GET /articles/{id}"), set by the middleware, read by leak reports and tags.
route: ContextVar[str | None] = ContextVar("filban_route", default=None)
