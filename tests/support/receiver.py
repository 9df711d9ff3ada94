"""A marketplace's server that gets webhooks: it answers as it is told, and keeps what came."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

from support.outside import PATIENCE_SECONDS


@dataclass(frozen=True)
class Got:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.body)
        return body

    def is_signed_by(self, secret: str) -> bool:
        """What a receiver finds that knows this secret, by the specification's own library."""
        try:
            Webhook(secret).verify(self.body, self.headers)
        except Exception:  # noqa: BLE001 - whatever it raises, it does not accept this
            return False
        return True


@dataclass
class Say:
    """How a request is answered. `drip` sends that many bytes, one each tenth of a second; `hang` never answers."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    drip: int = 0
    hang: bool = False


@dataclass
class Receiver:
    """`says` are the answers to the next requests; then `default`. A rule may answer by what came."""

    url: str = ""
    default: Say = field(default_factory=Say)
    says: list[Say] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    failing: set[str] = field(default_factory=set)
    """Aggregates whose events are answered with 500."""
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.StreamResponse:
        got = Got({name.lower(): value for name, value in request.headers.items()}, await request.read())
        say = self.says.pop(0) if self.says else self.default
        if got.event["aggregateId"] in self.failing:
            say = Say(500)
        async with self._arrived:
            self.got.append(got)
            self._arrived.notify_all()
        if say.hang:
            await self.released.wait()
        if say.drip:
            return await self._drip(request, say)
        return web.Response(status=say.status, headers=say.headers, body=say.body)

    async def _drip(self, request: web.Request, say: Say) -> web.StreamResponse:
        response = web.StreamResponse(status=say.status)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(say.drip):
                await response.write(b".")
                await asyncio.sleep(0.1)
        return response

    async def until(self, count: int, event_type: str | None = None) -> list[Got]:
        """Everything that came, once it is so many; or so many of a type."""

        def enough() -> bool:
            return len(self.got if event_type is None else self.of(event_type)) >= count

        async with asyncio.timeout(PATIENCE_SECONDS), self._arrived:
            await self._arrived.wait_for(enough)
        return list(self.got)

    def of(self, event_type: str) -> list[Got]:
        """What came of events of this type."""
        return [one for one in self.got if one.event["eventType"] == event_type]


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free port of this machine."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/hook"
    try:
        yield receiver
    finally:
        receiver.released.set()
        await runner.cleanup()
