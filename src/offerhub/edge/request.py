"""One HTTP request as the edge reads it: headers, correlation id, and a body that is bounded in size and time."""

import asyncio
import re
from collections.abc import Collection, Mapping
from contextvars import Token
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Receive, Scope

from offerhub.edge.rate_limit import Allowance
from offerhub.errors import PayloadTooLarge, Unauthorized, UnsupportedMediaType, ValidationFailed
from offerhub.kernel.ids import new_uuid
from offerhub.runtime.redaction import scrub
from offerhub.runtime.routes import Route

USER_AGENT_CHARACTERS_MAX: Final = 256
BASE_PATH: Final = "/api/v1"
UNMATCHED: Final = "unmatched"
"""In place of a route's name, for a request that found none."""

ARRIVED: Final = "offerhub.arrived"
"""The extension of the server that tells whether the whole body is there."""

_CORRELATION_ID = re.compile(r"[\x20-\x7e]{1,128}")
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(slots=True)
class Request:
    """One request. `path` is below the base path; `allowance`, `route` and `told` are filled in once known.

    `headers` are by lower-case name, the first of each; `repeated` are the names that came more than once.
    """

    scope: Scope
    receive: Receive
    headers: Mapping[str, str]
    repeated: Collection[str]
    correlation_id: str
    method: str
    path: str
    ip: str
    allowance: Allowance | None = field(default=None)
    route: Route | None = None
    told: Mapping[str, Token[Any]] = field(default_factory=dict)
    """What log lines name besides the request, by its names."""

    @classmethod
    def read(cls, scope: Scope, receive: Receive) -> "Request":
        """Read the head of a request."""
        headers: dict[str, str] = {}
        repeated: list[str] = []
        for raw_name, value in scope["headers"]:
            name = raw_name.decode("latin-1")
            if name in headers:
                repeated.append(name)
            else:
                headers[name] = value.decode("latin-1")
        given = headers.get("x-request-id")
        path: str = scope["path"]
        if path.startswith(BASE_PATH + "/"):
            path = path[len(BASE_PATH) :]
        method: str = scope["method"]
        # The socket's peer only: a forwarded address is whatever the client wrote.
        client = scope.get("client")
        return cls(
            scope=scope,
            receive=receive,
            headers=headers,
            repeated=repeated,
            correlation_id=given if given and _is_correlation_id(given) else new_uuid(),
            # The server drops the body of an answer to HEAD by itself.
            method="GET" if method == "HEAD" else method,
            path=path,
            ip=client[0] if client else "unknown",
        )

    @property
    def route_name(self) -> str:
        """What the request is counted under."""
        return UNMATCHED if self.route is None else self.route.name

    @property
    def user_agent(self) -> str | None:
        """What the client calls itself, cut to a bounded length and without credentials."""
        agent = self.headers.get("user-agent")
        return scrub(agent)[:USER_AGENT_CHARACTERS_MAX] if agent else None

    def credential(self) -> str:
        """The API key, token or master key. Raises Unauthorized when there is none or it is malformed."""
        authorization = self.headers.get("authorization")
        if authorization is not None:
            scheme, _, credential = authorization.partition(" ")
            credential = credential.strip()
            if "authorization" in self.repeated or scheme.lower() != "bearer" or not credential:
                raise Unauthorized
            return credential
        key = self.headers.get("x-api-key", "").strip()
        if not key or "x-api-key" in self.repeated:
            raise Unauthorized
        return key

    def idempotency_key(self) -> str | None:
        """The Idempotency-Key, if any. Raises ValidationFailed when it is malformed, sent twice or a credential."""
        key = self.headers.get("idempotency-key")
        if key is None:
            return None
        if "idempotency-key" in self.repeated or not _IDEMPOTENCY_KEY.fullmatch(key):
            raise ValidationFailed(
                "Idempotency-Key must be one header of 1 to 255 printable ASCII characters.",
                header="Idempotency-Key",
            )
        if not _may_be_kept(key):
            raise ValidationFailed("Idempotency-Key must not be a credential.", header="Idempotency-Key")
        return key

    def require_json(self) -> None:
        """Raise UnsupportedMediaType when there is a body and it says that it is not JSON."""
        declared = self.headers.get("content-type")
        if declared is None or not self._has_body():
            return
        media_type = declared.partition(";")[0].strip().lower()
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise UnsupportedMediaType(contentType=media_type[:100])

    def _has_body(self) -> bool:
        return self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers

    async def body(self, bytes_max: int, seconds_max: float) -> bytes:
        """The whole body. Raises PayloadTooLarge, or ValidationFailed when it does not arrive in time."""
        declared = self.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > bytes_max:
            raise PayloadTooLarge(limit=bytes_max)
        arrived = self.scope.get("extensions", {}).get(ARRIVED)
        if arrived is not None and arrived["whole"]():
            return await self._received(bytes_max)
        try:
            async with asyncio.timeout(seconds_max):
                return await self._received(bytes_max)
        except TimeoutError:
            raise ValidationFailed("The body did not arrive in time.") from None

    async def _received(self, bytes_max: int) -> bytes:
        chunks = bytearray()
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ValidationFailed("The client left before the body was complete.")
            chunks += message.get("body", b"")
            if len(chunks) > bytes_max:
                raise PayloadTooLarge(limit=bytes_max)
            more = message.get("more_body", False)
        return bytes(chunks)


def _is_correlation_id(text: str) -> bool:
    return _CORRELATION_ID.fullmatch(text) is not None and _may_be_kept(text)


def _may_be_kept(text: str) -> bool:
    """False for what holds a credential: somebody has mistaken one header for another."""
    return scrub(text) == text
