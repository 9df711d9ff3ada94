"""Contract 1.9: one key, one execution, one answer, whatever happens at the same time."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import pytest
import redis.asyncio

from asgi_client import Heard
from offerhub.runtime.routes import DAY_SECONDS
from support.outside import World, eventually
from support.product import Marketplace, Person, Running, unique
from support.wire import TIME, check

AT_ONCE: Final = 20
WRITES: Final = {
    "users": "POST /users",
    "orders": "POST /orders",
    "reserve": "POST /orders/{order_id}/reserve",
    "credit": "POST /users/{user_id}/balance/credit",
    "withdrawals": "POST /withdrawals",
    "topups": "POST /topups",
}


@dataclass(frozen=True)
class Request:
    """A request, and how often its effect is in the database."""

    shop: Marketplace
    path: str
    body: dict[str, Any] | None
    effects: str
    of: str

    async def send(self, key: str, **changes: Any) -> Heard:
        return await self.shop.post(self.path, {**(self.body or {}), **changes} or None, key=key)

    async def count(self) -> int:
        return int(await self.shop.live.value(self.effects, self.of))


async def payer(shop: Marketplace) -> Person:
    made = await shop.done("POST", "/users", {"externalUserId": unique("payer")}, status=201)
    await shop.done("POST", f"/users/{made['id']}/airtm/link", {"email": f"{unique('p')}@example.com"})
    return Person(made["id"], made["wallet"]["publicKey"])


@pytest.fixture
async def requests(
    shop: Marketplace, airtm_shop: Marketplace, pair: tuple[Person, Person], world: World
) -> dict[str, Request]:
    """One of each kind that the contract names."""
    buyer, seller = pair
    name, reference = unique("once"), unique("ref")
    order_id = await shop.order(buyer, seller, "2.00")
    target, _ = await world.outside_wallet()
    payout = {"userId": buyer.id, "amount": "1.00", "destinationType": "crypto", "destinationRef": target}
    paying = await payer(airtm_shop)
    terms = {"buyer_id": buyer.id, "seller_id": seller.id, "amount": "1.00", "title": reference}
    credit = {"amount": "0.01", "description": reference}
    entries = "SELECT count(*) FROM ledger.transactions WHERE subject = $1"
    return {
        "users": Request(
            shop, "/users", {"externalUserId": name}, "SELECT count(*) FROM users WHERE external_user_id = $1", name
        ),
        "orders": Request(shop, "/orders", terms, "SELECT count(*) FROM orders WHERE title = $1", reference),
        "reserve": Request(shop, f"/orders/{order_id}/reserve", None, entries, order_id),
        "credit": Request(
            shop,
            f"/users/{buyer.id}/balance/credit",
            credit,
            "SELECT count(*) FROM ledger.transactions WHERE reason = $1",
            reference,
        ),
        "withdrawals": Request(
            shop, "/withdrawals", payout, "SELECT count(*) FROM withdrawals WHERE destination_ref = $1", target
        ),
        "topups": Request(
            airtm_shop,
            "/topups",
            {"userId": paying.id, "amount": "1.00"},
            "SELECT count(*) FROM topups WHERE user_id = $1",
            paying.id,
        ),
    }


def assert_replay(again: Heard, first: Heard, key: str) -> None:
    """The stored answer, byte for byte, marked as what it is."""
    assert (again.status, again.body) == (first.status, first.body)
    assert (again.headers["idempotency-replay"], again.headers["x-idempotency-key"]) == ("true", key)
    assert again.headers["x-request-id"] != again.json["meta"]["requestId"], "the id is new, the body is not"
    assert again.headers["content-type"] == first.headers["content-type"]


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.claims(route)) for kind, route in WRITES.items()]
)
async def test_twenty_at_once_are_one(requests: dict[str, Request], kind: str) -> None:
    one, key = requests[kind], unique("key")
    heard = await asyncio.gather(*(one.send(key) for _ in range(AT_ONCE)))
    early = [found for found in heard if found.status == 409]
    for found in early:
        assert (found.code, found.details["idempotency_key"]) == ("IDEMPOTENCY_KEY_IN_PROGRESS", key)
        assert int(found.headers["retry-after"]) >= 1
    answers = [found for found in heard if found.status != 409]
    assert answers
    assert all(found.status in (200, 201) for found in answers), [found.body for found in answers]
    stored = await one.send(key)
    final = await asyncio.gather(*(one.send(key) for _ in range(AT_ONCE)))
    for found in (stored, *answers, *final):
        assert (found.status, found.body) == (stored.status, stored.body)
    # With a saga, whoever of those that wait is first stores the answer, and to all others it is a repetition.
    assert sum("idempotency-replay" not in found.headers for found in answers) <= 1
    assert_replay(final[0], stored, key)
    assert await one.count() == 1


@pytest.mark.parametrize("kind", WRITES)
async def test_a_key_means_one_request(requests: dict[str, Request], kind: str) -> None:
    one, key = requests[kind], unique("key")
    first = await one.send(key)
    assert first.status in (200, 201)
    shop = one.shop
    conflicts: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", one.path, {**(one.body or {}), "email" if kind == "users" else "description": "a@example.com"}),
        ("POST", "/users", {"externalUserId": "elsewhere"}),
        ("DELETE", "/withdrawals/wd_nobody", None),
    ]
    if kind == "reserve":
        conflicts[0] = ("POST", one.path, {"amount": "2.00"})
    for method, path, body in conflicts:
        details = await shop.refused(method, path, body, status=409, code="IDEMPOTENCY_KEY_REUSED", key=key)
        assert details["idempotency_key"] == key
    reordered = dict(reversed(list((one.body or {}).items()))) or None
    assert_replay(await shop.post(one.path, reordered, key=key), first, key)
    assert await one.count() == 1
    assert (await one.send(unique("key"))).status in (200, 201, 409), "another key is another request"


async def test_stored_answers_are_not_in_redis(requests: dict[str, Request], environ: dict[str, str]) -> None:
    client = redis.asyncio.Redis.from_url(environ["REDIS_URL"])
    for kind, one in requests.items():
        key = unique("key")
        first = await one.send(key)
        await client.flushdb()
        assert_replay(await one.send(key), first, key)
        assert await one.count() == 1, kind
    await client.aclose()


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\u00e9"])
async def test_what_is_no_key(shop: Marketplace, key: str) -> None:
    details = await shop.refused(
        "POST", "/users", {"externalUserId": unique("u")}, status=400, code="VALIDATION_ERROR", key=key
    )
    assert details["header"] == "Idempotency-Key"


@pytest.mark.parametrize("key", ["unique-key-123", "!", "a b", "x" * 255, "5f0c3f0e-8f35-4f5e-9d0a-0d6f6c1d2b7a"])
async def test_any_printable_text_is_a_key(shop: Marketplace, key: str) -> None:
    body = {"externalUserId": unique("u")}
    first = await shop.post("/users", body, key=key)
    assert first.status == 201
    assert_replay(await shop.post("/users", body, key=key), first, key)


RETENTION: Final = {
    "users": 1,
    "credit": 1,
    "withdrawals": 1,
    "topups": 1,
    "orders": 7,
    "reserve": 7,
}
"""Days that an answer is kept (contract 1.9)."""


@pytest.mark.claims("GET /idempotency/{key}")
async def test_how_long_answers_are_kept(requests: dict[str, Request]) -> None:
    for kind, days in RETENTION.items():
        one, key = requests[kind], unique("key")
        assert (await one.send(key)).status in (200, 201)
        sql = "SELECT extract(epoch FROM expires_at - created_at) FROM idempotent_requests WHERE key = $1"
        kept = await one.shop.live.value(sql, key)
        assert abs(float(kept) - days * DAY_SECONDS) < 60, kind
        shown = await one.shop.done("GET", f"/idempotency/{key}")
        assert (shown["status"], shown["path"]) == ("COMPLETED", one.path)
        check(shown["expiresAt"], TIME)


async def test_answers_about_escrows_and_disputes_are_kept_longer(
    shop: Marketplace, pair: tuple[Person, Person]
) -> None:
    order_id = await shop.order(*pair, "2.00", "FUNDS_RESERVED")
    keys = {move: unique("key") for move in ("escrow", "escrow/fund", "resolution/dispute")}
    dispute = {"openedBy": "BUYER", "reason": "OTHER"}
    for move, key in keys.items():
        heard = await shop.post(f"/orders/{order_id}/{move}", dispute if "dispute" in move else None, key=key)
        assert heard.status in (200, 201), heard.body
    sql = "SELECT extract(epoch FROM expires_at - created_at)::bigint FROM idempotent_requests WHERE key = $1"
    deployed, funded, disputed = [round(await shop.live.value(sql, key) / DAY_SECONDS) for key in keys.values()]
    assert (deployed, funded) == (7, 7)
    assert disputed > 9 * 365, "for good"


async def test_an_expired_key_begins_anew(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    path, body, key = f"/users/{pair[1].id}/balance/credit", {"amount": "0.01"}, unique("key")
    first = await shop.post(path, body, key=key)
    late = "UPDATE idempotent_requests SET expires_at = clock_timestamp() WHERE key = $1"
    await shop.live.product.database.run(lambda tx: tx.execute(late, key))
    again = await shop.post(path, body, key=key)
    assert "idempotency-replay" not in again.headers
    assert again.data["auditLogId"] != first.data["auditLogId"]


async def test_refusals_are_stored(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    key = unique("key")
    path, body = f"/users/{pair[1].id}/balance/debit", {"amount": "99999.00"}
    refused = await shop.post(path, body, key=key)
    again = await shop.post(path, body, key=key)
    assert (refused.status, again.body) == (422, refused.body)
    assert again.headers["idempotency-replay"] == "true"
    # What never reached the use case has not used the key up.
    mistaken, corrected, fresh = {"amount": 1}, {"amount": "0.01"}, unique("key")
    credit = f"/users/{pair[1].id}/balance/credit"
    await shop.refused("POST", credit, mistaken, status=400, code="VALIDATION_ERROR", key=fresh)
    reader = await shop.with_key("read")
    await reader.refused("POST", credit, corrected, status=403, code="INSUFFICIENT_SCOPE", key=fresh)
    assert "idempotency-replay" not in (await shop.post(credit, corrected, key=fresh)).headers


async def test_routes_that_take_no_key_ignore_it(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    path, key = f"/users/{pair[0].id}/balance/sync", unique("key")
    for _ in range(2):
        assert "idempotency-replay" not in (await shop.post(path, key=key)).headers
    await shop.refused("GET", f"/idempotency/{key}", status=404, code="NOT_FOUND")


async def test_a_key_in_progress_is_seen_from_another_process(
    shop: Marketplace, live: Running, pair: tuple[Person, Person]
) -> None:
    """While the first is inside its transaction: the buyer's account is locked by somebody else."""
    order_id, key = await shop.order(*pair, "2.00"), unique("key")
    path = f"/orders/{order_id}/reserve"
    sql = "SELECT FROM ledger.accounts WHERE owner = $1 FOR UPDATE"
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

    async def hold(tx: Any) -> Heard:
        await tx.rows(sql, pair[0].id)
        first = asyncio.create_task(shop.post(path, key=key))
        await eventually(lambda: live.value(waiting), lambda count: count >= 1)
        early = await shop.post(path, key=key)
        assert (early.status, early.code) == (409, "IDEMPOTENCY_KEY_IN_PROGRESS")
        assert early.headers["retry-after"] == "1"
        pending.append(first)
        return early

    pending: list[asyncio.Task[Heard]] = []
    await live.product.database.run(hold)
    first = await pending[0]
    assert first.status == 200
    assert_replay(await shop.post(path, key=key), first, key)
