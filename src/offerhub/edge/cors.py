"""Browsers of other origins (CORS): closed unless the operator names the origins whose pages may call.

A page that may call sends its credential itself, in a header; cookies play no part, so none are allowed. A request
of any other origin is answered as if there were no CORS, without a single `Access-Control-*` header.
"""

from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from offerhub.edge.answers import Reply, failure
from offerhub.edge.decoding import refuse
from offerhub.edge.request import Request

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
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


_REFUSED: Final = "Disallowed CORS "


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
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None or not self._open.is_allowed_origin(origin):
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._answer_preflight(headers, Request.read(scope, receive).correlation_id, send)
        else:
            await self._open(scope, receive, send)

    async def _answer_preflight(self, headers: Headers, correlation_id: str, send: Send) -> None:
        """Starlette decides; its answers are plain text, ours are JSON, as all are (contract 1.1)."""
        decided = self._open.preflight_response(headers)
        reply = Reply(200, b"{}")
        if decided.status_code != 200:
            parts = bytes(decided.body).decode().removeprefix(_REFUSED).split(", ")
            faults = [(f"Access-Control-Request-{part.title()}", "is not allowed") for part in parts]
            reply = failure(refuse(faults), correlation_id)
        granted = [
            (name, value) for name, value in decided.raw_headers if name.startswith((b"access-control-", b"vary"))
        ]
        await reply.send(send, [(b"x-request-id", correlation_id.encode("ascii")), *granted])
