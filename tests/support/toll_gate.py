"""A gate in front of the sandbox's Horizon: it asks a price for inclusion, and turns envelopes away with any code.

Everything else passes through unchanged, so what the product sees besides is the sandbox.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from stellar_sdk import FeeBumpTransactionEnvelope, TransactionEnvelope
from stellar_sdk.xdr import TransactionEnvelope as XdrEnvelope

from offerhub.providers.stellar.transactions import fee_needs


@dataclass
class Offered:
    """An envelope that arrived. `bid` is stroops per operation; `inner` the hash of what is wrapped."""

    hash: str
    inner: str
    bid: int
    is_bump: bool


@dataclass
class Gate:
    """What the gate does, changed at any moment.

    `toll` is the least bid per operation; `shown_price` what `/fee_stats` tells (None: what the sandbox says). With
    `silent` a bid below the toll is not refused but left in the queue for ever (504), and with `closed` every
    envelope is. `refuse_with` are the codes of the next refusals; `always` is the code of all of them.
    """

    upstream: str
    passphrase: str
    toll: int = 100
    shown_price: int | None = None
    silent: bool = False
    closed: bool = False
    refuse_with: list[str] = field(default_factory=list)
    always: str | None = None
    offered: list[Offered] = field(default_factory=list)
    url: str = ""

    def open(self) -> None:
        """As at first."""
        self.toll, self.shown_price, self.silent, self.closed, self.always = 100, None, False, False, None
        self.refuse_with.clear()
        self.offered.clear()

    def read(self, text: str) -> Offered:
        raw = XdrEnvelope.from_xdr(text)
        if raw.fee_bump is None:
            plain = TransactionEnvelope.from_xdr(text, self.passphrase)
            return Offered(plain.hash_hex(), plain.hash_hex(), fee_needs(text).floor, is_bump=False)
        bump = FeeBumpTransactionEnvelope.from_xdr(text, self.passphrase)
        inner = bump.transaction.inner_transaction_envelope
        needs = fee_needs(inner.to_xdr())
        bid = (bump.transaction.fee - needs.resource_fee) // (needs.operations + 1)
        return Offered(bump.hash_hex(), inner.hash_hex(), bid, is_bump=True)

    async def submit(self, request: web.Request) -> web.StreamResponse:
        offered = self.read(str((await request.post())["tx"]))
        self.offered.append(offered)
        code = self.always or (self.refuse_with.pop(0) if self.refuse_with else None)
        if code is None and offered.bid < self.toll and not self.silent:
            code = "tx_insufficient_fee"
        if code is not None:
            return web.json_response(_refusal(code, offered), status=400)
        if self.closed or offered.bid < self.toll:
            body = {"type": "https://stellar.org/horizon-errors/transaction_submission_timeout", "status": 504}
            return web.json_response(body, status=504)
        return await self.forward(request)

    async def fee_stats(self, request: web.Request) -> web.StreamResponse:
        if self.shown_price is None:
            return await self.forward(request)
        fees = dict.fromkeys(("max", "min", "mode", "p50", "p90", "p95", "p99"), str(self.shown_price))
        return web.json_response(
            {"last_ledger": "9", "last_ledger_base_fee": "100", "fee_charged": fees, "max_fee": fees}
        )

    async def forward(self, request: web.Request) -> web.StreamResponse:
        headers = {"content-type": request.headers.get("content-type", ""), "accept": "application/json"}
        url = self.upstream + request.raw_path
        async with (
            aiohttp.ClientSession() as http,
            http.request(request.method, url, data=await request.read() or None, headers=headers) as answer,
        ):
            kind = answer.headers.get("content-type", "application/json").partition(";")[0]
            return web.Response(status=answer.status, body=await answer.read(), content_type=kind)


def _refusal(code: str, offered: Offered) -> dict[str, Any]:
    codes = {"transaction": code}
    # A wrapper's own troubles are told by their name, those of what is inside under `inner_transaction`.
    if offered.is_bump and code not in {"tx_insufficient_fee", "tx_insufficient_balance"}:
        codes = {"transaction": "tx_fee_bump_inner_failed", "inner_transaction": code}
    return {
        "type": "https://stellar.org/horizon-errors/transaction_failed",
        "status": 400,
        "extras": {"result_codes": codes},
    }


@contextlib.asynccontextmanager
async def toll_gate(horizon_url: str, passphrase: str) -> AsyncIterator[Gate]:
    """Run a gate in front of a Horizon."""
    gate = Gate(horizon_url, passphrase)
    application = web.Application(client_max_size=2**20)
    application.router.add_post("/transactions", gate.submit)
    application.router.add_get("/fee_stats", gate.fee_stats)
    application.router.add_route("*", "/{rest:.*}", gate.forward)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    gate.url = f"http://{host}:{port}"
    try:
        yield gate
    finally:
        await runner.cleanup()
