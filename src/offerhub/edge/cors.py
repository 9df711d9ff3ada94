"""Browsers of other origins (CORS): closed unless the operator names the origins whose pages may call.

A page that may call sends its credential itself, in a header; cookies play no part, so none are allowed. A request
of any other origin is answered as if there were no CORS, without a single `Access-Control-*` header.
"""

from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS: Final = ("GET", "HEAD", "POST", "DELETE")
REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "X-API-Key",
    "X-Marketplace-Id",
    "X-Request-ID",
)
EXPOSED_HEADERS: Final = (
    "Idempotency-Replay",
    "Retry-After",
    "X-Idempotency-Key",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-ID",
)
PREFLIGHT_SECONDS: Final = 600
"""How long a browser remembers that it may ask."""


class Cors:
    """The application, open to pages of these origins; `*` opens it to all."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._open = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            allow_credentials=False,
            expose_headers=EXPOSED_HEADERS,
            max_age=PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        allowed = origin is not None and self._open.is_allowed_origin(origin)
        await (self._open if allowed else self._app)(scope, receive, send)
