"""How often each endpoint goes to PostgreSQL and to Redis: the counts are held, not the times.

One request of each route that succeeds, with an Idempotency-Key where it takes one, on the rail of Airtm, where every
route works. What is looked up once in a second for all requests (the key, maintenance) is known beforehand, and
nobody waits for a saga: how often that is looked at depends on the outside world.
"""

import functools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import pytest

from offerhub.access import authenticator
from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.findings.model import Found
from offerhub.findings.service import raise_finding
from offerhub.operations import maintenance
from offerhub.runtime.metrics import Metrics
from offerhub.runtime.queue import Queues
from support.outside import World, eventually
from support.own_redis import OwnRedis
from support.payers import link
from support.product import MASTER_KEY, Marketplace, Person, Running, fill_treasury, running, unique
from support.round_trips import WRITE, Counter, shown
from support.routes import all_routes
from support.webhooks import airtm_headers

HOUR_SECONDS: Final = 3600.0
MILESTONES: Final = [{"ref": f"m{number}", "title": "Part", "amount": "10.00"} for number in range(1, 5)]


@dataclass
class Scene:
    """A marketplace, whoever runs the installation, and the counter of what they ask."""

    shop: Marketplace
    operator: Marketplace
    world: World
    counter: Counter

    @property
    def live(self) -> Running:
        return self.shop.live

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        return await self.counter.ask(self.shop, method, path, body, **more)

    async def operate(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        return await self.counter.ask(self.operator, method, path, body, **more)

    async def until(self, path: str, status: str) -> None:
        """Wait until what is there has reached a state."""

        async def look() -> str:
            return str((await self.shop.done("GET", path))["status"])

        await eventually(look, lambda found: found == status)

    async def idle(self) -> None:
        """Wait until no saga runs."""
        running = "SELECT count(*) FROM sagas WHERE status = 'RUNNING'"
        await eventually(lambda: self.live.value(running), lambda count: count == 0)


@pytest.fixture
async def scene(
    office_environ: dict[str, str],
    own_redis: OwnRedis,
    world: World,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Scene]:
    counter = Counter()
    monkeypatch.setattr(authenticator, "CACHE_SECONDS", HOUR_SECONDS)
    monkeypatch.setattr(maintenance, "CACHE_SECONDS", HOUR_SECONDS)
    monkeypatch.setattr(Metrics, "request", functools.partialmethod(_observed, counter))
    await own_redis.start()
    more = {
        "REDIS_URL": own_redis.url,
        "RATE_LIMIT_MAX": "100000",
        "PAYMENT_PROVIDER": "airtm",
        "SAGA_INLINE_WAIT_SECONDS": "0",
    }
    async with running({**office_environ, **more}) as live:
        operator = Marketplace(live, world, http, DEFAULT_MARKETPLACE_ID, MASTER_KEY)
        yield Scene(await Marketplace.found(live, world, http), operator, world, counter)


def _observed(metrics: Metrics, counter: Counter, *told: Any) -> None:
    counter.observe(metrics, *told)


async def test_how_often_each_endpoint_asks(scene: Scene) -> None:
    await scene.live.system_is_ready()
    await fill_treasury(scene.live, scene.world, "1000")
    buyer, seller = await people(scene)
    for part in (balances, money_through_airtm, orders, milestones, disputes, keys, hooks, work, readings, the_rest):
        await part(scene, buyer, seller)
    missing = {route.name for route in all_routes()} - set(scene.counter.found)
    assert not missing
    is_, should_be = shown(scene.counter.found)
    assert is_ == should_be, f"the page is not true any more: look why, then run this with {WRITE}=1"


async def people(scene: Scene) -> tuple[Person, Person]:
    """A buyer with 1000.00, and a seller."""
    found = []
    for _ in range(2):
        made = await scene.ask("POST", "/users", {"externalUserId": unique("counted")})
        found.append(Person(made["id"], made["wallet"]["publicKey"]))
        await scene.shop.ready(found[-1])
    buyer, seller = found
    await scene.shop.credit(buyer, "1000.00")
    return buyer, seller


async def balances(scene: Scene, buyer: Person, seller: Person) -> None:
    balance = f"/users/{buyer.id}/balance"
    await scene.ask("POST", f"{balance}/credit", {"amount": "50.00"})
    held = {"amount": "5.00", "reference": "r"}
    for operation in ("reserve", "cancel-reservation", "reserve", "deduct-reserved", "reserve"):
        await scene.ask("POST", f"{balance}/{operation}", held)
    await scene.ask("POST", f"{balance}/release", {**held, "recipientId": seller.id})
    await scene.ask("POST", f"{balance}/debit", {"amount": "1.00"})
    await scene.ask("GET", balance)
    await scene.ask("POST", f"{balance}/sync", key=None)
    await scene.ask("GET", f"{balance}/verify")
    for path in ("", "/deposit", "/transactions"):
        await scene.ask("GET", f"/users/{buyer.id}/wallet{path}")


async def money_through_airtm(scene: Scene, buyer: Person, seller: Person) -> None:
    email = f"{unique('payer')}@example.com"
    await scene.ask("POST", f"/users/{buyer.id}/airtm/link", {"email": email})
    await link(scene.shop, seller.id)
    linked = "SELECT count(*) FROM users WHERE airtm_user_id IS NOT NULL"
    await eventually(lambda: scene.live.value(linked), lambda count: count == 2)
    made = await scene.ask("POST", "/topups", {"userId": buyer.id, "amount": "25.00"})
    one = f"/topups/{made['id']}"
    await scene.until(one, "TOPUP_AWAITING_USER_CONFIRMATION")
    await scene.ask("GET", one)
    await scene.ask("GET", "/topups")
    await scene.ask("POST", f"{one}/refresh", key=None)
    await scene.ask("POST", f"{one}/cancel", key=None)
    body = json.dumps({"type": "payin.created", "data": {"code": made["id"]}}).encode()
    secret = scene.live.product.settings.airtm.webhook_secret.reveal()  # type: ignore[union-attr]
    headers = airtm_headers(secret, body, unique("msg"))
    await scene.counter.ask(scene.shop.using(""), "POST", "/webhooks/airtm", raw=body, headers=headers, key=None)
    url = f"{scene.live.url}/api/v1{one}/callback"
    await scene.counter.browse(scene.world.http.get(url, allow_redirects=False))
    to_airtm = {"userId": buyer.id, "amount": "1.00", "destinationType": "airtm_balance", "destinationRef": "mine"}
    for ending in ("commit", "cancel", "delete"):
        made = await scene.ask("POST", "/withdrawals", to_airtm)
        one = f"/withdrawals/{made['id']}"
        prepared = "SELECT airtm_payout_id FROM withdrawals WHERE id = $1"
        await eventually(functools.partial(scene.live.value, prepared, made["id"]), lambda found: found is not None)
        await scene.idle()
        if ending == "delete":
            await scene.ask("DELETE", one)
        else:
            await scene.ask("POST", f"{one}/{ending}")
        await scene.idle()
    await scene.ask("GET", one)
    await scene.ask("GET", "/withdrawals")
    await scene.ask("POST", f"{one}/refresh", key=None)


async def orders(scene: Scene, buyer: Person, seller: Person) -> None:
    terms = {"buyer_id": buyer.id, "seller_id": seller.id, "amount": "10.00", "title": "A logo"}
    made = await scene.ask("POST", "/orders", terms)
    one = f"/orders/{made['id']}"
    await scene.ask("POST", f"{one}/reserve")
    await scene.ask("GET", one)
    await scene.ask("GET", "/orders")
    await scene.ask("POST", f"{one}/escrow")
    await scene.until(one, "ESCROW_FUNDING")
    await scene.ask("POST", f"{one}/escrow/fund")
    await scene.until(one, "IN_PROGRESS")
    await scene.ask("POST", f"{one}/resolution/release")
    await scene.until(one, "CLOSED")
    canceled = await scene.shop.done("POST", "/orders", terms, status=201)
    await scene.shop.done("POST", f"/orders/{canceled['id']}/reserve")
    await scene.ask("POST", f"/orders/{canceled['id']}/cancel")


async def in_progress(scene: Scene, buyer: Person, seller: Person, amount: str, **more: Any) -> str:
    """The path of an order whose escrow is funded."""
    terms = {"buyer_id": buyer.id, "seller_id": seller.id, "amount": amount, "title": "A logo", **more}
    one = f"/orders/{(await scene.shop.done('POST', '/orders', terms, status=201))['id']}"
    moves = (("reserve", "FUNDS_RESERVED"), ("escrow", "ESCROW_FUNDING"), ("escrow/fund", "IN_PROGRESS"))
    for move, reached in moves:
        await scene.shop.done("POST", f"{one}/{move}")
        await scene.until(one, reached)
        await scene.idle()
    return one


async def milestones(scene: Scene, buyer: Person, seller: Person) -> None:
    one = await in_progress(scene, buyer, seller, "40.00", milestones=MILESTONES, escrow_type="multi-release")
    await scene.ask("GET", f"{one}/milestones")
    await scene.ask("POST", f"{one}/milestones/m1/complete")
    await scene.ask("POST", f"{one}/milestones/m1/release")
    await scene.idle()
    await scene.ask("POST", f"{one}/milestones/m2/refund", {"reason": "not needed"})
    await scene.idle()
    await scene.ask("POST", f"{one}/resolution/refund", {"reason": "not needed"})
    await scene.until(one, "CLOSED")


async def disputes(scene: Scene, buyer: Person, seller: Person) -> None:
    one = await in_progress(scene, buyer, seller, "10.00")
    opened = await scene.ask("POST", f"{one}/resolution/dispute", {"openedBy": "BUYER", "reason": "OTHER"})
    dispute = f"/disputes/{opened['id']}"
    await scene.ask("GET", dispute)
    await scene.ask("GET", "/disputes")
    await scene.ask("POST", f"{dispute}/assign", {"assignedTo": "agent"})
    await scene.ask("POST", f"{dispute}/resolve", {"decision": "FULL_REFUND"})
    await scene.until(one, "CLOSED")


async def keys(scene: Scene, buyer: Person, seller: Person) -> None:
    made = await scene.ask("POST", "/auth/api-keys", {"name": "counted", "scopes": ["read"]})
    await scene.ask("GET", "/auth/api-keys")
    await scene.ask("POST", f"/auth/api-keys/{made['id']}/token")
    await scene.ask("DELETE", f"/auth/api-keys/{made['id']}")
    await scene.ask("GET", "/auth/me")
    await scene.ask("GET", "/me")
    await scene.operate("POST", "/admin/marketplaces", {"name": unique("shop")})
    await scene.operate("GET", "/admin/marketplaces")
    key = unique("known")
    await scene.shop.done("POST", f"/users/{buyer.id}/balance/credit", {"amount": "1.00"}, key=key)
    await scene.ask("GET", f"/idempotency/{key}")


async def hooks(scene: Scene, buyer: Person, seller: Person) -> None:
    made = await scene.ask("POST", "/webhook-endpoints", {"kind": "PULL"})
    one = f"/webhook-endpoints/{made['id']}"
    await scene.ask("GET", "/webhook-endpoints")
    await scene.ask("GET", one)
    await scene.ask("POST", one, {"description": "counted"})
    await scene.ask("POST", f"{one}/rotate-secret")
    sent = await scene.ask("POST", f"{one}/test")
    await scene.ask("GET", f"{one}/deliveries")
    await scene.ask("GET", f"{one}/deliveries/{sent['id']}")
    await scene.ask("POST", f"{one}/fetch", key=None)
    await scene.ask("POST", f"{one}/deliveries/{sent['id']}/redeliver")
    await scene.ask("POST", f"{one}/redeliver", {"since": made["createdAt"]})
    await scene.ask("DELETE", one)
    told = {"type": "escrow.funded"}
    await scene.counter.ask(scene.shop.using(""), "POST", "/webhooks/trustless-work", told, key=None)


async def work(scene: Scene, buyer: Person, seller: Person) -> None:
    queues = Queues(scene.live.product.settings.storage.redis_url.reveal())
    for job in ("counted-1", "counted-2"):
        await queues.add("sagas", "drive", {}, job_id=job, attempts=1)
        await eventually(functools.partial(queues.state, "sagas", job), lambda state: state == "failed")
    await queues.close()
    letters = await eventually(lambda: scene.operator.done("GET", "/admin/dlq"), lambda found: len(found) >= 2)
    await scene.operate("GET", "/admin/dlq")
    await scene.operate("GET", f"/admin/dlq/{letters[0]['id']}")
    await scene.operate("POST", f"/admin/dlq/{letters[0]['id']}/retry", key=None)
    await scene.operate("DELETE", f"/admin/dlq/{letters[1]['id']}", key=None)
    await scene.operate("GET", "/admin/queues")
    await scene.operate("GET", "/admin/queues/schedules")
    escrow_id = await scene.live.value("SELECT id FROM escrows LIMIT 1")
    await scene.live.product.database.run(
        lambda tx: raise_finding(tx, Found(scene.shop.id, "MONEY_MISSING", "Escrow", escrow_id, amount=-1))
    )
    found = await scene.live.value("SELECT id FROM findings WHERE subject_id = $1", escrow_id)
    one = f"/admin/reconciliation/findings/{found}"
    await scene.operate("GET", "/admin/reconciliation/findings")
    await scene.operate("GET", one)
    await scene.operate("POST", f"{one}/acknowledge", {"reason": "counted"})
    await scene.operate("POST", f"{one}/resolve", {"reason": "counted"})
    await scene.operate("POST", "/admin/reconciliation/sync-escrows/run")
    await scene.operate("GET", "/admin/reconciliation/runs")
    await scene.operate("GET", "/admin/stuck")


async def readings(scene: Scene, buyer: Person, seller: Person) -> None:
    await scene.ask("GET", f"/users/{buyer.id}")
    await scene.ask("GET", "/users")
    for path in ("/health", "/health/detailed", "/ready", "/config", "/openapi.json", "/docs"):
        await scene.counter.ask(scene.shop.using(""), "GET", path)
    await scene.ask("GET", "/events")
    await scene.ask("GET", "/events/log")
    await scene.ask("GET", "/audit/logs")
    await scene.operate("GET", "/metrics")


async def the_rest(scene: Scene, buyer: Person, seller: Person) -> None:
    await scene.operate("GET", "/policies")
    await scene.operate("PUT", "/policies", {})
    await scene.operate("GET", "/admin/treasury")
    owner = await scene.operator.done("POST", "/users", {"externalUserId": unique("operator")}, status=201)
    paid = {"userId": owner["id"], "amount": "1.00", "reference": "counted"}
    await scene.operate("POST", "/admin/treasury/transfers", paid)
    moved = {"direction": "INTO_AIRTM", "amount": "1.00", "reference": "counted"}
    await scene.operate("POST", "/admin/treasury/rebalancings", moved)
    await scene.operate("GET", "/admin/maintenance/status")
    await scene.operate("POST", "/admin/maintenance/enable", key=None)
    await scene.operate("POST", "/admin/maintenance/disable", key=None)


async def test_a_repetition_asks_for_what_was_kept(scene: Scene) -> None:
    user = await scene.shop.done("POST", "/users", {"externalUserId": unique("again")}, status=201)
    path, key = f"/users/{user['id']}/balance/credit", unique("again")
    assert await scene.counter.trips(scene.shop, "POST", path, {"amount": "1.00"}, key=key) == (1, 1)
    assert await scene.counter.trips(scene.shop, "POST", path, {"amount": "1.00"}, key=key) == (4, 1)
    assert await scene.counter.trips(scene.shop, "POST", path, {"amount": "1.00"}, key=None) == (1, 1)
