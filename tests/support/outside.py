"""The world outside the product: the sandbox as a process, and its controls."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import aiohttp

T = TypeVar("T")

LEDGER_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 45.0
"""When something that must happen soon has not happened by now, it never will."""


async def eventually(read: Callable[[], Awaitable[T]], wanted: Callable[[T], bool]) -> T:
    """What `read` returns once it is what is wanted; fails with the last value when it never is."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        found = await read()
        if wanted(found):
            return found
        assert asyncio.get_running_loop().time() < deadline, f"still waiting, last seen: {found!r}"
        await asyncio.sleep(0.03)


class Fault:
    """A fault in force at the sandbox."""

    def __init__(self, world: "World", fault_id: int) -> None:
        self._world = world
        self._id = fault_id

    async def fired(self) -> int:
        """How often it has fired: a fault that never did has tested nothing."""
        shown = (await self._world.control("GET", "faults"))["faults"]
        return next(int(fault["fired"]) for fault in shown if fault["id"] == self._id)


class World:
    """The controls of the sandbox: what a test does to the chain and to the wires."""

    def __init__(self, environ: Mapping[str, str], http: aiohttp.ClientSession) -> None:
        self.environ = environ
        self.url = environ["OFFERHUB_SANDBOX_URL"]
        self.http = http

    async def control(self, method: str, path: str, /, **body: Any) -> Any:
        """Ask the control face; it must agree."""
        async with self.http.request(method, f"{self.url}/_sim/{path}", json=body or None) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            return json.loads(text)

    async def mint(self, address: str, amount: str) -> str:
        """Send new USDC to an address; returns the transaction's hash once it is in a ledger."""
        return str((await self.control("POST", "mint", address=address, amount=amount))["hash"])

    async def outside_wallet(self, usdc: str | None = None) -> tuple[str, str]:
        """The address and the secret of a wallet outside, with a trustline to USDC."""
        made = await self.control("POST", "account")
        if usdc is not None:
            await self.mint(made["public_key"], usdc)
        return made["public_key"], made["secret"]

    async def fault(self, face: str, route: str, kind: str, **more: Any) -> Fault:
        """Break a wire."""
        return Fault(self, (await self.control("POST", "faults", face=face, route=route, kind=kind, **more))["id"])

    async def airtm_payin(self, payin_id: str, action: str, fee: str | None = None) -> Any:
        """Let a payin `process`, `confirm`, `fail` or `cancel`; `fee` is what Airtm keeps of it."""
        more = {} if fee is None else {"fee": fee}
        return await self.control("POST", f"airtm/payins/{payin_id}", action=action, **more)

    async def airtm_payout(self, payout_id: str, action: str) -> Any:
        """Let a payout `process`, `complete`, `fail`, `cancel`, `wait`, be given back (`refund`) or get `odd`."""
        return await self.control("POST", f"airtm/payouts/{payout_id}", action=action)

    async def airtm_payins(self, code: str) -> list[dict[str, Any]]:
        """The payins with this code: never more than one."""
        return list((await self.control("GET", f"airtm/payins?code={code}"))["payins"])

    async def airtm_payouts(self, code: str) -> list[dict[str, Any]]:
        """The payouts with this code: never more than one."""
        return list((await self.control("GET", f"airtm/payouts?code={code}"))["payouts"])

    async def mend(self) -> None:
        """Take every fault away."""
        await self.control("DELETE", "faults")
