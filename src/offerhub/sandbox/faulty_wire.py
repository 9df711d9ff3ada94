"""The wire in front of the faces: a pure ASGI wrapper that carries out the faults that strike there."""

import asyncio
import json
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from offerhub.sandbox.faults import HEADER, PREFIXES, BadFault, Fault, Faults

TRANSPORT_KEY: Final = "offerhub.sandbox.transport"
"""Where the server leaves the connection in the scope, so that it can be cut."""
FAULT_KEY: Final = "offerhub.sandbox.fault"
"""Where the wire leaves a fault for the face to carry out."""

_ERROR_PAGE: Final = b"<html><body><h1>Bad gateway</h1></body></html>"
_HTML: Final = b"text/html"
_JSON: Final = b"application/json"


def fault_in(request: Request, *kinds: str) -> Fault | None:
    """The fault that the face is to carry out in this request, if it is one of these kinds."""
    fault: Fault | None = request.scope.get(FAULT_KEY)
    return fault if fault is not None and fault.kind in kinds else None


def cut_of(request: Request) -> Callable[[], None]:
    """What cuts the connection of a request."""
    transport: asyncio.Transport = request.scope[TRANSPORT_KEY]
    return transport.abort


class FaultyWire:
    """Wraps an application with the faults in force."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with at most one fault."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = dict(scope["headers"]), scope["path"]
        if path == PREFIXES["rpc"]:
            # Every method has the same address: faults are told apart by what is called.
            body = await _whole(receive)
            path, receive = f"{path}/{_method_of(body)}", _again(body, receive)
        streams = b"text/event-stream" in headers.get(b"accept", b"")
        asked = headers.get(HEADER)
        try:
            if asked is not None:
                fault: Fault | None = self._faults.take_header(
                    asked.decode("latin-1"), scope["method"], path, streams=streams
                )
            else:
                fault = self._faults.take(scope["method"], path, streams=streams)
        except BadFault as error:
            await _answer(send, 400, _JSON, json.dumps({"error": str(error)}).encode())
            return
        if fault is None or fault.sort.stage == "face":
            scope[FAULT_KEY] = fault
            await self._app(scope, receive, send)
            return
        await self._with(fault, scope, receive, send)

    async def _with(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        request, face = fault.request, fault.request.face
        match fault.kind:
            case "delay":
                await asyncio.sleep(fault.seconds)
                await self._app(scope, receive, send)
            case "lose_request":
                await _cut(scope, receive)
            case "error_before":
                await _answer(send, request.status or 502, _HTML, _ERROR_PAGE)
            case "rate_limit":
                more = [] if request.retry_after is None else [(b"retry-after", str(request.retry_after).encode())]
                status = request.status or 429
                await _answer(send, status, _JSON, refusal(face, status, "Too Many Requests"), more)
            case "unauthorized":
                status = request.status or 401
                await _answer(send, status, _JSON, refusal(face, status, "Unauthorized"))
            case "not_found":
                await _answer(send, 404, _JSON, refusal(face, 404, "Not Found"))
            case _:
                # Everything else has done its work before it goes wrong.
                done = _Kept()
                await self._app(scope, receive, done.take)
                await self._spoil(fault, done, scope, receive, send)

    async def _spoil(self, fault: Fault, done: "_Kept", scope: Scope, receive: Receive, send: Send) -> None:
        match fault.kind:
            case "lose_response":
                await _cut(scope, receive)
            case "error_after":
                await _answer(send, fault.request.status or 500, _HTML, _ERROR_PAGE)
            case "html_page":
                await _answer(send, 200, _HTML, _ERROR_PAGE)
            case "empty_body":
                await _answer(send, fault.request.status or 200, _JSON, b"")
            case "truncated_json":
                await _answer(send, done.status, _JSON, done.body[: len(done.body) // 2])
            case "slow_response":
                await asyncio.sleep(fault.seconds)
                await _answer(send, done.status, _JSON, done.body)
            case "slow_body":
                await _trickle(send, receive, done, fault.seconds)
            case _:
                await _answer(send, done.status, _JSON, _altered(fault, done.body))


class _Kept:
    """An answer that was not sent."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""

    async def take(self, message: Message) -> None:
        """In place of sending it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.body += message.get("body", b"")


def refusal(face: str | None, status: int, words: str) -> bytes:
    """An error in the form of the face."""
    if face == "airtm":
        code = {401: "415006", 403: "415028", 404: "415902"}.get(status, str(status))
        body: dict[str, Any] = {"code": code, "message": words}
    elif face == "airtm_connect":
        told = {401: {"error": "invalid_token"}, 403: {"error": "insufficient_scope"}, 503: {"code": "415124"}}
        body = {**told.get(status, {}), "message": words}
    elif face == "horizon":
        kind = {404: "not_found", 429: "rate_limit_exceeded", 401: "unauthorized"}.get(status, "forbidden")
        body = {"type": f"https://stellar.org/horizon-errors/{kind}", "title": words, "status": status}
    else:
        body = {"statusCode": status, "status": status, "message": words}
    return json.dumps(body).encode()


def _altered(fault: Fault, body: bytes) -> bytes:
    """A JSON answer with something wrong in it; what is not JSON stays."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body
    field = fault.request.field
    told, answer = answer, answer.get("result", answer) if fault.request.face == "rpc" else answer
    match fault.kind:
        case "duplicate_items":
            _double(answer)
        case "drop_field" if isinstance(answer, dict):
            answer.pop(field, None)
        case "set_field" if isinstance(answer, dict):
            answer[field] = fault.request.value
        case "wrong_type" if isinstance(answer, dict):
            for name in [field] if field else list(answer):
                answer[name] = _of_another_type(answer.get(name))
    return json.dumps(told).encode()


def _double(answer: Any) -> None:
    """Show the first item of a list twice, wherever this face keeps its lists."""
    items = answer
    if isinstance(answer, MutableMapping):
        items = answer.get("items") or answer.get("events") or answer.get("_embedded", {}).get("records")
    if isinstance(items, list) and items:
        items.insert(0, items[0])


def _of_another_type(value: Any) -> Any:
    if isinstance(value, str):
        return 0
    return str(value) if isinstance(value, int | float) else [value]


async def _whole(receive: Receive) -> bytes:
    """The body of a request, or as much of it as came."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read by the face; then whatever else the connection tells."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _method_of(body: bytes) -> str:
    """The method that a JSON-RPC request calls."""
    try:
        return str(json.loads(body)["method"])
    except (ValueError, KeyError, TypeError):
        return "unreadable"


async def _answer(
    send: Send, status: int, kind: bytes, body: bytes, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *(more or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _trickle(send: Send, receive: Receive, done: _Kept, seconds: float) -> None:
    """One byte at a time, until all is said or the other side has had enough."""
    gone = asyncio.ensure_future(_gone(receive))
    headers = [(b"content-type", _JSON), (b"content-length", str(len(done.body)).encode())]
    await send({"type": "http.response.start", "status": done.status, "headers": headers})
    for index in range(len(done.body)):
        is_last = index == len(done.body) - 1
        await send({"type": "http.response.body", "body": done.body[index : index + 1], "more_body": not is_last})
        if not is_last:
            await asyncio.wait({gone}, timeout=seconds)
            if gone.done():
                return
    gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut(scope: Scope, receive: Receive) -> None:
    """Abort the connection, and wait until the server has noticed: only then is silence no error to it."""
    transport: asyncio.Transport = scope[TRANSPORT_KEY]
    transport.abort()
    await _gone(receive)
