"""Faults on demand, in front of every face: a pure ASGI wrapper, so that what is broken is the wire only.

Each fault counts how often it fired, so that a test can tell a fault that was survived from one that never was.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FaultKind = Literal["lose_response", "error_before", "error_after", "delay", "rate_limit"]
Face = Literal["horizon", "trustless_work", "airtm"]

PREFIXES: Final[dict[Face, str]] = {
    "horizon": "/horizon",
    "trustless_work": "/trustless-work",
    "airtm": "/airtm/v2",
}
TRANSPORT_KEY: Final = "offerhub.sandbox.transport"
"""Where the server leaves the connection in the scope, so that it can be cut."""

_ERROR_PAGE: Final = b"<html><body><h1>Bad gateway</h1></body></html>"


class FaultRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to go wrong. `route` is a regular expression matched from the start of the path in the face.

    `lose_response` does the work and cuts the connection; `error_before` answers `status` (502) and an HTML page
    without doing it; `error_after` does it and answers `status` (500); `delay` waits `seconds` before doing it;
    `rate_limit` answers 429. `times` bounds how often; `method` narrows it to one HTTP method.
    """

    face: Face
    route: str
    kind: FaultKind
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 1.0
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    method: str | None = None


@dataclass(slots=True)
class Fault:
    """A fault and how often it has fired."""

    id: int
    request: FaultRequest
    pattern: re.Pattern[str]
    fired: int = 0

    def matches(self, method: str, path: str) -> bool:
        """True when this fault is due for a request of this method and whole path."""
        if self.request.times is not None and self.fired >= self.request.times:
            return False
        if self.request.method is not None and self.request.method.upper() != method:
            return False
        prefix = PREFIXES[self.request.face]
        return path.startswith(prefix + "/") and self.pattern.match(path.removeprefix(prefix)) is not None

    def shown(self) -> dict[str, Any]:
        """As `GET /_sim/faults` lists it."""
        return {"id": self.id, **msgspec.to_builtins(self.request), "fired": self.fired}


class Faults:
    """The faults in force, in the order in which they were asked for; the first match fires."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._next_id = 1

    def add(self, request: FaultRequest) -> Fault:
        """Put a fault in force. Raises re.error for a route that is no regular expression."""
        fault = Fault(self._next_id, request, re.compile(request.route))
        self._next_id += 1
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all of them, and their counts."""
        self._faults.clear()

    def shown(self) -> list[dict[str, Any]]:
        """Every fault with its count."""
        return [fault.shown() for fault in self._faults]

    def take(self, method: str, path: str) -> FaultRequest | None:
        """The fault that is due for this request, counted as fired."""
        for fault in self._faults:
            if fault.matches(method, path):
                fault.fired += 1
                return fault.request
        return None


class FaultyWire:
    """Wraps an application with the faults in force."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with at most one fault."""
        fault = self._faults.take(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
            return
        match fault.kind:
            case "delay":
                await asyncio.sleep(fault.seconds)
                await self._app(scope, receive, send)
            case "error_before":
                await _answer(send, fault.status or 502, b"text/html", _ERROR_PAGE)
            case "rate_limit":
                body = b'{"statusCode":429,"status":429,"message":"Too Many Requests"}'
                await _answer(send, fault.status or 429, b"application/json", body)
            case "error_after":
                await self._app(scope, receive, _swallow)
                await _answer(send, fault.status or 500, b"text/html", _ERROR_PAGE)
            case "lose_response":
                await self._app(scope, receive, _swallow)
                await _cut(scope, receive)


async def _swallow(message: Message) -> None:
    """Where lost answers go."""


async def _answer(send: Send, status: int, kind: bytes, body: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _cut(scope: Scope, receive: Receive) -> None:
    """Abort the connection, and wait until the server has noticed: only then is silence no error to it."""
    transport: asyncio.Transport = scope[TRANSPORT_KEY]
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
