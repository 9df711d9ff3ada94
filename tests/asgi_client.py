"""Speaks ASGI to an application, as a server would, without one."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from offerhub.errors import Refusal
from offerhub.runtime.database import Tx


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer as a client hears it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code; empty when it is no error."""
        code: str = self.json.get("error", {}).get("code", "")
        return code

    @property
    def details(self) -> dict[str, Any]:
        details: dict[str, Any] = self.json["error"]["details"]
        return details

    @property
    def data(self) -> Any:
        return self.json["data"]


class Client:
    """Sends requests with a credential and some headers."""

    def __init__(self, app: ASGIApp, credential: str | None = None, ip: str = "192.0.2.1") -> None:
        self.app = app
        self.credential = credential
        self.ip = ip

    async def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: list[tuple[str, str]] | None = None,
        key: str | None = None,
    ) -> Heard:
        """Send one request; `body` goes as JSON, `raw` as it is, `key` is the Idempotency-Key."""
        sent = list(headers or [])
        if raw is None:
            raw = b"" if body is None else json.dumps(body).encode()
        if raw:
            sent.append(("content-length", str(len(raw))))
            if not any(name == "content-type" for name, _ in sent):
                sent.append(("content-type", "application/json"))
        if self.credential is not None:
            sent.append(("authorization", f"Bearer {self.credential}"))
        if key is not None:
            sent.append(("idempotency-key", key))
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent],
            "client": (self.ip, 50000),
            "server": ("testserver", 80),
        }
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        start, *rest = messages
        heard = {name.decode(): value.decode() for name, value in start["headers"]}
        return Heard(start["status"], heard, b"".join(part.get("body", b"") for part in rest))

    async def get(self, target: str, **more: Any) -> Heard:
        return await self.send("GET", target, **more)

    async def post(self, target: str, body: Any = None, **more: Any) -> Heard:
        return await self.send("POST", target, body, **more)


class NoSagas:
    """Nothing here starts a saga."""

    async def wait(self, saga_id: str, seconds: float) -> None:
        raise AssertionError(saga_id)

    async def refusal(self, tx: Tx, saga_id: str) -> Refusal | None:
        raise AssertionError(saga_id)

    async def is_terminal(self, tx: Tx, saga_id: str) -> bool:
        raise AssertionError(saga_id)
