"""Processes of the product without their edge, beside a sandbox: what tests of wallets and envelopes look into."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.app import Product
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import parse_chain_amount
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.orders import opening
from offerhub.orders.resolution import Resolution
from offerhub.orders.service import EscrowPolicy, Orders
from offerhub.orders.store import NewOrder
from offerhub.runtime.actor import Actor, system
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.http import HttpClient
from offerhub.runtime.statements import Statement, template
from offerhub.settings import Settings, load
from offerhub.users.service import Users
from offerhub.wallets.deposits import DepositWatcher
from offerhub.wallets.service import require as require_wallet
from offerhub.withdrawals.service import Asked, Withdrawals
from support.conservation import assert_conserved

DONE_SECONDS = 30.0


async def perform(database: Database, statement: Statement) -> dict[str, Any]:
    """Have a statement performed alone; its answer."""
    answer = await database.run(lambda tx: statement.within(tx, template(statement.answer)))
    assert answer is not None, "it did nothing"
    found: dict[str, Any] = json.loads(answer)
    return found


@dataclass
class Process:
    """One process of ours: the product, without its HTTP edge."""

    product: Product
    orders: Orders
    resolution: Resolution
    withdrawals: Withdrawals
    deposits: DepositWatcher


@asynccontextmanager
async def process(settings: Settings) -> AsyncIterator[Process]:
    """Start a process."""
    database = await Database.connect(settings.storage.database_url.reveal(), pool_size=6)
    http = HttpClient()
    product = Product(settings, database, http)
    engine = product.engine
    try:
        yield Process(
            product,
            Orders(engine, EscrowPolicy(0, product.network), product.clock),
            Resolution(engine, product.clock),
            Withdrawals(engine, product.network, airtm=False),
            product.deposits,
        )
    finally:
        await engine.stop()
        await http.close()
        await database.close()


@dataclass
class World:
    """What stays when processes end."""

    settings: Settings
    sandbox_url: str
    database: Database
    actor: Actor
    buyer: str
    seller: str
    seller_address: str
    outside: str

    @classmethod
    async def open(cls, sandbox_variables: dict[str, str], database_url: str, redis_url: str) -> "World":
        """Users with wallets, and a deposit that will last."""
        settings = load(
            {
                "NODE_ENV": "test",
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_url,
                "OFFERHUB_MASTER_KEY": "a master key for tests only, long enough",
                "DEPOSIT_POLL_SECONDS": "0.1",
            }
            | {name: text for name, text in sandbox_variables.items() if name != "OFFERHUB_SANDBOX_URL"}
        )
        sandbox_url = sandbox_variables["OFFERHUB_SANDBOX_URL"]
        actor = system(DEFAULT_MARKETPLACE_ID, "test")
        database = await Database.connect(database_url, pool_size=4)
        outside = (await simulate(sandbox_url, "account"))["public_key"]
        world = cls(settings, sandbox_url, database, actor, "", "", "", outside)
        async with process(settings) as alive:
            await alive.product.bootstrap()
            await alive.deposits.begin()
            users = Users(alive.product.wallets)
            made = [
                (await perform(database, users.create(actor, name)))["id"] for name in (new_id("req"), new_id("req"))
            ]
            world.buyer, world.seller = made
            await world.settle(alive)
            addresses = [
                (
                    await database.run(lambda tx, user=user: require_wallet(tx, DEFAULT_MARKETPLACE_ID, user))
                ).public_key
                for user in made
            ]
            world.seller_address = addresses[1]
            await simulate(sandbox_url, "mint", {"address": addresses[0], "amount": "100000.00"})
            while await world.available(world.buyer) == 0:
                await alive.deposits.book_page()
        return world

    async def close(self) -> None:
        """Give the connections back."""
        await self.database.close()

    async def available(self, user_id: str) -> int:
        """What the books say a user may spend."""
        found = await self.database.run(
            lambda tx: ledger.balances(tx, self.actor.marketplace_id, user_id, [Kind.AVAILABLE]), read_only=True
        )
        return found[Kind.AVAILABLE]

    async def on_chain(self, address: str) -> int:
        """What the chain says an address holds, in units of USDC."""
        [found] = (await simulate(self.sandbox_url, f"state?address={address}"))["accounts"]
        return parse_chain_amount(found["usdc"])

    async def mint(self, address: str, amount: str) -> None:
        """Send new USDC to an address."""
        await simulate(self.sandbox_url, "mint", {"address": address, "amount": amount})

    async def settle(self, alive: Process) -> None:
        """Let a process finish every saga there is. The dead do not renew their leases; time has passed."""
        await self.database.run(
            lambda tx: tx.execute("UPDATE sagas SET lease_until = '-infinity' WHERE status = 'RUNNING'")
        )
        async with asyncio.timeout(DONE_SECONDS):
            while running := await self.database.run(_running, read_only=True):
                for saga_id in running:
                    await alive.product.engine.wait(saga_id, 5.0)

    async def funded_order(self, alive: Process, units: int) -> str:
        """An order in progress."""
        new = NewOrder(None, self.buyer, self.seller, units, "USD", "Logo", None, None, ())
        run = self.database.run
        order_id = (await perform(self.database, opening.create(self.actor, new)))["id"]
        reserve = await run(lambda tx: opening.reserve(tx, self.actor, order_id, None), read_only=True)
        await perform(self.database, reserve)
        for begin in (alive.orders.begin_escrow, alive.orders.begin_fund):
            saga = await run(lambda tx, begin=begin: begin(tx, self.actor, order_id))
            await alive.product.engine.wait(saga, DONE_SECONDS)
        assert await self.order_status(order_id) == "IN_PROGRESS"
        return order_id

    async def order_status(self, order_id: str) -> str:
        """The order's state."""
        return str(await self.database.run(lambda tx: tx.value("SELECT status FROM orders WHERE id = $1", order_id)))

    async def assert_conserved(self) -> None:
        """The books, the chain and Airtm agree to the unit, and the proof holds."""
        await assert_conserved(self.database, self.sandbox_url)

    def payout_to(self, units: int) -> Asked:
        """A withdrawal of the buyer's to a wallet outside."""
        return Asked(self.buyer, units, "USD", "crypto", self.outside, None, None, commit=False)


async def _running(tx: Tx) -> list[str]:
    return [row["id"] for row in await tx.rows("SELECT id FROM sagas WHERE status = 'RUNNING'")]


async def simulate(sandbox_url: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Speak to the sandbox's control face; reading what has a state, writing the rest."""

    def ask() -> dict[str, Any]:
        method = (
            "GET"
            if path.partition("?")[0] in {"state", "info", "faults", "airtm/payins", "airtm/payouts"}
            else "POST"
        )
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(
            f"{sandbox_url}/_sim/{path}", data, {"content-type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    return await asyncio.to_thread(ask)
