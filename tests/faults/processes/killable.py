"""Processes that die at a chosen point, and what is left for the next one.

A point is the moment before or after one SQL statement (BEGIN and COMMIT included) or one call to a provider. From
the chosen point on, the process does nothing any more: every later statement and call of it dies, too. What it knew
in memory is gone; the next process has the database and the chain.
"""

import asyncio
import json
import os
import random
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.app import Product
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import parse_chain_amount
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.orders.resolution import Resolution
from offerhub.orders.service import EscrowPolicy, Orders
from offerhub.orders.store import NewMilestone, NewOrder
from offerhub.providers.trustless_work.intents import EscrowType
from offerhub.runtime.actor import Actor, system
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.http import HttpClient
from offerhub.settings import Settings, load
from offerhub.users.service import Users
from offerhub.wallets.deposits import DepositWatcher
from offerhub.wallets.service import require as require_wallet
from offerhub.withdrawals.service import Asked, Withdrawals
from support.conservation import assert_conserved
from support.long_runs import long_runs

DONE_SECONDS = 30.0
POINTS_PER_FLOW = 14


class Killed(BaseException):
    """The process is dead."""


class Fuse:
    """Counts points and kills at one of them."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.points = 0
        self.kill_at = kill_at
        self.blown = False

    def _tick(self) -> None:
        if self.blown:
            raise Killed
        self.points += 1
        if self.points == self.kill_at:
            self.blown = True
            raise Killed

    def before(self, name: str) -> None:
        """Before a statement or call."""
        self._tick()

    def after(self, name: str) -> None:
        """After it; only reached when it was answered."""
        self._tick()


@dataclass
class Process:
    """One process of ours: the product, without its HTTP edge."""

    product: Product
    orders: Orders
    resolution: Resolution
    withdrawals: Withdrawals
    deposits: DepositWatcher


@asynccontextmanager
async def process(settings: Settings, fuse: Fuse | None = None) -> AsyncIterator[Process]:
    """Start a process; with a fuse, one that will die."""
    database = await Database.connect(settings.storage.database_url.reveal(), pool_size=6, hook=fuse)
    http = HttpClient(fuse)
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
    """What stays when processes die."""

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
                (await database.run(lambda tx, name=name: users.create(tx, actor, name)))[0].user.id
                for name in (new_id("req"), new_id("req"))
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
        state = await simulate(self.sandbox_url, "state")
        return next(parse_chain_amount(one["usdc"]) for one in state["accounts"] if one["address"] == address)

    async def in_contract(self, contract: str) -> int:
        """What the chain says a contract holds, in units of USDC."""
        state = await simulate(self.sandbox_url, "state")
        return next(parse_chain_amount(one["usdc"]) for one in state["contracts"] if one["address"] == contract)

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

    async def funded_order(
        self,
        alive: Process,
        units: int,
        milestones: Sequence[NewMilestone] = (),
        escrow_type: EscrowType = "single-release",
    ) -> str:
        """An order in progress."""
        new = NewOrder(
            None, self.buyer, self.seller, units, "USD", "Logo", None, None, tuple(milestones), escrow_type
        )
        run = self.database.run
        created, _ = await run(lambda tx: alive.orders.create(tx, self.actor, new))
        order_id = created.order.id
        await run(lambda tx: alive.orders.reserve(tx, self.actor, order_id, None))
        for begin in (alive.orders.begin_escrow, alive.orders.begin_fund):
            saga = await run(lambda tx, begin=begin: begin(tx, self.actor, order_id))
            await alive.product.engine.wait(saga, DONE_SECONDS)
        assert await self.order_status(order_id) == "IN_PROGRESS"
        return order_id

    async def multi_release_order(self, alive: Process, parts: Sequence[int]) -> str:
        """A multi-release order in progress, with milestones m0, m1 … of these units, all completed."""
        milestones = tuple(NewMilestone(f"m{place}", "Part", units) for place, units in enumerate(parts))
        order_id = await self.funded_order(alive, sum(parts), milestones, "multi-release")
        for milestone in milestones:
            await self.database.run(
                lambda tx, ref=milestone.ref: alive.orders.complete_milestone(tx, self.actor, order_id, ref)
            )
        return order_id

    async def payouts(self, order_id: str) -> list[str]:
        """How far the milestones of a multi-release order are paid, in sequence."""
        sql = """
            SELECT m.status FROM escrow_milestones m JOIN escrows e ON e.id = m.escrow_id
            WHERE e.order_id = $1 ORDER BY m.position
        """
        return [row["status"] for row in await self.database.run(lambda tx: tx.rows(sql, order_id))]

    async def contract_of(self, order_id: str) -> str:
        """The address of the order's contract."""
        sql = "SELECT contract_id FROM escrows WHERE order_id = $1"
        return str(await self.database.run(lambda tx: tx.value(sql, order_id)))

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


async def until_killed(work: Callable[[], Awaitable[object]]) -> bool:
    """Run work that may die; True when it did."""
    try:
        await work()
    except Killed:
        return True
    return False


Act = Callable[[World, Process, str], Awaitable[None]]
"""What a client does about one thing, told by its id; safe to do again."""


async def count_points(world: World, act: "Act", order_id: str) -> int:
    """How many points a flow has, found by running it whole."""
    fuse = Fuse()
    async with process(world.settings, fuse) as alive:
        await act(world, alive, order_id)
        return fuse.points


async def killed_and_resumed(world: World, act: "Act", order_id: str, point: int) -> None:
    """Run a flow in a process that dies at a point, and let another one finish it."""
    fuse = Fuse(point)
    async with process(world.settings, fuse) as doomed:
        await until_killed(lambda: act(world, doomed, order_id))
    async with process(world.settings) as alive:
        await world.settle(alive)
        await act(world, alive, order_id)
        await world.settle(alive)


def crash_points(total: int) -> list[int]:
    """Where to kill: a few points that move with the seed, which is printed; in `make test-long` every point."""
    if long_runs():
        return list(range(1, total + 1))
    seed = int(os.environ.get("OFFERHUB_CRASH_SEED", random.SystemRandom().randrange(10**6)))
    print(f"crash points drawn with OFFERHUB_CRASH_SEED={seed}")
    return sorted(random.Random(seed).sample(range(1, total + 1), min(POINTS_PER_FLOW, total)))
