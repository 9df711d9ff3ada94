"""The world outside: the sandbox's chain, escrows and Airtm, on the simulation's clock, and a shop that is called."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from offerhub.cli.development import pointing_at
from offerhub.providers.stellar.network import TESTNET_PASSPHRASE
from offerhub.sandbox.options import SandboxOptions
from offerhub.sandbox.server import World as Sandbox
from offerhub.sandbox.webhook_model import TIMEOUT_SECONDS
from simulation.chance import Chance
from simulation.clock import SimulatedClock
from simulation.loop import SimulatedLoop
from simulation.net import Call, Net, Server, ask, poster
from simulation.trace import Trace

SANDBOX: Final = "https://sandbox.example"
SHOP_HOOK: Final = "https://shop.example/hooks"
LEDGER_SECONDS: Final = 1.0
BUILD_LIFETIME_SECONDS: Final = 40
SETTLE_SECONDS: Final = 2.0


class Outside:
    """What is not ours."""

    def __init__(
        self, loop: SimulatedLoop, chance: Chance, trace: Trace, net: Net, choose: Callable[[], Server | None]
    ) -> None:
        options = SandboxOptions(
            ledger_seconds=LEDGER_SECONDS,
            network_passphrase=TESTNET_PASSPHRASE,
            build_lifetime_seconds=BUILD_LIFETIME_SECONDS,
            airtm_settle_seconds=SETTLE_SECONDS,
            webhook_urls=("http://localhost/api/v1/webhooks/airtm",),
        )
        self._sandbox = Sandbox(options, SimulatedClock(loop))
        self._sandbox.webhooks.post = poster(net, "airtm", choose, TIMEOUT_SECONDS)
        self._app = self._sandbox.application(SANDBOX)
        self._shop = Shop(chance, trace)
        self.net = net
        self.shop = self._shop
        self.servers = {"sandbox.example": Server("sandbox", self._app), "shop.example": Server("shop", self._shop)}

    async def run(self) -> None:
        """Close ledgers and settle payments, until cancelled."""
        await self._sandbox.schedule.run()

    async def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Speak to the sandbox's control face, without a network in between; reading has no body."""
        raw = b"" if body is None else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        call = Call(method, f"{SANDBOX}/_sim/{path}", (("content-type", "application/json"),), raw)
        found = await ask(self._app, call)
        assert found.status == 200, (path, found.text)
        return json.loads(found.body)

    async def browse(self, url: str, form: str) -> int:
        """Somebody's browser at Airtm's checkout."""
        headers = (("content-type", "application/x-www-form-urlencoded"),)
        return (await ask(self._app, Call("POST", url, headers, form.encode()))).status

    async def variables(self) -> dict[str, str]:
        """What points a product at it."""
        return pointing_at(await self.control("info"))


class Shop:
    """A marketplace's own server, which is told of events; it fails now and then while the net does."""

    def __init__(self, chance: Chance, trace: Trace) -> None:
        self._chance = chance
        self._trace = trace
        self.is_calm = True
        self.heard: dict[str, bytes] = {}
        self.differing: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One webhook."""
        headers = dict(scope["headers"])
        body = (await receive())["body"]
        await asyncio.sleep(0)
        fails = not self.is_calm and self._chance.faults.random() < self._chance.rates.lost
        event = headers.get(b"webhook-id", b"").decode()
        if self.heard.setdefault(event, body) != body:
            self.differing.append(event)
        self._trace.count("webhooks out heard")
        await send({"type": "http.response.start", "status": 503 if fails else 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
