"""ASGI middleware: what a user has written travels with the user, and leases know their request.

    app.add_middleware(ReadYourWrites, key=SECRET)                  # FastAPI, Starlette
    app = ReadYourWrites(app, router=router, key=SECRET)            # any ASGI application

A write in one request sets a signed cookie (and a header, for clients without cookies); the reads
of the next requests bring it along, on whichever process they land, and are never older than it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from filban.errors import UsageError
from filban.pool.context import route
from filban.pool.routing.router import Router
from filban.pool.routing.session import Session, session
from filban.pool.routing.tokens import Signer, Token, newest

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "filban_token"
HEADER = "filban-token"
# Replicas that are further behind than this are not used at all where it matters (max_lag).
MAX_AGE_SECONDS = 60.0


def declared_route(scope: Scope) -> str | None:
    """ "GET /articles/{id}", once Starlette's router has put the route into the scope; None before,
    and in applications without such a router. Never the path itself: there is no end of paths, and
    each would be another text of the same statement (tags) for the server."""
    path = getattr(scope.get("route"), "path", None)
    return None if path is None else f"{scope.get('method', 'WEBSOCKET')} {path}"


class ReadYourWrites:
    """One session for each request, begun with the token that came along.

    router: a Router; None: the one that `filban.pool.fastapi.lifespan` has given the application.
    key: signs the tokens; the same in all processes, at least 16 bytes. max_age: seconds for which
    a write is remembered. secure: whether the cookie needs TLS (None: as the request came).

    Writes after the response has begun (streams, background tasks) are not in its token.
    """

    def __init__(
        self,
        app: App,
        *,
        key: str | bytes,
        router: Router | None = None,
        cookie: str = COOKIE,
        header: str = HEADER,
        max_age: float = MAX_AGE_SECONDS,
        secure: bool | None = None,
    ) -> None:
        self._app = app
        self._router = router
        self._signer = Signer(key, max_age_seconds=max_age)
        self._cookie = cookie
        self._header = header.lower().encode("latin-1")
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        brought = self._brought(scope)
        label = route.set(None)
        try:
            with session(brought) as opened:
                opened.route = partial(declared_route, scope)
                await self._app(scope, receive, self._telling(scope, send, opened, brought))
        finally:
            route.reset(label)

    def _brought(self, scope: Scope) -> Token | None:
        """What came with the request, in the header or the cookie."""
        found: Token | None = None
        for name, value in scope["headers"]:
            if name == self._header:
                found = newest(found, self._signer.read(value.decode("latin-1")))
            elif name == b"cookie":
                for pair in value.decode("latin-1").split(";"):
                    key, _, text = pair.strip().partition("=")
                    if key == self._cookie:
                        found = newest(found, self._signer.read(text))
        return found

    def _telling(self, scope: Scope, send: Send, opened: Session, brought: Token | None) -> Send:
        """`send` that adds the token of what has been written to the response's headers."""

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                token = await self._written(scope, opened)
                if token is not None and token != brought:
                    message["headers"] = [*message.get("headers", ()), *self._headers(scope, token)]
            await send(message)

        return telling

    async def _written(self, scope: Scope, opened: Session) -> Token | None:
        if opened.pending is None:
            return opened.token
        router = self._router or getattr(getattr(scope.get("app"), "state", None), "filban", None)
        if not isinstance(router, Router):
            raise UsageError(
                "ReadYourWrites knows no Router",
                hint="give it router=…, or use filban.pool.fastapi.lifespan(connect, …)",
            )
        return await router.token_of(opened)

    def _headers(self, scope: Scope, token: Token) -> list[tuple[bytes, bytes]]:
        signed = self._signer.sign(token)
        secure = scope.get("scheme") == "https" if self._secure is None else self._secure
        cookie = (
            f"{self._cookie}={signed}; Path=/; Max-Age={int(self._signer.max_age_seconds)};"
            f" HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
        )
        return [(b"set-cookie", cookie.encode("latin-1")), (self._header, signed.encode("latin-1"))]
