"""A marketplace's server that gets webhooks: it answers as it is told and keeps what came."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from support.outside import PATIENCE_SECONDS


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["svix-id"]

    @property
    def json(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.body)
        return body

    def is_signed_by(self, secret: str) -> bool:
        """What a receiver that knows one secret finds: any signature may match."""
        content = f"{self.id}.{self.headers['svix-timestamp']}.".encode() + self.body
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in self.headers["svix-signature"].split(" ")


@dataclass
class Receiver:
    """`answers` are the statuses of the next requests; 200 when there are none left."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[Received] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Received(headers, await request.read()))
        self.arrived.set()
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"location": self.url} if status == 302 else {})

    async def until(self, count: int) -> list[Received]:
        """Everything that came, once it is so many."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.got) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.got


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = runner.addresses[0]
    receiver.url = f"http://{address[0]}:{address[1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()
