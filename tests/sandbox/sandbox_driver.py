"""A sandbox over real HTTP, and a small client that signs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from stellar_sdk import Account, Asset, Keypair, TransactionBuilder, TransactionEnvelope
from stellar_sdk.operation import Operation

from offerhub.sandbox.options import SandboxOptions
from offerhub.sandbox.server import serve

PASSPHRASE = "Test SDF Network ; September 2015"
FAR_FUTURE = 4_000_000_000


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


@dataclass
class Sandbox:
    """One running sandbox as a test sees it: by HTTP only."""

    http: aiohttp.ClientSession
    base: str
    info: dict[str, Any]

    @property
    def usdc(self) -> Asset:
        return Asset(self.info["usdc"]["code"], self.info["usdc"]["issuer"])

    async def call(self, method: str, path: str, **kwargs: Any) -> Answer:
        async with self.http.request(method, self.base + path, **kwargs) as response:
            is_json = "json" in response.headers.get("content-type", "")
            body = await (_parsed(response) if is_json else response.text())
            return Answer(response.status, body, {k.lower(): v for k, v in response.headers.items()})

    async def get(self, path: str, **params: str) -> Any:
        answer = await self.call("GET", "/horizon" + path, params=params)
        assert answer.status == 200, answer
        return answer.body

    async def records(self, path: str, **params: str) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = (await self.get(path, **params))["_embedded"]["records"]
        return records

    async def sim(self, path: str, body: dict[str, Any] | None = None, status: int = 200) -> Any:
        method = "GET" if body is None else "POST"
        answer = await self.call(method, "/_sim" + path, json=body)
        assert answer.status == status, answer
        return answer.body

    async def trustless(self, path: str, body: dict[str, Any]) -> Answer:
        return await self.call(
            "POST", "/trustless-work" + path, json=body, headers={"x-api-key": self.info["trustless_api_key"]}
        )

    async def read_trustless(self, path: str, **params: str) -> Answer:
        headers = {"x-api-key": self.info["trustless_api_key"]}
        return await self.call("GET", "/trustless-work" + path, params=params, headers=headers)

    async def submit(self, envelope: TransactionEnvelope | str) -> Answer:
        text = envelope if isinstance(envelope, str) else envelope.to_xdr()
        return await self.call("POST", "/horizon/transactions", data={"tx": text})

    async def sequence(self, address: str) -> int:
        return int((await self.get(f"/accounts/{address}"))["sequence"])

    async def build(
        self,
        source: Keypair,
        *operations: Operation,
        memo: str | None = None,
        sequence: int | None = None,
        max_time: int = FAR_FUTURE,
        fee: int = 100,
        passphrase: str = PASSPHRASE,
    ) -> TransactionEnvelope:
        """A transaction signed by its source; `sequence` is the account's present one."""
        at = await self.sequence(source.public_key) if sequence is None else sequence
        builder = TransactionBuilder(Account(source.public_key, at), passphrase, base_fee=fee)
        builder.add_time_bounds(0, max_time)
        for operation in operations:
            builder.append_operation(operation)
        if memo is not None:
            builder.add_text_memo(memo)
        envelope = builder.build()
        envelope.sign(source)
        return envelope

    async def wallet(self, usdc: str | None = None) -> Keypair:
        """An account with a trustline and, if asked, minted USDC."""
        keypair = Keypair.from_secret((await self.sim("/account", {}))["secret"])
        if usdc is not None:
            await self.sim("/mint", {"address": keypair.public_key, "amount": usdc})
        return keypair

    async def usdc_of(self, address: str) -> str:
        for line in (await self.get(f"/accounts/{address}"))["balances"]:
            if line.get("asset_code") == "USDC":
                return str(line["balance"])
        raise AssertionError(f"{address} has no trustline")


async def _parsed(response: aiohttp.ClientResponse) -> Any:
    """The JSON, or None for what only says that it is JSON."""
    try:
        return json.loads(await response.read())
    except ValueError:
        return None


@asynccontextmanager
async def running(options: SandboxOptions) -> AsyncIterator[Sandbox]:
    """Serve in this process until the block ends."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(serve(options, started=ready.set_result, stop=stop))
    both: set[asyncio.Future[Any]] = {task, ready}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        async with aiohttp.ClientSession() as http:
            base = await ready
            async with http.get(base + "/_sim/info") as response:
                info = await response.json()
            yield Sandbox(http, base, info)
    finally:
        stop.set()
        await task
