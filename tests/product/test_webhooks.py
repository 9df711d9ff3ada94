"""Webhooks from providers: verified over the raw bytes, kept once, looked into before anything moves."""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
import pytest
import redis.asyncio

from asgi_client import Heard
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database
from offerhub.topups import service as topups
from offerhub.webhooks.jobs import Processing
from support.outside import World, eventually
from support.product import Marketplace, Person, Running, running, unique
from support.webhooks import airtm_headers

UNIT: Final = 10_000_000
TW_SECRET: Final = "tw_whsec_for_tests"
OLD_TW_SECRET: Final = "tw_whsec_of_last_year"

pytestmark = pytest.mark.usefixtures("mended")


def message_id() -> str:
    return f"msg_{secrets.token_hex(8)}"


class Airtm:
    """Airtm's sender of webhooks, with its secret."""

    def __init__(self, shop: Marketplace, secret: str) -> None:
        self.shop = shop
        self.secret = secret

    async def send(self, told: Any, message: str | None = None) -> Heard:
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        headers = airtm_headers(self.secret, body, message or message_id())
        return await self.shop.using("").send("POST", "/webhooks/airtm", raw=body, headers=headers)

    async def row(self, message: str) -> Any:
        [row] = await self.shop.live.rows("SELECT * FROM webhook_events WHERE event_id = $1", message)
        return row

    async def until(self, message: str, status: str) -> Any:
        sql = "SELECT status FROM webhook_events WHERE event_id = $1"
        await eventually(lambda: self.shop.live.value(sql, message), lambda found: found == status)
        return await self.row(message)


@pytest.fixture
def airtm(airtm_shop: Marketplace, world: World) -> Airtm:
    return Airtm(airtm_shop, world.environ["AIRTM_WEBHOOK_SECRET"])


@pytest.fixture
async def topup(airtm_shop: Marketplace) -> dict[str, Any]:
    """A top-up that waits for its user."""
    made = await airtm_shop.done("POST", "/users", {"externalUserId": unique("payer")}, status=201)
    email = f"{unique('payer')}@example.com"
    await airtm_shop.done("POST", f"/users/{made['id']}/airtm/link", {"email": email})
    body = {"userId": made["id"], "amount": "25.00"}
    found: dict[str, Any] = await airtm_shop.done("POST", "/topups", body, status=201)
    return found


def told(topup: dict[str, Any], kind: str = "payin.confirmed", status: str = "CONFIRMED") -> dict[str, Any]:
    return {"type": kind, "data": {"id": topup["airtmPayinId"], "code": topup["id"], "status": status, "amount": 25}}


async def status_of(shop: Marketplace, topup: dict[str, Any]) -> str:
    return str((await shop.done("GET", f"/topups/{topup['id']}"))["status"])


async def test_a_confirmed_payin_is_credited_once_however_often_it_is_told(
    airtm: Airtm, airtm_shop: Marketplace, world: World, topup: dict[str, Any]
) -> None:
    await world.airtm_payin(topup["airtmPayinId"], "confirm", "0.25")
    message = message_id()
    heard = await asyncio.gather(*(airtm.send(told(topup), message) for _ in range(5)))
    assert [one.status for one in heard] == [200] * 5
    assert [one.data["status"] for one in heard] == ["ok"] * 5
    assert sorted(one.data.get("duplicate", False) for one in heard) == [False, True, True, True, True]
    row = await airtm.until(message, "PROCESSED")
    assert (row["deliveries"], row["outcome"]) == (5, "TOPUP_SUCCEEDED")
    assert await airtm_shop.units(topup["userId"]) == {"available": 247_500_000}
    # Told again under other ids, later, it changes nothing more.
    other = message_id()
    await airtm.send(told(topup), other)
    await airtm.until(other, "PROCESSED")
    assert await airtm_shop.units(topup["userId"]) == {"available": 247_500_000}
    assert (await airtm_shop.events(topup["id"])).count("topup.succeeded") == 1


