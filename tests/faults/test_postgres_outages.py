"""PostgreSQL restarts, and is replaced by its standby, while money is on its way: nothing acknowledged is lost.

A real `offerhub serve` works on a real, durable server. Clients ask again with their keys until they have an answer
that stands, as clients must; what they were told once has to be true for ever.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
import pytest

from offerhub.runtime.database import UNREACHABLE
from offerhub.runtime.migrations import migrate
from support.conservation import assert_conserved
from support.fleet import fleet
from support.long_runs import Tally
from support.outside import World, eventually
from support.own_postgres import ENDS, STANDBY_REQUIRED, OwnPostgres
from support.own_redis import OwnRedis
from support.product import MASTER_KEY, Marketplace, Person, environment

AGAIN: Final = frozenset({409, 429, 500, 502, 503, 504})
AGAIN_SECONDS: Final = 0.05
DONE_SECONDS: Final = 120.0
CLIENTS: Final = 4
RESTARTS: Final = 9
CALM_SECONDS: Final = 4.0
"""Between two restarts."""
SYNCHRONOUS: Final = "SELECT sync_state FROM pg_stat_replication"


class Market:
    """Clients that trade without a pause, and what they were told."""

    def __init__(self, shop: Marketplace, world: World, buyer: Person, seller: Person) -> None:
        self._shop = shop
        self._world = world
        self._buyer = buyer
        self._seller = seller
        self._numbers = itertools.count()
        self.closing = asyncio.Event()
        self.released: list[str] = []
        self.refunded: list[str] = []
        self.withdrawn: list[tuple[str, str]] = []
        self.deposited: list[str] = []
        self.answers = 0
        self.unanswered: list[float] = []
        """The longest time that a request went without an answer, for each client that had to ask again."""

    async def trade(self) -> None:
        """Begin one trade after the other until told to stop; each that has begun is brought to its end."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._client())

    async def _client(self) -> None:
        while not self.closing.is_set():
            number = next(self._numbers)
            if number % 3 == 0:
                await self._deposit()
            elif number % 3 == 1:
                await self._withdraw(number)
            else:
                await self._sell(number)

    async def _sell(self, number: int) -> None:
        body = {"buyer_id": self._buyer.id, "seller_id": self._seller.id, "amount": "2.00", "title": "A logo"}
        order_id = str((await self._ask("POST", "/orders", body, f"order-{number}"))["id"])
        wanted, list_of = (("release", self.released), ("refund", self.refunded))[number % 2]
        reason = {"reason": "not delivered"} if wanted == "refund" else None
        for state, move, more in (
            ("FUNDS_RESERVED", "reserve", None),
            ("ESCROW_FUNDING", "escrow", None),
            ("IN_PROGRESS", "escrow/fund", None),
            ("CLOSED", f"resolution/{wanted}", reason),
        ):
            await self._ask("POST", f"/orders/{order_id}/{move}", more, f"{move}-{number}")
            await self._becomes(f"/orders/{order_id}", state)
        list_of.append(order_id)

    async def _withdraw(self, number: int) -> None:
        target, _ = await self._world.outside_wallet()
        body = {"userId": self._buyer.id, "amount": "1.00", "destinationType": "crypto", "destinationRef": target}
        made = await self._ask("POST", "/withdrawals", body, f"withdrawal-{number}")
        await self._becomes(f"/withdrawals/{made['id']}", "WITHDRAWAL_COMPLETED")
        self.withdrawn.append((made["id"], target))

    async def _deposit(self) -> None:
        self.deposited.append(await self._world.mint(self._seller.address, "0.5000001"))

    async def _becomes(self, path: str, state: str) -> None:
        async with asyncio.timeout(DONE_SECONDS):
            while (await self._ask("GET", path))["status"] != state:
                await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
        """The data of an answer that stands; whoever was told to ask again asks again."""
        began = time.monotonic()
        tries = 0
        async with asyncio.timeout(DONE_SECONDS):
            while True:
                tries += 1
                try:
                    heard = await self._shop.send(method, path, body, key=key)
                except aiohttp.ClientError:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                if heard.status < 300:
                    break
                # Of what was acknowledged nothing may be gone: only these answers may follow.
                assert heard.status in AGAIN, f"{method} {path}: {heard.status} {heard.body.decode()}"
                assert heard.status != 409 or heard.code == "IDEMPOTENCY_KEY_IN_PROGRESS", heard.body.decode()
                await asyncio.sleep(AGAIN_SECONDS)
        self.answers += 1
        if tries > 1:
            self.unanswered.append(time.monotonic() - began)
        return heard.data

    async def assert_kept(self) -> None:
        """Everything that was told is in the books once, and all of it has ended."""
        for order_id in self.released:
            assert await self._shop.postings(order_id) == ["hold", "fund_escrow", "released"]
        for order_id in self.refunded:
            assert await self._shop.postings(order_id) == ["hold", "fund_escrow", "refunded"]
        for withdrawal_id, target in self.withdrawn:
            assert await self._shop.postings(withdrawal_id) == ["withdrawal", "withdrawal_completed"]
            assert await self._shop.on_chain(target) == 10_000_000
        live = self._shop.live
        booked = "SELECT count(*) FROM deposits WHERE transaction_hash = ANY($1)"
        await eventually(lambda: live.value(booked, self.deposited), lambda count: count == len(self.deposited))
        running = "SELECT count(*) FROM sagas WHERE status = 'RUNNING'"
        await eventually(lambda: live.value(running), lambda count: count == 0)
        await assert_conserved(live.product.database, self._world.url)


