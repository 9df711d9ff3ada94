"""How often a request goes to PostgreSQL and to Redis: what makes it fast, and the first thing to grow unseen.

The counts are held, not the times. A request that asks more often than here has to say why in this table.
"""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from redis.asyncio import Redis
from structlog.contextvars import get_contextvars

from support.outside import World
from support.own_redis import OwnRedis
from support.product import Marketplace, running, unique

REMEMBERED = ("FROM api_keys", "FROM maintenance")
"""What is looked up once in some seconds, by whichever request is the first to want it."""


class Counted:
    """Notes the statements of requests by their correlation ids (see `runtime.database.StatementHook`)."""

    def __init__(self) -> None:
        self.sent: dict[str, list[str]] = {}

    def before(self, sql: str) -> None:
        request = get_contextvars().get("request_id")
        if request is not None and not any(one in sql for one in REMEMBERED):
            self.sent.setdefault(request, []).append(" ".join(sql.split())[:60])

    def after(self, sql: str) -> None:
        pass


class Counter:
    """Sends a request and tells how often it asked PostgreSQL and Redis."""

    def __init__(self, shop: Marketplace, statements: Counted, redis: "Redis[str]") -> None:
        self.shop = shop
        self._statements = statements
        self._redis = redis

    async def scripts(self) -> int:
        """How many scripts Redis has run so far."""
        told = await self._redis.info("commandstats")
        return sum(int(told.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "eval"))

    async def ask(self, method: str, path: str, body: object = None, key: str | None = None) -> tuple[int, int]:
        """(SQL statements, Redis scripts) of one request that succeeds."""
        before, request = await self.scripts(), unique("counted")
        heard = await self.shop.send(method, path, body, key=key, headers={"x-request-id": request})
        assert heard.status < 300, heard.body
        return len(self._statements.sent.get(request, [])), await self.scripts() - before


@pytest.fixture
async def counter(
    office_environ: dict[str, str], own_redis: OwnRedis, world: World, http: aiohttp.ClientSession
) -> AsyncIterator[Counter]:
    await own_redis.start()
    environ = {**office_environ, "REDIS_URL": own_redis.url, "RATE_LIMIT_MAX": "100000"}
    async with running(environ, jobs=False) as live:
        shop = await Marketplace.found(live, world, http)
        await shop.get("/auth/me")  # the key is known from now on
        live.product.database.hook = counted = Counted()
        redis = Redis.from_url(own_redis.url, decode_responses=True)
        yield Counter(shop, counted, redis)
        await redis.aclose()


async def test_how_often_a_request_asks(counter: Counter) -> None:
    shop = counter.shop
    buyer, seller = [
        await shop.done("POST", "/users", {"externalUserId": unique("counted")}, status=201) for _ in range(2)
    ]
    balance = f"/users/{buyer['id']}/balance"
    asked: dict[str, tuple[int, int]] = {
        "health": await counter.ask("GET", "/health"),
        "balance": await counter.ask("GET", balance),
        "user": await counter.ask("POST", "/users", {"externalUserId": unique("more")}, key=unique("k")),
    }
    amount, key = {"amount": "50.00"}, unique("k")
    asked["credit"] = await counter.ask("POST", f"{balance}/credit", amount, key=key)
    asked["credit again"] = await counter.ask("POST", f"{balance}/credit", amount, key=key)
    asked["credit without a key"] = await counter.ask("POST", f"{balance}/credit", amount)
    hold = {"amount": "5.00", "reference": "r"}
    for operation in ("reserve", "cancel-reservation", "reserve", "deduct-reserved", "reserve"):
        asked[operation] = await counter.ask("POST", f"{balance}/{operation}", hold, key=unique("k"))
    release = {**hold, "recipientId": seller["id"]}
    asked["release"] = await counter.ask("POST", f"{balance}/release", release, key=unique("k"))
    asked["debit"] = await counter.ask("POST", f"{balance}/debit", {"amount": "1.00"}, key=unique("k"))
    order = {"buyer_id": buyer["id"], "seller_id": seller["id"], "amount": "10.00", "title": "Logo"}
    asked["order"] = await counter.ask("POST", "/orders", order, key=unique("k"))
    made = await shop.done("POST", "/orders", order, status=201)
    asked["order reserved"] = await counter.ask("POST", f"/orders/{made['id']}/reserve", key=unique("k"))
    assert asked == {
        "health": (0, 1),
        "balance": (1, 1),
        "user": (9, 1),
        "credit": (1, 1),
        "credit again": (5, 1),
        "credit without a key": (1, 1),
        "reserve": (1, 1),
        "cancel-reservation": (1, 1),
        "deduct-reserved": (1, 1),
        "release": (1, 1),
        "debit": (1, 1),
        "order": (8, 1),
        "order reserved": (11, 1),
    }