async def test_a_flood_about_one_thing_is_one_look(
    airtm_shop: Marketplace, world: World, topup: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bulk: thirty messages about a top-up, one about nothing of ours, one that is not in the inbox."""
    looks: list[str] = []
    check = topups.check

    async def counted(database: Database, airtm: Any, actor: Actor, found: topups.TopUp) -> topups.TopUp:
        looks.append(found.id)
        return await check(database, airtm, actor, found)

    monkeypatch.setattr(topups, "check", counted)
    product, flood, nobody = airtm_shop.live.product, message_id(), "topup_" + "0" * 32
    told = [(f"{flood}-{number}", topup["id"]) for number in range(30)] + [(f"{flood}-nobody", nobody)]
    await product.database.run(
        lambda tx: tx.execute(
            """
            INSERT INTO webhook_events (provider, event_id, event_type, subject)
            SELECT 'AIRTM', event_id, 'payin.confirmed', subject
            FROM unnest($1::text[], $2::text[]) AS told (event_id, subject)
            """,
            [event_id for event_id, _ in told],
            [subject for _, subject in told],
        )
    )
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    processing = Processing(product.database, product.engine, product.airtm, looks_max=8)
    asked = [*(event_id for event_id, _ in told), f"{flood}-gone"]
    done = await processing.process_in_bulk([{"provider": "AIRTM", "eventId": event_id} for event_id in asked])
    assert done == [True] * 32
    assert looks.count(topup["id"]) == 1
    sql = "SELECT status, outcome, count(*)::int FROM webhook_events WHERE starts_with(event_id, $1) GROUP BY 1, 2"
    assert sorted(tuple(row.values()) for row in await airtm_shop.live.rows(sql, f"{flood}-")) == [
        ("IGNORED", "there is no such top-up", 1),
        ("PROCESSED", "TOPUP_SUCCEEDED", 30),
    ]
    assert await airtm_shop.units(topup["userId"]) == {"available": 25 * UNIT}


async def test_what_it_says_is_not_believed(airtm: Airtm, airtm_shop: Marketplace, topup: dict[str, Any]) -> None:
    """A signed message that claims a payment which Airtm does not know of."""
    message = message_id()
    assert (await airtm.send(told(topup), message)).status == 200
    await airtm.until(message, "PROCESSED")
    assert await status_of(airtm_shop, topup) == "TOPUP_AWAITING_USER_CONFIRMATION"
    assert await airtm_shop.units(topup["userId"]) == {}


async def test_late_and_reversed_news_never_move_a_state_back(
    airtm: Airtm, airtm_shop: Marketplace, world: World, topup: dict[str, Any]
) -> None:
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    order = ["payin.confirmed", "payin.created", "payin.failed", "payin.canceled"]
    for kind in order:
        message = message_id()
        await airtm.send(told(topup, kind, kind.removeprefix("payin.").upper()), message)
        await airtm.until(message, "PROCESSED")
    assert await status_of(airtm_shop, topup) == "TOPUP_SUCCEEDED"
    assert await airtm_shop.units(topup["userId"]) == {"available": 25 * UNIT}


async def test_a_bare_object_is_taken_as_well(
    airtm: Airtm, airtm_shop: Marketplace, world: World, topup: dict[str, Any]
) -> None:
    await world.airtm_payin(topup["airtmPayinId"], "cancel")
    message = message_id()
    await airtm.send(told(topup)["data"], message)
    await airtm.until(message, "PROCESSED")
    assert await status_of(airtm_shop, topup) == "TOPUP_CANCELED"


async def test_a_payout_follows_its_news(airtm: Airtm, airtm_shop: Marketplace, world: World) -> None:
    made = await airtm_shop.done("POST", "/users", {"externalUserId": unique("payee")}, status=201)
    await airtm_shop.done("POST", f"/users/{made['id']}/airtm/link", {"email": f"{unique('payee')}@example.com"})
    await airtm_shop.done("POST", f"/users/{made['id']}/balance/credit", {"amount": "100.00"})
    body = {"userId": made["id"], "amount": "40.00", "destinationType": "airtm_balance", "destinationRef": "mine"}
    withdrawal = await airtm_shop.done("POST", "/withdrawals", {**body, "commit": True}, status=201)
    await world.airtm_payout(withdrawal["airtmPayoutId"], "complete")
    message = message_id()
    news = {"type": "payout.completed", "data": {"id": withdrawal["airtmPayoutId"], "code": withdrawal["id"]}}
    await airtm.send(news, message)
    await airtm.until(message, "PROCESSED")
    found = await airtm_shop.done("GET", f"/withdrawals/{withdrawal['id']}")
    assert found["status"] == "WITHDRAWAL_COMPLETED"
    assert await airtm_shop.units(made["id"]) == {"available": 60 * UNIT}


async def test_it_is_tried_again_while_airtm_does_not_answer(
    airtm: Airtm, airtm_shop: Marketplace, world: World, topup: dict[str, Any]
) -> None:
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    fault = await world.fault("airtm", f"/payins/{topup['airtmPayinId']}", "error_before", times=1)
    message = message_id()
    await airtm.send(told(topup), message)
    await airtm.until(message, "PROCESSED")
    assert await fault.fired() == 1
    assert await status_of(airtm_shop, topup) == "TOPUP_SUCCEEDED"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"type":"payin.confirmed","data":{"code":"topup_00000000000000000000000000000000"}}', None),
        (b'{"type":"payin.confirmed","data":{"code":"somebody-else-s"}}', "no top-up or withdrawal of ours"),
        (b'{"type":"payin.confirmed","data":{"code":7}}', "no top-up or withdrawal of ours"),
        (b'{"type":"news.of.tomorrow","data":null}', "no top-up or withdrawal of ours"),
        (b'{"type":7}', "no top-up or withdrawal of ours"),
        (b"[]", "no top-up or withdrawal of ours"),
        (b"not json", "no top-up or withdrawal of ours"),
        (b"\xff\xfe", "no top-up or withdrawal of ours"),
        (b'{"type":"a\\u0000b"}', "no top-up or withdrawal of ours"),
        (b"", "no top-up or withdrawal of ours"),
    ],
)
async def test_what_concerns_nothing_of_ours_is_kept_and_left_alone(
    airtm: Airtm, airtm_shop: Marketplace, body: bytes, reason: str | None
) -> None:
    message, before = message_id(), await airtm_shop.counts()
    heard = await airtm.send(body, message)
    assert (heard.status, heard.data["status"], heard.data.get("reason")) == (200, "ok", reason)
    await airtm.until(message, "IGNORED")
    assert await airtm_shop.counts() == before


FORGERIES: Final[dict[str, Callable[[bytes, str, str], dict[str, str]]]] = {
    "unsigned": lambda body, message, secret: {},
    "wrong secret": lambda body, message, secret: airtm_headers("whsec_" + "A" * 32, body, message),
    "old": lambda body, message, secret: airtm_headers(secret, body, message, time.time() - 400),
    "from the future": lambda body, message, secret: airtm_headers(secret, body, message, time.time() + 400),
    "another body": lambda body, message, secret: airtm_headers(secret, body + b" ", message),
    "without id": lambda body, message, secret: {**airtm_headers(secret, body, message), "svix-id": ""},
    "bogus": lambda body, message, secret: {**airtm_headers(secret, body, message), "svix-signature": "v1,bogus"},
}


@pytest.mark.parametrize("forgery", FORGERIES, ids=str)
async def test_a_forgery_changes_nothing(
    airtm: Airtm, airtm_shop: Marketplace, world: World, topup: dict[str, Any], forgery: str
) -> None:
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    body, message = json.dumps(told(topup)).encode(), message_id()
    headers = FORGERIES[forgery](body, message, airtm.secret)
    heard = await airtm_shop.using("").send("POST", "/webhooks/airtm", raw=body, headers=headers)
    assert (heard.status, heard.code) == (401, "WEBHOOK_SIGNATURE_INVALID")
    assert heard.details["provider"] == "AIRTM"
    assert await airtm_shop.live.rows("SELECT FROM webhook_events WHERE event_id = $1", message) == []
    assert await status_of(airtm_shop, topup) == "TOPUP_AWAITING_USER_CONFIRMATION"


async def test_a_large_body_is_refused(airtm: Airtm) -> None:
    heard = await airtm.send(b'{"type":"' + b"x" * 1_000_000 + b'"}')
    assert (heard.status, heard.code) == (413, "PAYLOAD_TOO_LARGE")


async def test_without_a_secret_nothing_of_airtm_counts(shop: Marketplace) -> None:
    body = b'{"type":"payin.confirmed","data":{}}'
    headers = airtm_headers("whsec_" + "A" * 32, body, message_id())
    heard = await shop.using("").send("POST", "/webhooks/airtm", raw=body, headers=headers)
    assert (heard.status, heard.code) == (401, "WEBHOOK_SIGNATURE_INVALID")


async def test_the_job_survives_an_emptied_redis(
    airtm: Airtm, airtm_shop: Marketplace, world: World, topup: dict[str, Any], airtm_environ: dict[str, str]
) -> None:
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    message = message_id()
    await airtm.send(told(topup), message)
    async with redis.asyncio.Redis.from_url(airtm_environ["REDIS_URL"]) as client:
        await client.flushdb()  # its own index: the server is everybody's
    jobs = await airtm_shop.live.value("SELECT count(*) FROM outbox WHERE payload ->> 'eventId' = $1", message)
    # Either its row in the outbox is still there to be handed over again, or it was looked into before that went.
    assert jobs == 1 or (await airtm.row(message))["status"] == "PROCESSED"


# -- Trustless Work ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def signed_live(environ: dict[str, str]) -> AsyncIterator[Running]:
    """A process that knows the secret of Trustless Work's sender, and the one before."""
    more = {"TRUSTLESS_WEBHOOK_SECRET": TW_SECRET, "TRUSTLESS_WEBHOOK_SECRET_PREVIOUS": OLD_TW_SECRET}
    async with running({**environ, **more}) as found:
        yield found


@pytest.fixture
def tw(signed_live: Running, shop: Marketplace) -> Marketplace:
    return shop.on(signed_live)


async def tell(shop: Marketplace, told: Any, secret: str | None = TW_SECRET, name: str = "x-tw-signature") -> Heard:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    headers = {} if secret is None else {name: hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
    return await shop.using("").send("POST", "/webhooks/trustless-work", raw=body, headers=headers)


def news_of(order_id: str, kind: str = "escrow.funded") -> dict[str, Any]:
    return {"type": kind, "event_id": message_id(), "data": {"order_id": order_id, "status": "funded"}}


async def test_signed_news_of_an_order_is_looked_into(tw: Marketplace, pair: tuple[Person, Person]) -> None:
    order_id = await tw.order(*pair, "10.00", "IN_PROGRESS")
    news = news_of(order_id)
    heard = await tell(tw, news)
    assert (heard.status, heard.data) == (200, {"status": "ok", "processed": True})
    again = await tell(tw, news, OLD_TW_SECRET, "TW-Signature")
    assert again.data == {"status": "ok", "processed": True, "duplicate": True}
    sql = "SELECT status FROM webhook_events WHERE event_id = $1"
    await eventually(lambda: tw.live.value(sql, news["event_id"]), lambda found: found == "PROCESSED")
    assert (await tw.done("GET", f"/orders/{order_id}"))["status"] == "IN_PROGRESS"


async def test_news_never_moves_an_order_by_itself(tw: Marketplace, pair: tuple[Person, Person]) -> None:
    order_id = await tw.order(*pair, "10.00", "FUNDS_RESERVED")
    for kind in ("escrow.created", "escrow.released", "escrow.refunded", "escrow.disputed"):
        assert (await tell(tw, news_of(order_id, kind))).data["processed"] is True
    assert (await tw.done("GET", f"/orders/{order_id}"))["status"] == "FUNDS_RESERVED"


async def test_unsigned_news_is_answered_and_forgotten(tw: Marketplace, shop: Marketplace) -> None:
    for one in (tw, shop):
        news = {"type": "unknown.event", "event_id": message_id(), "data": {}}
        heard = await tell(one, news, None)
        assert (heard.status, heard.data) == (200, {"status": "ok", "processed": False, "reason": "unsigned"})
        assert await one.live.rows("SELECT FROM webhook_events WHERE event_id = $1", news["event_id"]) == []


async def test_a_wrong_signature_is_refused(tw: Marketplace, shop: Marketplace) -> None:
    for one, secret in ((tw, "guess"), (shop, TW_SECRET)):
        heard = await tell(one, news_of("ord_" + "0" * 32), secret)
        assert (heard.status, heard.code) == (401, "WEBHOOK_SIGNATURE_INVALID")


@pytest.mark.parametrize(
    "told",
    [news_of("ord_" + "0" * 32), news_of("somebody's"), {"type": "unknown.event"}, [], b"not json", b""],
    ids=["no such order", "not an id", "unknown type", "a list", "not JSON", "empty"],
)
async def test_signed_news_of_nothing_of_ours_is_answered_with_200(tw: Marketplace, told: Any) -> None:
    heard = await tell(tw, told)
    assert heard.status == 200
    assert heard.data["status"] == "ok"


async def test_webhooks_cost_no_allowance(environ: dict[str, str], http: aiohttp.ClientSession) -> None:
    async with running({**environ, "RATE_LIMIT_MAX": "3"}, jobs=False) as limited:
        for _ in range(10):
            async with http.post(f"{limited.url}/api/v1/webhooks/trustless-work", data=b"{}") as answer:
                assert answer.status == 200
                assert answer.headers["X-RateLimit-Remaining"] == "3"