class Opening:
    """What a scene is opened with."""

    def __init__(self, stack: AsyncExitStack, data_dir: Path, folder: Path, world: World) -> None:
        self.stack = stack
        self.data_dir = data_dir
        self.folder = folder
        self.world = world

    async def open(self, redis: OwnRedis, standby: bool = False) -> tuple[OwnPostgres, OwnPostgres | None, Market]:
        """Servers, service and market; with a standby, without which no commit is answered."""
        first = OwnPostgres(self.data_dir / "first")
        self.stack.push_async_callback(first.close)
        await first.start()
        await migrate(first.url)
        second = None
        url = first.url
        if standby:
            second = await first.copy(self.data_dir / "second")
            self.stack.push_async_callback(second.close)
            await _require(first)
            # Whichever of the two may be written to.
            address = f"127.0.0.1:{first.port}/"
            hosts = f"host=127.0.0.1,127.0.0.1&port={first.port},{second.port}&target_session_attrs=read-write"
            url = first.url.replace(address, "/").replace("?", f"?{hosts}&")
        await redis.start()
        environ = environment(url, redis.url, self.world.environ, OFFERHUB_MASTER_KEY=MASTER_KEY, LOG_LEVEL="error")
        ours = await self.stack.enter_async_context(fleet(self.folder, environ, apis=0, workers=0))
        api = await ours.start_api("--jobs")
        await api.ready()
        shop = await Marketplace.found(ours.at(api), self.world, self.world.http)
        buyer, seller = await shop.people("100000", None)
        await ours.at(api).system_is_ready()
        return first, second, Market(shop, self.world, buyer, seller)


async def _require(server: OwnPostgres) -> None:
    connection = await asyncpg.connect(server.url)
    try:
        for sql in STANDBY_REQUIRED:
            await connection.execute(sql)

        async def state() -> Any:
            return await connection.fetchval(SYNCHRONOUS)

        await eventually(state, lambda found: found == "sync")
    finally:
        await connection.close()


async def _writable(url: str) -> float:
    """Wait until the database takes a commit; how long that took."""
    began = time.monotonic()
    while True:
        try:
            connection = await asyncpg.connect(url)
            await connection.execute("UPDATE cursors SET updated_at = clock_timestamp()")
            await connection.close()
        except UNREACHABLE:
            await asyncio.sleep(0.01)
        else:
            return time.monotonic() - began


@pytest.fixture
async def opening(data_dir: Path, tmp_path: Path, world: World) -> AsyncIterator[Opening]:
    for name in ("first", "second"):
        (data_dir / name).mkdir()
        (data_dir / name).chmod(0o711)
    async with AsyncExitStack() as stack:
        yield Opening(stack, data_dir, tmp_path, world)


async def _restart(postgres: OwnPostgres, how: str) -> float:
    """Let it work for a while, end it, start it again; how long it took no commits."""
    await asyncio.sleep(CALM_SECONDS)
    began = time.monotonic()
    await postgres.stop(how)
    await postgres.start()
    await _writable(postgres.url)
    return time.monotonic() - began


@pytest.mark.long
async def test_postgresql_restarts_while_money_is_on_its_way(
    opening: Opening, own_redis: OwnRedis, tally: Tally
) -> None:
    postgres, _, market = await opening.open(own_redis)
    trading = asyncio.create_task(market.trade())
    away = [await _restart(postgres, how) for how in itertools.islice(itertools.cycle(ENDS), RESTARTS)]
    market.closing.set()
    await trading
    await market.assert_kept()
    tally("restarts of PostgreSQL", len(away))
    _tell("restarts", away, market)


@pytest.mark.long
async def test_the_standby_takes_over_and_nothing_acknowledged_is_lost(
    opening: Opening, own_redis: OwnRedis, tally: Tally
) -> None:
    primary, standby, market = await opening.open(own_redis, standby=True)
    assert standby is not None
    trading = asyncio.create_task(market.trade())
    await asyncio.sleep(5)
    began = time.monotonic()
    await primary.stop("kill")
    await standby.promote()
    await _writable(standby.url)
    away = [time.monotonic() - began]
    answers = market.answers
    await eventually(_count(market), lambda count: count > answers + 20)
    market.closing.set()
    await trading
    await market.assert_kept()
    tally("failovers of PostgreSQL")
    _tell("failover", away, market)


def _count(market: Market) -> Any:
    async def answers() -> int:
        return market.answers

    return answers


def _tell(what: str, away: list[float], market: Market) -> None:
    """What was seen; nothing is asserted of times."""
    trades = len(market.released) + len(market.refunded) + len(market.withdrawn) + len(market.deposited)
    longest = max(market.unanswered, default=0.0)
    print(
        f"{what}: no commits for {min(away):.2f} to {max(away):.2f} s; {trades} trades, {market.answers} answers; "
        f"{len(market.unanswered)} requests had to be repeated, the slowest was answered after {longest:.2f} s"
    )
